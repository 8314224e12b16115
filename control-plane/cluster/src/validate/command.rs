//! Commands and containers of tasks and executors.

use tepui_wire::v1::{self, container_info, environment, secret, volume};

use super::{Fault, refuse_if};

/// Checks a command's environment.
pub(crate) fn check_command(command: &v1::CommandInfo) -> Result<(), Fault> {
    let variables = command.environment.iter().flat_map(|environment| &environment.variables);
    for variable in variables {
        check_variable(variable)?;
    }
    Ok(())
}

fn check_variable(variable: &environment::Variable) -> Result<(), Fault> {
    let name = &variable.name;
    match variable.r#type() {
        environment::variable::Type::Unknown => {
            Err(format!("Environment variable '{name}' of type 'UNKNOWN' is not allowed"))
        }
        environment::variable::Type::Value if variable.secret.is_some() => {
            Err(format!("Environment variable '{name}' of type 'VALUE' must not have a secret set"))
        }
        environment::variable::Type::Value if variable.value.is_none() => {
            Err(format!("Environment variable '{name}' of type 'VALUE' must have a value set"))
        }
        environment::variable::Type::Value => Ok(()),
        environment::variable::Type::Secret if variable.value.is_some() => {
            Err(format!("Environment variable '{name}' of type 'SECRET' must not have a value set"))
        }
        environment::variable::Type::Secret => match &variable.secret {
            None => Err(format!(
                "Environment variable '{name}' of type 'SECRET' must have a secret set"
            )),
            Some(secret) => check_secret(secret)
                .map_err(|fault| format!("Environment variable '{name}' is invalid: {fault}")),
        },
    }
}

fn check_secret(secret: &v1::Secret) -> Result<(), Fault> {
    match secret.r#type() {
        secret::Type::Unknown => Err("Secret must have a type".into()),
        secret::Type::Reference => refuse_if(
            secret.reference.is_none() || secret.value.is_some(),
            "Secret of type REFERENCE must have exactly the 'reference' field set",
        ),
        secret::Type::Value => match &secret.value {
            Some(value) if secret.reference.is_none() => {
                refuse_if(value.data.contains(&0), "Secret must not contain null bytes")
            }
            _ => Err("Secret of type VALUE must have exactly the 'value' field set".into()),
        },
    }
}

/// Checks a container's description.
pub(crate) fn check_container(container: &v1::ContainerInfo) -> Result<(), Fault> {
    for volume in &container.volumes {
        check_volume(volume).map_err(|fault| format!("Invalid volume: {fault}"))?;
    }
    if container.r#type() == container_info::Type::Docker {
        let docker = container
            .docker
            .as_ref()
            .ok_or("'docker' is not set for DOCKER typed ContainerInfo")?;
        refuse_if(
            docker.parameters.iter().any(|parameter| parameter.key == "name"),
            "Parameter in DockerInfo must not be 'name'",
        )?;
    }
    Ok(())
}

fn check_volume(one: &v1::Volume) -> Result<(), Fault> {
    let ways = [one.host_path.is_some(), one.image.is_some(), one.source.is_some()];
    refuse_if(
        ways.iter().filter(|set| **set).count() != 1,
        "Only one of them should be set: 'host_path', 'image' and 'source'",
    )?;
    let Some(source) = &one.source else { return Ok(()) };
    let (present, name) = match source.r#type() {
        volume::source::Type::Unknown => {
            return Err("'source.type' is unknown".into());
        }
        volume::source::Type::DockerVolume => (source.docker_volume.is_some(), "docker_volume"),
        volume::source::Type::HostPath => (source.host_path.is_some(), "host_path"),
        volume::source::Type::SandboxPath => (source.sandbox_path.is_some(), "sandbox_path"),
        volume::source::Type::Secret => (source.secret.is_some(), "secret"),
        volume::source::Type::CsiVolume => (source.csi_volume.is_some(), "csi_volume"),
    };
    if present {
        Ok(())
    } else {
        Err(format!("'source.{name}' is not set for {} volume", source.r#type().as_str_name()))
    }
}

/// True when a container asks for cgroups of its own.
pub(crate) fn refuses_shared_cgroups(container: Option<&v1::ContainerInfo>) -> bool {
    container
        .and_then(|container| container.linux_info.as_ref())
        .is_some_and(|linux| linux.share_cgroups == Some(false))
}
