//! `/v2/groups` (`marathon-api.md` section 4).

use http::StatusCode;
use tepui_apps::Command;
use tepui_marathon::{
    AppEmbeds, GroupEmbeds, GroupUpdate, Rejection, decode_enforce_role, decode_group_update,
};

use crate::answer::{self, Answer};
use crate::apps::Apps;
use crate::apps_api::deployed;
use crate::look;
use crate::request::{self, Request, known_id, missing, writable_id};

/// `GET /v2/groups/{id}`.
pub(crate) async fn show<A: Apps>(request: &Request<A>, id: &str) -> Answer {
    let path = known_id("Group", id)?;
    let embeds = GroupEmbeds::parse(request.query.all("embed"));
    let group =
        request.shared.apps.read(move |apps, now| look::group(apps, now, &path, embeds)).await?;
    answer::ok(&group.ok_or_else(|| missing("Group", id))?)
}

/// `GET /v2/groups/{id}/apps`.
pub(crate) async fn apps<A: Apps>(request: &Request<A>, id: &str) -> Answer {
    let path = known_id("Group", id)?;
    let embeds = AppEmbeds::default().with(request.query.all("embed"));
    let apps = request
        .shared
        .apps
        .read(move |apps, now| look::apps_below(apps, now, &path, embeds))
        .await?;
    answer::ok(&apps.ok_or_else(|| missing("Group", id))?)
}

/// `GET /v2/groups/{id}/versions`.
pub(crate) async fn versions<A: Apps>(request: &Request<A>, id: &str) -> Answer {
    let path = known_id("Group", id)?;
    let versions =
        request.shared.apps.read(move |apps, _| look::group_versions(apps, &path)).await?;
    answer::ok(&versions.ok_or_else(|| missing("Group", id))?)
}

/// `GET /v2/groups/{id}/versions/{ts}`.
pub(crate) async fn version<A: Apps>(request: &Request<A>, id: &str, at: &str) -> Answer {
    let path = known_id("Group", id)?;
    let version = request::version(at)?;
    let embeds = GroupEmbeds::parse(request.query.all("embed"));
    let group = request
        .shared
        .apps
        .read(move |apps, now| look::group_at(apps, now, &path, version, embeds))
        .await?;
    match group {
        Some(group) => answer::ok(&group),
        None => {
            let text = format!("Group {id} not available in version {version}");
            Err(Rejection::not_found(text).into())
        }
    }
}

/// `PUT /v2/groups/{id}/versions/{ts}`: one client rolls groups back this way.
pub(crate) async fn roll_back<A: Apps>(request: &Request<A>, id: &str, at: &str) -> Answer {
    let id = known_id("Group", id)?;
    let update = GroupUpdate { version: Some(request::version(at)?), ..GroupUpdate::default() };
    let (dry_run, force) = (request.query.flag("dryRun", false), request.force(false));
    let command = Command::UpdateGroup { id, update, dry_run, force };
    deployed(&request.shared.apps.command(command, None).await?)
}

/// `POST /v2/groups/{id}`.
pub(crate) async fn create<A: Apps>(request: &Request<A>, id: &str) -> Answer {
    let base = writable_id(id)?;
    let settings = &request.shared.options.settings;
    let update = decode_group_update(request.json()?, &base, base.is_root(), settings)?;
    let id = update.id.clone().unwrap_or(base);
    let location = id.to_string();
    let command = Command::CreateGroup { id, update, force: request.force(false) };
    let mut response = deployed(&request.shared.apps.command(command, None).await?)?;
    *response.status_mut() = StatusCode::CREATED;
    answer::set_location(&mut response, &location);
    Ok(response)
}

/// `PUT /v2/groups/{id}`.
pub(crate) async fn update<A: Apps>(request: &Request<A>, id: &str) -> Answer {
    let base = writable_id(id)?;
    let settings = &request.shared.options.settings;
    let update = decode_group_update(request.json()?, &base, false, settings)?;
    let id = update.id.clone().unwrap_or(base);
    let (dry_run, force) = (request.query.flag("dryRun", false), request.force(false));
    let command = Command::UpdateGroup { id, update, dry_run, force };
    deployed(&request.shared.apps.command(command, None).await?)
}

/// `PATCH /v2/groups/{id}`.
pub(crate) async fn enforce_role<A: Apps>(request: &Request<A>, id: &str) -> Answer {
    let id = known_id("Group", id)?;
    let enforce = decode_enforce_role(request.json()?)?;
    deployed(&request.shared.apps.command(Command::EnforceRole { id, enforce }, None).await?)
}

/// `DELETE /v2/groups/{id}`.
pub(crate) async fn delete<A: Apps>(request: &Request<A>, id: &str) -> Answer {
    let command = Command::DeleteGroup { id: known_id("Group", id)?, force: request.force(false) };
    deployed(&request.shared.apps.command(command, None).await?)
}
