//! Group updates and the small bodies of other resources.

use serde_json::Value;

use super::app::{Legacy, app_in_list, translate_list};
use super::json;
use super::reader::{Object, Reader};
use crate::group::GroupUpdate;
use crate::ids::TaskId;
use crate::number::Ratio;
use crate::path::GroupId;
use crate::reject::Rejection;
use crate::settings::Settings;
use crate::update::AppUpdate;

/// A group as read, with the apps not yet translated.
#[derive(Debug, Default)]
struct RawGroup {
    update: GroupUpdate,
    apps: Option<Vec<(AppUpdate, Legacy)>>,
    groups: Option<Vec<Self>>,
}

/// Reads the body of `POST` or `PUT /v2/groups/{id}`.
///
/// `base` is the group of the request's path: the body's own id is resolved against it, ids inside
/// and dependencies against the group they stand in (`../db` is a sibling). An update without id
/// means `base` itself; with `id_required` (POST to the root) that is an error.
///
/// # Errors
/// 400 when the body is no JSON, 422 when its structure is wrong, when `scaleBy` or `version` come
/// with other keys, or when deprecated and current fields of an app contradict each other.
pub fn decode_group_update(
    body: &[u8],
    base: &GroupId,
    id_required: bool,
    settings: &Settings,
) -> Result<GroupUpdate, Rejection> {
    let value = json(body)?;
    let mut reader = Reader::default();
    let raw = reader.object(&value).map(|object| group(&mut reader, object, base, id_required));
    let broken = reader.finish()?;
    if !broken.is_empty() {
        return Err(Rejection::not_valid(broken));
    }
    translate(raw.unwrap_or_default(), settings, "")
}

fn group(reader: &mut Reader, object: &Object, base: &GroupId, id_required: bool) -> RawGroup {
    let id = if id_required {
        reader.need(object, "id", |r, v| r.path_id(v, base))
    } else {
        reader.opt(object, "id", |r, v| r.path_id(v, base))
    };
    let inside = id.clone().unwrap_or_else(|| base.clone());
    let apps = reader.opt(object, "apps", |r, v| r.array(v, |r, v| app_in_list(r, v, &inside)));
    let groups = reader.opt(object, "groups", |r, v| {
        r.array(v, |r, v| r.object(v).map(|object| group(r, object, &inside, true)))
    });
    let pods = reader.opt(object, "pods", |r, v| r.array(v, |_, _| Some(())));
    if pods.is_some_and(|pods| !pods.is_empty()) {
        reader.at("pods", |r| r.broken("this release does not run pods"));
    }
    let factor =
        |r: &mut Reader, v: &Value| r.ratio(v, Ratio::ZERO, Ratio::from_milli(1_000_000_000));
    let update = GroupUpdate {
        id,
        apps: None,
        groups: None,
        dependencies: reader
            .opt(object, "dependencies", |r, v| r.array(v, |r, v| r.path_id(v, &inside))),
        scale_by: reader.opt(object, "scaleBy", factor),
        version: reader.opt(object, "version", Reader::version),
        enforce_role: reader.opt(object, "enforceRole", Reader::boolean),
    };
    let others = apps.is_some()
        || groups.is_some()
        || update.dependencies.is_some()
        || update.enforce_role.is_some();
    if update.scale_by.is_some() && (others || update.version.is_some()) {
        reader.at("scaleBy", |r| r.broken("not allowed in conjunction with other properties."));
    }
    if update.version.is_some() && others && update.scale_by.is_none() {
        reader.at("version", |r| r.broken("not allowed in conjunction with other properties."));
    }
    RawGroup { update, apps, groups }
}

fn translate(raw: RawGroup, settings: &Settings, path: &str) -> Result<GroupUpdate, Rejection> {
    let mut update = raw.update;
    update.apps =
        raw.apps.map(|apps| translate_list(apps, settings, &format!("{path}/apps"))).transpose()?;
    update.groups = raw
        .groups
        .map(|groups| {
            let numbered = groups.into_iter().enumerate();
            numbered
                .map(|(index, group)| {
                    translate(group, settings, &format!("{path}/groups({index})"))
                })
                .collect()
        })
        .transpose()?;
    Ok(update)
}

/// Reads the body of `PATCH /v2/groups/{id}`: `{"enforceRole": bool}`.
///
/// # Errors
/// The body is no JSON or has another structure.
pub fn decode_enforce_role(body: &[u8]) -> Result<bool, Rejection> {
    let value = json(body)?;
    let mut reader = Reader::default();
    let enforce = reader
        .object(&value)
        .and_then(|object| reader.need(object, "enforceRole", Reader::boolean));
    reader.finish()?;
    enforce.ok_or_else(|| Rejection::new(422, "enforceRole is not defined"))
}

/// Reads the body of `POST /v2/tasks/delete`: `{"ids": […]}`.
///
/// # Errors
/// The body is no JSON, has another structure, or names a malformed task id (400).
pub fn decode_task_ids(body: &[u8]) -> Result<Vec<TaskId>, Rejection> {
    let value = json(body)?;
    let mut reader = Reader::default();
    let ids = reader.object(&value).and_then(|object| reader.need(object, "ids", Reader::strings));
    reader.finish()?;
    ids.unwrap_or_default()
        .iter()
        .map(|id| TaskId::parse(id).map_err(|error| Rejection::new(400, error.to_string())))
        .collect()
}
