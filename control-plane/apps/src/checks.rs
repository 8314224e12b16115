//! Whom checks address (`marathon-behaviour.md` section 8). Pure.
//!
//! What the leader asks for itself it asks from outside: the host port on the host, or the container's
//! own address where nothing of the host leads to it. What agents ask for it they ask inside the
//! task's network: the container port.

use tepui_marathon::{App, CheckProbe, HealthCheck, HealthProtocol, IpProtocol, Network};
use tepui_wire::v1;

use crate::TaskRecord;
use crate::environment::TaskPort;

/// Host and port that the leader asks.
pub(crate) fn target(
    app: &App,
    task: &TaskRecord,
    port: Option<u16>,
    index: Option<u32>,
) -> Option<(String, u16)> {
    let inside = || Some(task.ip_addresses.first()?.ip_address.clone());
    if let Some(port) = port.filter(|port| *port != 0) {
        let is_elsewhere = app.networks.iter().any(|one| matches!(one, Network::Container { .. }));
        return Some((if is_elsewhere { inside()? } else { task.hostname.clone() }, port));
    }
    if app.has_host_networking() {
        return Some((task.hostname.clone(), check_port(None, index, &task.host_ports)?));
    }
    let mappings = &app.container.as_ref()?.port_mappings;
    let at = usize::try_from(index.unwrap_or(0)).ok()?;
    let mapping = mappings.get(at)?;
    if mapping.host_port.is_none() {
        return Some((inside()?, mapping.container_port));
    }
    let before = mappings[..at].iter().filter(|mapping| mapping.host_port.is_some()).count();
    Some((task.hostname.clone(), *task.host_ports.get(before)?))
}

/// Port that a check addresses: its own number, or the port with that index.
fn check_port(port: Option<u16>, index: Option<u32>, ports: &[u16]) -> Option<u16> {
    port.filter(|port| *port != 0)
        .or_else(|| ports.get(usize::try_from(index.unwrap_or(0)).ok()?).copied())
}

/// The health check that the agent runs, if there is one.
pub(crate) fn health_check(app: &App, ports: &[TaskPort]) -> Option<v1::HealthCheck> {
    let check = app.health_checks.iter().find(|check| check.protocol.runs_at_agent())?;
    let mut info = v1::HealthCheck {
        delay_seconds: Some(check.delay_seconds.into()),
        interval_seconds: Some(check.interval_seconds.into()),
        timeout_seconds: Some(check.timeout_seconds.into()),
        consecutive_failures: Some(check.max_consecutive_failures),
        grace_period_seconds: Some(check.grace_period_seconds.into()),
        ..v1::HealthCheck::default()
    };
    if check.protocol == HealthProtocol::Command {
        info.set_type(v1::health_check::Type::Command);
        info.command = Some(shell(check.command.as_deref().unwrap_or_default()));
        return Some(info);
    }
    let port = check_port(check.port, check.port_index, &target_ports(app, ports))?;
    if check.protocol == HealthProtocol::MesosTcp {
        info.set_type(v1::health_check::Type::Tcp);
        info.tcp = Some(v1::health_check::TcpCheckInfo {
            protocol: ip_protocol(check),
            port: port.into(),
        });
        return Some(info);
    }
    info.set_type(v1::health_check::Type::Http);
    let scheme = if check.protocol == HealthProtocol::MesosHttps { "https" } else { "http" };
    info.http = Some(v1::health_check::HttpCheckInfo {
        protocol: ip_protocol(check),
        scheme: Some(scheme.to_owned()),
        port: port.into(),
        path: Some(check.path.clone().unwrap_or_else(|| "/".to_owned())),
        statuses: Vec::new(),
    });
    Some(info)
}

/// Ports as the agent reaches them, which asks inside the task's own network: the container's, which
/// is the host's where none is fixed.
fn target_ports(app: &App, ports: &[TaskPort]) -> Vec<u16> {
    if app.has_host_networking() {
        return ports.iter().map(|port| port.effective).collect();
    }
    let fixed = |port: &TaskPort| if port.declared == 0 { port.effective } else { port.declared };
    ports.iter().map(fixed).collect()
}

fn ip_protocol(check: &HealthCheck) -> Option<i32> {
    Some(match check.ip_protocol {
        IpProtocol::V4 => v1::network_info::Protocol::IPv4 as i32,
        IpProtocol::V6 => v1::network_info::Protocol::IPv6 as i32,
    })
}

fn shell(line: &str) -> v1::CommandInfo {
    v1::CommandInfo {
        shell: Some(true),
        value: Some(line.to_owned()),
        ..v1::CommandInfo::default()
    }
}

/// The check whose result nothing depends on; agents run it.
pub(crate) fn general_check(app: &App, ports: &[TaskPort]) -> Option<v1::CheckInfo> {
    let check = app.check.as_ref()?;
    let mut info = v1::CheckInfo {
        delay_seconds: Some(check.delay_seconds.into()),
        interval_seconds: Some(check.interval_seconds.into()),
        timeout_seconds: Some(check.timeout_seconds.into()),
        ..v1::CheckInfo::default()
    };
    let targets = target_ports(app, ports);
    match &check.probe {
        CheckProbe::Http { port_index, port, path, .. } => {
            info.set_type(v1::check_info::Type::Http);
            let port = check_port(*port, *port_index, &targets)?.into();
            info.http = Some(v1::check_info::Http { port, path: path.clone() });
        }
        CheckProbe::Tcp { port_index, port } => {
            info.set_type(v1::check_info::Type::Tcp);
            let port = check_port(*port, *port_index, &targets)?.into();
            info.tcp = Some(v1::check_info::Tcp { port });
        }
        CheckProbe::Shell(line) => {
            info.set_type(v1::check_info::Type::Command);
            info.command = Some(v1::check_info::Command { command: shell(line) });
        }
        CheckProbe::Argv(argv) => {
            info.set_type(v1::check_info::Type::Command);
            let command = v1::CommandInfo {
                shell: Some(false),
                value: argv.first().cloned(),
                arguments: argv.clone(),
                ..v1::CommandInfo::default()
            };
            info.command = Some(v1::check_info::Command { command });
        }
    }
    Some(info)
}

#[cfg(test)]
mod tests;
