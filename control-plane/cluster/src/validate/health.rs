//! Checks and health checks of tasks.

use tepui_wire::v1::{self, check_info, health_check};

use super::{Fault, command::check_command, refuse_if};

/// Checks a health check; one without a type but with exactly one body gets the body's type.
pub(crate) fn check_health_check(check: &mut v1::HealthCheck) -> Result<(), Fault> {
    if check.r#type.is_none() && check.tcp.is_none() {
        match (&check.http, &check.command) {
            (Some(_), None) => check.r#type = Some(health_check::Type::Http.into()),
            (None, Some(_)) => check.r#type = Some(health_check::Type::Command.into()),
            _ => {}
        }
    }
    match check.r#type() {
        health_check::Type::Unknown => return Err("HealthCheck must specify 'type'".into()),
        health_check::Type::Command => {
            let command = check
                .command
                .as_ref()
                .ok_or("Expecting 'command' to be set for COMMAND health check")?;
            check_command_of_check(command)?;
        }
        health_check::Type::Http => {
            let http =
                check.http.as_ref().ok_or("Expecting 'http' to be set for HTTP health check")?;
            if let Some(scheme) = http.scheme.as_deref().filter(|s| !matches!(*s, "http" | "https"))
            {
                return Err(format!("Unsupported HTTP health check scheme: '{scheme}'"));
            }
            check_path(http.path.as_deref())?;
            check_port(http.port)?;
        }
        health_check::Type::Tcp => {
            let tcp = check.tcp.as_ref().ok_or("Expecting 'tcp' to be set for TCP health check")?;
            check_port(tcp.port)?;
        }
    }
    check_seconds("delay_seconds", check.delay_seconds)?;
    check_seconds("grace_period_seconds", check.grace_period_seconds)?;
    check_seconds("interval_seconds", check.interval_seconds)?;
    check_seconds("timeout_seconds", check.timeout_seconds)
}

/// Checks a check.
pub(crate) fn check_check(check: &v1::CheckInfo) -> Result<(), Fault> {
    match check.r#type() {
        check_info::Type::Unknown => return Err("CheckInfo must specify 'type'".into()),
        check_info::Type::Command => {
            let command =
                check.command.as_ref().ok_or("Expecting 'command' to be set for COMMAND check")?;
            check_command_of_check(&command.command)?;
        }
        check_info::Type::Http => {
            let http = check.http.as_ref().ok_or("Expecting 'http' to be set for HTTP check")?;
            check_path(http.path.as_deref())?;
            check_port(http.port)?;
        }
        check_info::Type::Tcp => {
            let tcp = check.tcp.as_ref().ok_or("Expecting 'tcp' to be set for TCP check")?;
            check_port(tcp.port)?;
        }
    }
    check_seconds("delay_seconds", check.delay_seconds)?;
    check_seconds("interval_seconds", check.interval_seconds)?;
    check_seconds("timeout_seconds", check.timeout_seconds)
}

fn check_command_of_check(command: &v1::CommandInfo) -> Result<(), Fault> {
    refuse_if(command.value.is_none(), "Command check must contain 'command.value'")?;
    check_command(command).map_err(|fault| format!("Check's `CommandInfo` is invalid: {fault}"))
}

fn check_path(path: Option<&str>) -> Result<(), Fault> {
    match path {
        Some(path) if !path.starts_with('/') => {
            Err(format!("The path '{path}' of HTTP check must start with '/'"))
        }
        _ => Ok(()),
    }
}

fn check_port(port: u32) -> Result<(), Fault> {
    if u16::try_from(port).is_ok() { Ok(()) } else { Err(format!("{port} is not a port")) }
}

fn check_seconds(name: &str, seconds: Option<f64>) -> Result<(), Fault> {
    match seconds {
        Some(seconds) if seconds.is_nan() || seconds < 0.0 => {
            Err(format!("Expecting '{name}' to be non-negative"))
        }
        _ => Ok(()),
    }
}
