//! Rules that a complete app obeys, with Marathon's exact texts (`marathon-api.md` 1.4, 1.5).

mod checks;
mod ports;
mod unsupported;

use tepui_types::Role;

use crate::app::{App, Limit, UpgradeStrategy};
use crate::container::Container;
use crate::path::RESERVED_SEGMENTS;
use crate::reject::Violations;
use crate::settings::Settings;

/// Longest app id in bytes: the ids of its tasks (`<id>.instance-<uuid>._app.<incarnation>`) must
/// stay within the 255 bytes that Mesos allows.
pub const MAX_APP_ID_BYTES: usize = 193;

/// Adds everything that is wrong with `app`. `kept_role` is the role of the definition that this
/// one replaces; it stays legal.
pub(crate) fn app(
    app: &App,
    kept_role: Option<&Role>,
    settings: &Settings,
    broken: &mut Violations,
) {
    id(app, broken);
    command(app, broken);
    environment(app, broken);
    roles(app, kept_role, settings, broken);
    single_instance(app, broken);
    limits(app, broken);
    fetch(app, broken);
    ports::validate(app, broken);
    checks::validate(app, broken);
    unsupported::validate(app, broken);
}

fn id(app: &App, broken: &mut Violations) {
    let Some(last) = app.id.last_segment() else {
        broken.add("/id", "Path must contain at least one path element");
        return;
    };
    if RESERVED_SEGMENTS.contains(&last) {
        broken.add(
            "/id",
            format!(
                "must not end with any of the following reserved keywords: {}",
                RESERVED_SEGMENTS.join(", ")
            ),
        );
    }
    if app.id.as_str().len() > MAX_APP_ID_BYTES {
        broken.add(
            "/id",
            format!(
                "must have at most {MAX_APP_ID_BYTES} bytes, so that the ids of its tasks have at \
                 most 255"
            ),
        );
    }
}

fn has_image(container: &Container) -> bool {
    container.docker.as_ref().is_some_and(|docker| !docker.image.is_empty())
}

fn command(app: &App, broken: &mut Violations) {
    let has_args = !app.args.is_empty();
    let legal = match &app.cmd {
        Some(_) => !has_args,
        None => has_args || app.container.as_ref().is_some_and(has_image),
    };
    if !legal {
        broken.add(
            "/",
            "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
        );
    }
    if app.cmd.as_ref().is_some_and(|cmd| cmd.chars().count() < 2) {
        broken.add("/cmd", "must not be an empty string");
    }
    if app.cmd.as_ref().is_some_and(|cmd| cmd.contains('\0')) {
        broken.add("/cmd", "must not contain a NUL character");
    }
    for (index, argument) in app.args.iter().enumerate() {
        if argument.contains('\0') {
            broken.add(&format!("/args({index})"), "must not contain a NUL character");
        }
    }
    if app.user.as_ref().is_some_and(|user| user.is_empty() || user.contains('\0')) {
        broken.add("/user", "must not be empty");
    }
}

fn environment(app: &App, broken: &mut Violations) {
    for (name, value) in &app.env {
        let path = format!("/env/{}", name.chars().take(120).collect::<String>());
        if name.is_empty() {
            broken.add("/env", "must not be empty");
        } else if name.contains(['=', '\0']) {
            broken.add(&path, "the name of a variable must not contain '=' or a NUL character");
        }
        if value.text().is_some_and(|text| text.contains('\0')) {
            broken.add(&path, "must not contain a NUL character");
        }
    }
}

fn roles(app: &App, kept_role: Option<&Role>, settings: &Settings, broken: &mut Violations) {
    let group_role = app
        .id
        .segments()
        .next()
        .filter(|_| app.id.segments().count() > 1)
        .and_then(|segment| Role::parse(segment).ok());
    let legal = app.role == settings.default_role
        || kept_role == Some(&app.role)
        || group_role.as_ref() == Some(&app.role);
    if !legal {
        let mut options = vec![settings.default_role.to_string()];
        options.extend(group_role.map(|role| role.to_string()));
        broken.add("/role", format!("got {}, expected one of: [{}]", app.role, options.join(", ")));
    }
    let Some(accepted) = &app.accepted_resource_roles else { return };
    if accepted.is_empty() {
        broken.add("/acceptedResourceRoles", "must not be empty");
    }
    if accepted.iter().any(|role| role != "*" && role != app.role.as_str()) {
        let names =
            if app.role.is_default() { "*".to_owned() } else { format!("* and {}", app.role) };
        broken.add(
            "/acceptedResourceRoles",
            format!("acceptedResourceRoles can only contain {names}"),
        );
    }
}

fn single_instance(app: &App, broken: &mut Violations) {
    if !app.is_single_instance() {
        return;
    }
    if app.instances > 1 {
        broken.add("/instances", "Single instance app may only have one instance");
    }
    let UpgradeStrategy { minimum_health_capacity, maximum_over_capacity } = app.upgrade_strategy;
    for (field, share) in [
        ("minimumHealthCapacity", minimum_health_capacity),
        ("maximumOverCapacity", maximum_over_capacity),
    ] {
        if share.as_nano() != 0 {
            broken.add(
                &format!("/upgradeStrategy/{field}"),
                format!("got {:?}, expected 0.0", share.as_f64()),
            );
        }
    }
}

fn limits(app: &App, broken: &mut Violations) {
    let Some(limits) = &app.resource_limits else { return };
    for (field, limit, request) in [("cpus", limits.cpus, app.cpus), ("mem", limits.mem, app.mem)] {
        if matches!(limit, Some(Limit::Amount(amount)) if amount < request) {
            broken.add(
                &format!("/resourceLimits/{field}"),
                format!(
                    "resource limit must be greater than or equal to requested resource ({request})"
                ),
            );
        }
    }
}

fn fetch(app: &App, broken: &mut Violations) {
    for (index, fetch) in app.fetch.iter().enumerate() {
        if !is_uri(&fetch.uri) {
            broken.add(&format!("/fetch({index})"), "URI has invalid syntax.");
        }
    }
}

/// Whether the text has only characters of a URI and complete percent escapes.
fn is_uri(text: &str) -> bool {
    let legal = |c: char| !c.is_control() && !c.is_whitespace() && !"<>\"{}|\\^`".contains(c);
    let bytes = text.as_bytes();
    let escaped = |at: usize| {
        bytes.get(at + 1..at + 3).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
    };
    !text.is_empty()
        && text.chars().all(legal)
        && text.match_indices('%').all(|(at, _)| escaped(at))
}
