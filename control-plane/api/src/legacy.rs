//! The unversioned endpoints (`spec/mesos-http.md` 4): JSON with the words of the first Mesos,
//! where an agent is a slave.
//!
//! Answers are written straight from the cluster, while the driver loop waits: that keeps the loop
//! for less time than a copy to be written later would. Tasks are the exception: they are shared,
//! so they are taken along as they are and written later ([`crate::draft`]).

mod agent;
mod amounts;
mod container;
mod framework;
mod summary;
mod task;
mod text;
mod top;
mod usual;

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tepui_cluster::{Cluster, Operation};
use tepui_wire::v1;

use crate::answer::ApiError;
use crate::draft::{Coding, Draft};
use crate::endpoints::framework_id;
use crate::operator::weights_of;
use crate::plane::Plane;
use crate::router::App;
use crate::shared::Answer;

pub(crate) use text::is_duration;

/// `?jsonp=name` wraps the answer in a call.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Padding {
    pub(crate) jsonp: Option<String>,
}

/// A JSON answer, padded if asked for.
pub(crate) fn json<T: Serialize>(padding: &Padding, value: &T) -> Response {
    padded(padding, Answer::Whole(Draft::of(value).whole()))
}

fn padded(padding: &Padding, answer: Answer) -> Response {
    let name = padding.jsonp.as_deref().filter(|name| is_identifier(name));
    let coding = match answer {
        Answer::Pieces(coding, _) => coding,
        Answer::Whole(_) => Coding::Plain,
    };
    let (kind, body) = match name {
        Some(name) => {
            let before = Bytes::from(format!("{name}("));
            ("text/javascript", answer.body(before, Bytes::from_static(b");")))
        }
        None => ("application/json", answer.body(Bytes::new(), Bytes::new())),
    };
    let mut response =
        ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response();
    if coding == Coding::Gzip {
        let gzip = HeaderValue::from_static("gzip");
        response.headers_mut().insert(header::CONTENT_ENCODING, gzip);
        let vary = HeaderValue::from_static("accept-encoding");
        response.headers_mut().insert(header::VARY, vary);
    }
    response
}

/// How a large answer may be coded: text around it is never coded, so then neither is the answer.
fn coding(headers: &HeaderMap, padding: &Padding) -> Coding {
    let accepted = crate::answer::text(headers, header::ACCEPT_ENCODING).unwrap_or_default();
    let gzip = accepted.split(',').any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
        matches!(name.trim(), "gzip" | "*") && !refused
    });
    match gzip && padding.jsonp.is_none() {
        true => Coding::Gzip,
        false => Coding::Plain,
    }
}

/// Only a plain function name may be echoed.
fn is_identifier(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$'))
}

/// `GET /state`.
pub(crate) async fn state<P: Plane>(
    State(app): State<App<P>>,
    Query(padding): Query<Padding>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let facts = app.facts.clone();
    let show = move |cluster: &Cluster| top::draft(cluster, &facts);
    let coding = coding(&headers, &padding);
    Ok(padded(&padding, app.shared.answer(&app.plane, "state", coding, show).await?))
}

/// `GET /state-summary`.
pub(crate) async fn state_summary<P: Plane>(
    State(app): State<App<P>>,
    Query(padding): Query<Padding>,
) -> Result<Response, ApiError> {
    let facts = app.facts.clone();
    let show = move |cluster: &Cluster| {
        Draft::of(&summary::Summary::of(cluster, &facts, &agent::capabilities()))
    };
    let answer = app.shared.answer(&app.plane, "state-summary", Coding::Plain, show).await?;
    Ok(padded(&padding, answer))
}

#[derive(Debug, Deserialize)]
pub(crate) struct AgentFilter {
    slave_id: Option<String>,
    jsonp: Option<String>,
}

/// `GET /slaves`.
pub(crate) async fn slaves<P: Plane>(
    State(app): State<App<P>>,
    Query(filter): Query<AgentFilter>,
) -> Result<Response, ApiError> {
    let wanted = filter.slave_id;
    let padding = Padding { jsonp: filter.jsonp };
    let all = wanted.is_none();
    let show = move |cluster: &Cluster| {
        Draft::of(&agent::Agents::of(cluster, wanted.as_deref(), &agent::capabilities()))
    };
    let answer = match all {
        true => app.shared.answer(&app.plane, "slaves", Coding::Plain, show).await?,
        false => one(&app, Coding::Plain, show).await?,
    };
    Ok(padded(&padding, answer))
}

#[derive(Debug, Deserialize)]
pub(crate) struct FrameworkFilter {
    framework_id: Option<String>,
    jsonp: Option<String>,
}

/// `GET /frameworks`.
pub(crate) async fn frameworks<P: Plane>(
    State(app): State<App<P>>,
    Query(filter): Query<FrameworkFilter>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let wanted = filter.framework_id;
    let padding = Padding { jsonp: filter.jsonp };
    let all = wanted.is_none();
    let show = move |cluster: &Cluster| framework::draft(cluster, wanted.as_deref());
    let coding = coding(&headers, &padding);
    let answer = match all {
        true => app.shared.answer(&app.plane, "frameworks", coding, show).await?,
        false => one(&app, coding, show).await?,
    };
    Ok(padded(&padding, answer))
}

/// An answer that nobody shares.
async fn one<P: Plane>(
    app: &App<P>,
    coding: Coding,
    show: impl FnOnce(&Cluster) -> Draft + Send + 'static,
) -> Result<Answer, ApiError> {
    let draft = app.plane.read(move |cluster, _| show(cluster)).await?;
    Ok(Answer::of(draft, coding))
}

/// `GET /tasks`.
pub(crate) async fn tasks<P: Plane>(
    State(app): State<App<P>>,
    Query(filter): Query<task::Filter>,
) -> Result<Response, ApiError> {
    let padding = Padding { jsonp: filter.jsonp.clone() };
    filter.check()?;
    let show = move |cluster: &Cluster, _| {
        json(&padding, &BTreeMap::from([("tasks", filter.select(cluster))]))
    };
    Ok(app.plane.read(show).await?)
}

/// `GET /roles`.
pub(crate) async fn roles<P: Plane>(
    State(app): State<App<P>>,
    Query(padding): Query<Padding>,
) -> Result<Response, ApiError> {
    let show = |cluster: &Cluster| Draft::of(&json!({ "roles": summary::roles(cluster) }));
    let answer = app.shared.answer(&app.plane, "roles", Coding::Plain, show).await?;
    Ok(padded(&padding, answer))
}

/// `GET /weights`.
pub(crate) async fn weights<P: Plane>(
    State(app): State<App<P>>,
    Query(padding): Query<Padding>,
) -> Result<Response, ApiError> {
    let weights = app.plane.read(|cluster, _| cluster.weights().clone()).await?;
    let list: Vec<_> = weights
        .iter()
        .map(|(role, thousandths)| {
            json!({ "role": role.as_str(), "weight": text::thousandths(*thousandths) })
        })
        .collect();
    Ok(json(&padding, &list))
}

/// `PUT /weights`: a list of role and weight.
pub(crate) async fn put_weights<P: Plane>(
    State(app): State<App<P>>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    #[derive(Deserialize)]
    struct Row {
        role: String,
        weight: f64,
    }
    let body = app.room.whole(request).await?;
    let rows: Vec<Row> = serde_json::from_slice(&body.bytes).map_err(|error| {
        ApiError::bad_request(format!("expecting a JSON array of role and weight: {error}"))
    })?;
    let infos: Vec<v1::WeightInfo> = rows
        .into_iter()
        .map(|row| v1::WeightInfo { role: Some(row.role), weight: row.weight })
        .collect();
    let weights = weights_of(&infos)?;
    operate(&app, Operation::UpdateWeights { weights }).await
}

async fn operate<P: Plane>(app: &App<P>, operation: Operation) -> Result<StatusCode, ApiError> {
    match app.plane.operate(operation).await? {
        tepui_cluster::Response::Refused(refusal) => Err(refusal.into()),
        _ => Ok(StatusCode::OK),
    }
}

/// `POST /teardown` with the form body `frameworkId=<id>`.
pub(crate) async fn teardown<P: Plane>(
    State(app): State<App<P>>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let body = app.room.whole(request).await?;
    let form = text::form(&String::from_utf8_lossy(&body.bytes));
    let Some(id) = form.get("frameworkId") else {
        return Err(ApiError::bad_request("Missing 'frameworkId' query parameter in the body"));
    };
    operate(&app, Operation::Teardown { framework: framework_id(id)? }).await
}

/// `GET /quota`: none is ever set.
pub(crate) async fn quota(Query(padding): Query<Padding>) -> Response {
    json(&padding, &json!({ "infos": [], "configs": [] }))
}

/// `GET /maintenance/schedule`: always empty.
pub(crate) async fn maintenance_schedule(Query(padding): Query<Padding>) -> Response {
    json(&padding, &BTreeMap::from([("windows", Vec::<u8>::new())]))
}

/// `GET /maintenance/status`: nothing is ever in maintenance.
pub(crate) async fn maintenance_status(Query(padding): Query<Padding>) -> Response {
    json(&padding, &json!({ "draining_machines": [], "down_machines": [] }))
}
