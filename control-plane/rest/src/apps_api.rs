//! `/v2/apps` (`marathon-api.md` section 2).

use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use tepui_apps::{Command, Reply};
use tepui_marathon::{
    App, AppEmbeds, AppInfo, AppUpdate, DeploymentRef, LabelSelector, PathId, Rejection,
    TaskCounts, decode_app, decode_app_updates,
};

use crate::answer::{self, Answer};
use crate::apps::Apps;
use crate::look;
use crate::request::{self, Request, known_id, missing, writable_id};

/// `GET /v2/apps`.
pub(crate) async fn list<A: Apps>(request: &Request<A>) -> Answer {
    let filter = Filter::parse(request)?;
    let embeds = AppEmbeds::LIST.with(request.query.all("embed"));
    let apps = request
        .shared
        .apps
        .read(move |apps, now| look::apps(apps, now, embeds, |app| filter.matches(app)))
        .await?;
    answer::ok(&json!({ "apps": apps }))
}

/// Which apps a list shows.
struct Filter {
    cmd: Option<String>,
    id: Option<String>,
    label: Option<LabelSelector>,
}

impl Filter {
    fn parse<A>(request: &Request<A>) -> Result<Self, Rejection> {
        let lower = |name: &str| request.query.first(name).map(str::to_lowercase);
        let label = request.query.first("label").filter(|text| !text.is_empty());
        Ok(Self {
            cmd: lower("cmd"),
            id: lower("id"),
            label: label
                .map(LabelSelector::parse)
                .transpose()
                .map_err(|error| Rejection::new(422, error.to_string()))?,
        })
    }

    fn matches(&self, app: &App) -> bool {
        let contains = |part: &Option<String>, text: &str| {
            part.as_ref().is_none_or(|part| text.to_lowercase().contains(part))
        };
        contains(&self.cmd, app.cmd.as_deref().unwrap_or(""))
            && contains(&self.id, app.id.as_str())
            && self.label.as_ref().is_none_or(|selector| selector.matches(&app.labels))
    }
}

/// `GET /v2/apps/{id}`.
pub(crate) async fn show<A: Apps>(request: &Request<A>, id: &str) -> Answer {
    let path = known_id("App", id)?;
    let embeds = AppEmbeds::SINGLE.with(request.query.all("embed"));
    let app =
        request.shared.apps.read(move |apps, now| look::app(apps, now, &path, embeds)).await?;
    answer::ok(&json!({ "app": app.ok_or_else(|| missing("App", id))? }))
}

/// `GET /v2/apps/{group}/*`.
pub(crate) async fn below<A: Apps>(request: &Request<A>, group: &str) -> Answer {
    let path = known_id("Group", group)?;
    let embeds = AppEmbeds::SINGLE.with(request.query.all("embed"));
    let apps = request
        .shared
        .apps
        .read(move |apps, now| look::apps_below(apps, now, &path, embeds))
        .await?;
    answer::ok(&json!({ "*": apps.ok_or_else(|| missing("Group", group))? }))
}

/// `POST /v2/apps`.
pub(crate) async fn create<A: Apps>(request: &Request<A>) -> Answer {
    let settings = &request.shared.options.settings;
    let mut update = decode_app(request.json()?, &PathId::root(), true, settings)?;
    // A whole definition carries the version it was read with.
    update.version = None;
    let command = Command::CreateApp { update, force: request.force(false) };
    match request.shared.apps.command(command, request.origin()).await? {
        Reply::AppCreated { app, result } => {
            let location = app.id.to_string();
            let mut info = AppInfo::new(app);
            info.counts = Some(TaskCounts::default());
            info.deployments = Some(vec![DeploymentRef { id: result.deployment_id }]);
            let mut response = answer::json(StatusCode::CREATED, &info);
            answer::set_location(&mut response, &location);
            answer::set_deployment(&mut response, Some(result.deployment_id));
            Ok(response)
        }
        other => deployed(&other),
    }
}

/// `PUT` and `PATCH /v2/apps/{id}`.
pub(crate) async fn update<A: Apps>(request: &Request<A>, id: &str) -> Answer {
    let create = request.method == http::Method::PUT;
    let id = if create { writable_id(id)? } else { known_id("App", id)? };
    let base = id.parent().unwrap_or_else(PathId::root);
    let mut update = decode_app(request.json()?, &base, false, &request.shared.options.settings)?;
    let partial = !create || request.query.flag("partialUpdate", true);
    forget_version(&mut update, partial);
    let force = request.force(false);
    let command = Command::UpdateApp { id, update, partial, create, force };
    let reply = request.shared.apps.command(command, request.origin()).await?;
    deployed(&reply)
}

/// A whole definition carries the version it was read with; only alone it asks for a rollback.
fn forget_version(update: &mut AppUpdate, partial: bool) {
    if !partial && update.rollback().is_none() {
        update.version = None;
    }
}

/// `PUT` and `PATCH /v2/apps`.
pub(crate) async fn update_many<A: Apps>(request: &Request<A>) -> Answer {
    let create = request.method == http::Method::PUT;
    let mut updates = decode_app_updates(request.json()?, &request.shared.options.settings)?;
    let partial = !create || request.query.flag("partialUpdate", true);
    updates.iter_mut().for_each(|update| forget_version(update, partial));
    let command = Command::UpdateApps { updates, partial, create, force: request.force(false) };
    deployed(&request.shared.apps.command(command, None).await?)
}

/// `DELETE /v2/apps/{id}`; forced unless the client says otherwise.
pub(crate) async fn delete<A: Apps>(request: &Request<A>, id: &str) -> Answer {
    let command = Command::DeleteApp { id: known_id("App", id)?, force: request.force(true) };
    deployed(&request.shared.apps.command(command, None).await?)
}

/// `POST /v2/apps/{id}/restart`.
pub(crate) async fn restart<A: Apps>(request: &Request<A>, id: &str) -> Answer {
    let command = Command::RestartApp { id: known_id("App", id)?, force: request.force(false) };
    deployed(&request.shared.apps.command(command, None).await?)
}

/// `GET /v2/apps/{id}/versions`.
pub(crate) async fn versions<A: Apps>(request: &Request<A>, id: &str) -> Answer {
    let path = known_id("App", id)?;
    let versions = request.shared.apps.read(move |apps, _| look::app_versions(apps, &path)).await?;
    answer::ok(&json!({ "versions": versions.ok_or_else(|| missing("App", id))? }))
}

/// `GET /v2/apps/{id}/versions/{ts}`.
pub(crate) async fn version<A: Apps>(request: &Request<A>, id: &str, at: &str) -> Answer {
    let path = known_id("App", id)?;
    let version = request::version(at)?;
    let app = request.shared.apps.read(move |apps, _| look::app_at(apps, &path, version)).await?;
    match app {
        Some(app) => answer::ok(&*app),
        None => {
            Err(Rejection::not_found(format!("App '{id}' does not exist in version {version}"))
                .into())
        }
    }
}

/// The usual answer to a write.
pub(crate) fn deployed(reply: &Reply) -> Answer {
    let mut response = match reply {
        Reply::AppUpdated { id, created: true, result } => {
            let mut response = answer::json(StatusCode::CREATED, result);
            answer::set_location(&mut response, id.as_str());
            response
        }
        Reply::Deployed(result)
        | Reply::AppUpdated { result, .. }
        | Reply::AppCreated { result, .. } => answer::json(StatusCode::OK, result),
        Reply::Killed(tasks) => answer::json(StatusCode::OK, &Tasks { tasks }),
        Reply::Planned(plan) => answer::json(StatusCode::OK, plan),
        Reply::Done => answer::empty(StatusCode::OK),
    };
    answer::set_deployment(&mut response, reply.deployment());
    Ok(response)
}

#[derive(Serialize)]
struct Tasks<'a> {
    tasks: &'a [tepui_marathon::Task],
}
