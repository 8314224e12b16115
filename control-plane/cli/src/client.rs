//! HTTP to the control plane and to agents.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::args::Endpoints;
use crate::fault::Fault;
use crate::model::{Agent, App, Queue};
use crate::places::{Heard, Places};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For everything but streams.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    mesos: Places,
    marathon: Places,
}

/// Which of the two APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Mesos,
    Marathon,
}

/// What a second try would do if the first one was heard and its answer lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// Nothing more: the request reads, or sets what is set already.
    Harmless,
    /// The thing would be done twice, so there is no second try.
    Twice,
}

impl Client {
    pub(crate) fn new(endpoints: &Endpoints) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            // The cluster is near; a proxy of the environment is for what is far.
            .no_proxy()
            .build()?;
        let mesos = Places::parse(Api::Mesos, endpoints)?;
        let marathon = Places::parse(Api::Marathon, endpoints)?;
        Ok(Self { http, mesos, marathon })
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub(crate) fn places(&self, api: Api) -> &Places {
        match api {
            Api::Mesos => &self.mesos,
            Api::Marathon => &self.marathon,
        }
    }

    /// Sends a request to the control plane that answered last, or to any other that can answer in
    /// its place. The answer is a success; a refusal is an error.
    pub(crate) async fn ask(
        &self,
        api: Api,
        method: Method,
        path: &str,
        again: Again,
        request: impl Fn(&reqwest::Client, &str) -> RequestBuilder,
    ) -> anyhow::Result<Response> {
        let make = |base: &str| request(&self.http, &format!("{base}{path}"));
        let heard = self.places(api).ask(again, make).await?;
        match heard {
            Heard::Yes(response) => Ok(response),
            Heard::No { status, text } => Err(refused(&method, path, status, &text).into()),
        }
    }

    /// GET of JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, api: Api, path: &str) -> anyhow::Result<T> {
        self.call(api, Method::GET, path, None).await
    }

    /// A request with or without a body, answered by JSON.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        api: Api,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<T> {
        let response = self.send(api, method.clone(), path, body).await?;
        response.json().await.map_err(|error| {
            let fault = Fault::new(format!("failed to read the answer to {method} {path}"));
            anyhow::Error::new(error).context(fault)
        })
    }

    /// A request whose answer is only success or not.
    pub(crate) async fn send(
        &self,
        api: Api,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Response> {
        let again = if method == Method::GET { Again::Harmless } else { Again::Twice };
        self.ask(api, method.clone(), path, again, |http, url| {
            let request = http.request(method.clone(), url).timeout(REQUEST_TIMEOUT);
            match body {
                Some(body) => request.json(body),
                None => request,
            }
        })
        .await
    }

    /// The app of a short id; also what it looks like.
    pub(crate) async fn app(&self, given: &str) -> anyhow::Result<App> {
        let id = self.app_id(given).await?;
        let answer: Wrapped = self.get(Api::Marathon, &format!("/v2/apps{id}")).await?;
        Ok(answer.app)
    }

    /// The id of an app from its short form.
    pub(crate) async fn app_id(&self, given: &str) -> anyhow::Result<String> {
        let apps = self.apps("").await?;
        Ok(crate::pick::app(given, apps.iter().map(|app| app.id.as_str()))?.to_owned())
    }

    /// All apps; `query` begins with `?`.
    pub(crate) async fn apps(&self, query: &str) -> anyhow::Result<Vec<App>> {
        let answer: Apps = self.get(Api::Marathon, &format!("/v2/apps{query}")).await?;
        Ok(answer.apps)
    }

    pub(crate) async fn queue(&self) -> anyhow::Result<Queue> {
        self.get(Api::Marathon, "/v2/queue?embed=lastUnusedOffers").await
    }

    pub(crate) async fn agents(&self) -> anyhow::Result<Vec<Agent>> {
        let answer: Slaves = self.get(Api::Mesos, "/slaves").await?;
        Ok(answer.slaves)
    }

    /// GET of JSON from an agent's own endpoint.
    pub(crate) async fn get_from_agent<T: DeserializeOwned>(
        &self,
        agent: &str,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<T> {
        let url = format!("{agent}{path}");
        let request = self.http.get(&url).query(query).timeout(REQUEST_TIMEOUT);
        let response = request.send().await.map_err(|error| {
            self.agent_unreachable(agent, &error, "logs are read from the agent itself")
        })?;
        let status = response.status();
        if !status.is_success() {
            let text = response.text().await.unwrap_or_default();
            return Err(refused(&Method::GET, &url, status, &text).into());
        }
        Ok(response.json().await?)
    }

    /// The error for an agent that does not answer; `why` it is asked at all.
    pub(crate) fn agent_unreachable(
        &self,
        agent: &str,
        error: &reqwest::Error,
        why: &str,
    ) -> anyhow::Error {
        let fault = Fault::new(format!("failed to reach the agent at {agent}"))
            .fix(format!("{why}: its port must be open to this host"));
        root_cause(error).context(fault)
    }
}

/// The innermost cause alone: the layers above it only say that a request was sent.
pub(crate) fn root_cause(error: &reqwest::Error) -> anyhow::Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    anyhow::Error::msg(cause.to_string())
}

#[derive(serde::Deserialize)]
struct Wrapped {
    app: App,
}

#[derive(serde::Deserialize)]
struct Apps {
    apps: Vec<App>,
}

#[derive(serde::Deserialize)]
struct Slaves {
    slaves: Vec<Agent>,
}

/// The error for an answer that says no.
pub(crate) fn refused(method: &Method, url: &str, status: StatusCode, body: &str) -> Fault {
    let path = Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.path().to_owned());
    let path = path.split('?').next().unwrap_or(&path);
    let why = message(body).unwrap_or_else(|| status.to_string());
    let fault = Fault::new(format!("{method} {path}: {why}")).status(status.as_u16());
    match status {
        StatusCode::CONFLICT if why.contains("locked") => fault
            .fix("wait for the deployment (`tepui deployment list`), or override it with --force"),
        StatusCode::CONFLICT if why.contains("already exists") => {
            fault.fix("`tepui app update` changes an app that is there")
        }
        StatusCode::NOT_FOUND if why.starts_with("App ") => {
            fault.fix("`tepui app list` shows what is there, `tepui app create` makes an app")
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            fault.fix("the cluster asks for credentials that allow this")
        }
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => {
            fault.fix("the cluster has no leader at the moment; try again in some seconds")
        }
        _ => fault,
    }
}

/// Marathon's `message` with its `details`, or Mesos's plain text.
pub(crate) fn message(body: &str) -> Option<String> {
    let Ok(Value::Object(object)) = serde_json::from_str(body) else {
        let text = body.trim();
        return (!text.is_empty() && !text.starts_with('<')).then(|| text.to_owned());
    };
    let mut text = object.get("message")?.as_str()?.to_owned();
    for deployment in object.get("deployments").and_then(Value::as_array).into_iter().flatten() {
        if let Some(id) = deployment.get("id").and_then(Value::as_str) {
            text.push_str(&format!("\n    deployment {id}"));
        }
    }
    match object.get("details") {
        Some(Value::String(details)) => text.push_str(&format!(": {details}")),
        Some(Value::Array(details)) => {
            for detail in details {
                let path = detail.get("path").and_then(Value::as_str).unwrap_or("/");
                let errors = detail.get("errors").and_then(Value::as_array);
                for error in errors.into_iter().flatten().filter_map(Value::as_str) {
                    text.push_str(&format!("\n    {path}: {error}"));
                }
            }
        }
        _ => {}
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> String {
        let status = StatusCode::from_u16(status).unwrap();
        refused(&Method::PUT, "http://h:1/v2/apps/t/web?force=false", status, body).to_string()
    }

    #[test]
    fn a_refusal_names_the_field_and_what_is_wrong_with_it() {
        let body = r#"{"message":"Object is not valid","details":[
            {"path":"/upgradeStrategy/minimumHealthCapacity","errors":["got 2.0, expected between 0.0 and 1.0"]},
            {"path":"/","errors":["a","b"]}]}"#;
        assert_eq!(
            refusal(422, body),
            "PUT /v2/apps/t/web: Object is not valid\n    /upgradeStrategy/minimumHealthCapacity: \
             got 2.0, expected between 0.0 and 1.0\n    /: a\n    /: b"
        );
    }

    #[test]
    fn a_locked_app_names_its_deployments_and_the_way_out() {
        let body = r#"{"message":"App is locked by one or more deployments.","deployments":[{"id":"7f"}]}"#;
        let error = refused(&Method::PUT, "http://h/v2/apps/a", StatusCode::CONFLICT, body);
        let shown = crate::fault::show(&error.into());
        assert!(shown.contains("deployment 7f"), "{shown}");
        assert!(shown.contains("--force"), "{shown}");
    }

    #[test]
    fn plain_text_and_nothing_are_understood_too() {
        assert_eq!(
            refusal(400, "Framework is not known\n"),
            "PUT /v2/apps/t/web: Framework is not known"
        );
        assert_eq!(refusal(500, ""), "PUT /v2/apps/t/web: 500 Internal Server Error");
        assert_eq!(refusal(404, "<html></html>"), "PUT /v2/apps/t/web: 404 Not Found");
    }
}
