use crate::app::App;
use crate::container::ContainerEngine;
use crate::health::{CheckProbe, HealthCheck, HealthProtocol, IpProtocol};
use crate::reject::Violations;

/// Health, general and readiness checks.
pub(super) fn validate(app: &App, broken: &mut Violations) {
    if app.health_checks.iter().filter(|check| check.protocol.runs_at_agent()).count() > 1 {
        broken.add("/healthChecks", "AppDefinition can contain at most one Mesos health check");
    }
    for (index, check) in app.health_checks.iter().enumerate() {
        health(app, check, &format!("/healthChecks({index})"), broken);
    }
    general(app, broken);
    readiness(app, broken);
}

fn in_range(app: &App, index: Option<u32>) -> bool {
    index.is_none_or(|index| usize::try_from(index).is_ok_and(|index| index < app.port_count()))
}

fn engine(app: &App) -> Option<ContainerEngine> {
    app.container.as_ref().map(|container| container.engine)
}

fn health(app: &App, check: &HealthCheck, path: &str, broken: &mut Violations) {
    if check.protocol != HealthProtocol::Command {
        if check.port.is_none() && check.port_index.is_none() {
            broken.add(path, "HealthCheck must specify either a port or a portIndex");
        }
        if check.port.is_none() && !in_range(app, check.port_index) {
            broken.add(
                path,
                "Health check port indices must address an element of the ports array or \
                 container port mappings.",
            );
        }
    }
    let agent_network = matches!(
        check.protocol,
        HealthProtocol::MesosHttp | HealthProtocol::MesosHttps | HealthProtocol::MesosTcp
    );
    let docker = engine(app) == Some(ContainerEngine::Docker);
    if check.ip_protocol == IpProtocol::V6 && !(docker && agent_network) {
        broken.add(
            path,
            "IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health \
             checks",
        );
    }
    if check.command.as_ref().is_some_and(|command| command.contains('\0')) {
        broken.add(&format!("{path}/command/value"), "must not contain a NUL character");
    }
    if check.path.as_ref().is_some_and(|path| path.contains(char::is_control)) {
        broken.add(&format!("{path}/path"), "must not contain control characters");
    }
}

fn general(app: &App, broken: &mut Violations) {
    let Some(check) = &app.check else { return };
    if engine(app) == Some(ContainerEngine::Docker) {
        broken.add("/check", "AppDefinition must not use 'checks' if using docker");
    }
    let (index, port) = match &check.probe {
        CheckProbe::Http { port_index, port, .. } | CheckProbe::Tcp { port_index, port } => {
            (*port_index, *port)
        }
        CheckProbe::Shell(_) | CheckProbe::Argv(_) => return,
    };
    if port.is_none() && !in_range(app, Some(index.unwrap_or(0))) {
        broken.add(
            "/check",
            "check port index must address an element of the ports array or container port \
             mappings.",
        );
    }
}

fn readiness(app: &App, broken: &mut Violations) {
    if app.readiness_checks.len() > 1 {
        broken.add(
            "/readinessChecks",
            format!("got {}, expected 1 or less", app.readiness_checks.len()),
        );
    }
    let mut names: Vec<&str> =
        app.port_definitions.iter().filter_map(|definition| definition.name.as_deref()).collect();
    let mappings = app.container.iter().flat_map(|container| &container.port_mappings);
    names.extend(mappings.filter_map(|mapping| mapping.name.as_deref()));
    for (index, check) in app.readiness_checks.iter().enumerate() {
        let path = format!("/readinessChecks({index})");
        if !names.contains(&check.port_name.as_str()) {
            broken.add(
                &format!("{path}/portName"),
                format!("got {}, expected one of: [{}]", check.port_name, names.join(", ")),
            );
        }
        if check.timeout_seconds >= check.interval_seconds {
            broken.add(
                &format!("{path}/timeoutSeconds"),
                format!(
                    "got {}, expected less than {}",
                    check.timeout_seconds, check.interval_seconds
                ),
            );
        }
        if check.http_status_codes_for_ready.is_empty() {
            broken.add(&format!("{path}/httpStatusCodesForReady"), "must not be empty");
        }
    }
}
