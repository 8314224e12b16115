//! What a container may do: its own wish, within its labels' and the operator's word. Explicit
//! wishes beyond it are refused with the field that holds them; what is only usual is cut.

use tepui_container::{
    Capabilities, Container, Ipc, MountSource, Seccomp, USUAL_CAPABILITIES, capability_mask,
    capability_names,
};
use tepui_wire::v1;

use super::{LimitPolicy, SeccompProfile, labels::Wishes};

/// Sockets through which a service manager takes orders, where a container sees the host's files.
const MANAGERS: [&str; 3] = ["/run/dbus", "/run/systemd/private", "/run/systemd/userdb"];

/// With it, root of a container reaches whatever device it has the number of.
const MAKES_NODES: &str = "MKNOD";

/// All capabilities that have a name.
pub(super) fn all() -> u64 {
    capability_mask(&capability_names(u64::MAX))
}

/// Binds a container to what its labels and the operator say.
///
/// # Errors
/// What it asks for and may not have.
pub(crate) fn bind(
    container: &mut Container,
    labels: Option<&v1::Labels>,
    policy: &LimitPolicy,
) -> Result<(), String> {
    let wishes = Wishes::read(labels).map_err(|error| error.to_string())?;
    let policy = &shielded(policy, &wishes);
    privileges(container, &wishes, policy)?;
    // Bounds that the operator has set say by themselves what may be asked for.
    if policy.shield && policy.bounding_capabilities.is_none() && !container.privileged {
        usual_at_most(&container.capabilities)?;
    }
    devices(container, policy)?;
    capabilities(container, policy)?;
    if policy.unruled_devices.is_some() && !container.privileged {
        make_no_nodes(&mut container.capabilities);
    }
    system_calls(container, &wishes, policy);
    if wishes.own_ipc && container.ipc == Ipc::Above {
        return Err("Label 'TEPUI_PRIVATE_IPC' and the container's ipc mode contradict each other"
            .to_owned());
    }
    if policy.shield {
        shield(container)?;
        if container.image.is_none() {
            container.hidden = MANAGERS.map(str::to_owned).to_vec();
        }
    }
    volumes(container, policy)?;
    container.host_folders.clone_from(&policy.host_volumes);
    Ok(())
}

/// The operator's word. A label that keeps the host from a task does so for what is asked for below it:
/// a task with that label is none in a container itself.
fn shielded(policy: &LimitPolicy, wishes: &Wishes) -> LimitPolicy {
    let mut policy = policy.clone();
    if wishes.shield && !policy.shield {
        policy.shield = true;
        policy.privileged_containers = false;
        policy.host_volumes.get_or_insert_default();
    }
    policy
}

/// Takes everything from a container that somebody might object to.
pub(crate) fn disarm(container: &mut Container, policy: &LimitPolicy) {
    container.privileged = false;
    container.new_privileges = false;
    container.capabilities = Capabilities::Exactly { effective: Vec::new(), bounding: Vec::new() };
    container.seccomp = Seccomp::Usual;
    container.shares_processes = false;
    container.ipc = Ipc::Private;
    container.devices.clear();
    container.holds_to_devices = policy.unruled_devices.is_none();
    container.mounts.retain(|mount| !matches!(mount.source, MountSource::Host { .. }));
    container.hidden = MANAGERS.map(str::to_owned).to_vec();
}

fn privileges(
    container: &mut Container,
    wishes: &Wishes,
    policy: &LimitPolicy,
) -> Result<(), String> {
    if container.privileged && !policy.privileged_containers {
        return Err("A privileged container is not allowed on this agent \
                    (--privileged-containers false)"
            .to_owned());
    }
    if wishes.no_new_privileges {
        container.new_privileges = false;
    }
    if container.new_privileges && policy.no_new_privileges {
        if !container.privileged {
            return Err("Docker parameter security-opt=no-new-privileges:false is ruled out by \
                        this agent's --no-new-privileges"
                .to_owned());
        }
        // It only comes with being privileged.
        container.new_privileges = false;
    }
    Ok(())
}

fn capabilities(container: &mut Container, policy: &LimitPolicy) -> Result<(), String> {
    let allowed = policy.bounding_capabilities.unwrap_or_else(all);
    let beyond = |names: &[String]| -> Result<(), String> {
        let mask = if names.iter().any(|name| name == "ALL") { all() } else { 0 };
        let excess = capability_names((mask | capability_mask(names)) & !allowed);
        if excess.is_empty() {
            return Ok(());
        }
        Err(format!(
            "The container asks for capabilities beyond this agent's --bounding-capabilities: {}",
            excess.join(", ")
        ))
    };
    if container.privileged {
        return beyond(&["ALL".to_owned()]);
    }
    let given = policy.effective_capabilities;
    match &mut container.capabilities {
        Capabilities::Exactly { effective, bounding } => {
            beyond(effective)?;
            beyond(bounding)?;
        }
        Capabilities::Usual { add, drop } => {
            beyond(add)?;
            match given {
                // As Mesos: programs of ordinary users have them too.
                Some(given) if !container.entry.docker => {
                    let bounding = policy.bounding_capabilities.unwrap_or(given);
                    container.capabilities = Capabilities::Exactly {
                        effective: capability_names(given),
                        bounding: capability_names(bounding),
                    };
                    return Ok(());
                }
                Some(given) if !drop.iter().any(|name| name == "ALL") => {
                    add.extend(capability_names(given & !capability_mask(drop)));
                    drop.push("ALL".to_owned());
                }
                _ => {}
            }
            drop.extend(capability_names(all() & !allowed));
        }
    }
    Ok(())
}

/// Which devices it may open. Where nobody can hold it to them, nothing may lead to others: neither
/// the capability to make nodes nor a device by which it would have a way to more.
fn devices(container: &mut Container, policy: &LimitPolicy) -> Result<(), String> {
    let Some(why) = &policy.unruled_devices else {
        // Who is privileged has every device, as with Docker; not behind the shield.
        container.holds_to_devices = !container.privileged || policy.shield;
        return Ok(());
    };
    container.holds_to_devices = false;
    if container.privileged {
        if policy.shield {
            return Err(unruled("to be privileged behind --shield-tasks", why));
        }
        return Ok(());
    }
    if !container.devices.is_empty() {
        return Err(unruled("devices of the host", why));
    }
    let asked = match &container.capabilities {
        Capabilities::Usual { add, .. } => add,
        Capabilities::Exactly { bounding, .. } => bounding,
    };
    if asked.iter().any(|name| name == MAKES_NODES) {
        return Err(unruled("the capability MKNOD", why));
    }
    Ok(())
}

/// Of whoever asked for all capabilities, or has them from the operator.
fn make_no_nodes(capabilities: &mut Capabilities) {
    match capabilities {
        Capabilities::Usual { drop, .. } => drop.push(MAKES_NODES.to_owned()),
        Capabilities::Exactly { effective, bounding } => {
            effective.retain(|name| name != MAKES_NODES);
            bounding.retain(|name| name != MAKES_NODES);
        }
    }
}

fn unruled(what: &str, why: &str) -> String {
    format!("The container asks for {what}, and this host cannot hold it to its devices: {why}")
}

/// A filter that the container names wins, as in Mesos; then its label's, then the operator's.
fn system_calls(container: &mut Container, wishes: &Wishes, policy: &LimitPolicy) {
    if container.seccomp != Seccomp::Usual {
        return;
    }
    container.seccomp = match (wishes.seccomp.or(policy.seccomp), &policy.seccomp_file) {
        (Some(SeccompProfile::Strict), _) => Seccomp::Strict,
        (Some(SeccompProfile::Default), _) | (None, None) => Seccomp::Usual,
        (None, Some(file)) => Seccomp::Profile(file.clone()),
    };
}

/// Behind the shield nobody asks for capabilities that containers do not have anyway.
fn usual_at_most(capabilities: &Capabilities) -> Result<(), String> {
    let wished = match capabilities {
        Capabilities::Usual { add, .. } => add,
        Capabilities::Exactly { bounding, .. } => bounding,
    };
    let more = wished.iter().filter(|name| !USUAL_CAPABILITIES.contains(&name.as_str()));
    let more: Vec<_> = more.map(String::as_str).collect();
    if more.is_empty() {
        return Ok(());
    }
    Err(format!(
        "The container asks for the capabilities {}, which this agent's --shield-tasks rules out \
         (--bounding-capabilities names others)",
        more.join(", ")
    ))
}

/// What would lead around the operator's shield.
fn shield(container: &Container) -> Result<(), String> {
    let ways = [
        (!container.devices.is_empty(), "devices of the host"),
        (container.shares_processes, "the host's processes"),
        (container.ipc == Ipc::Above, "the host's inter-process communication"),
        (container.seccomp == Seccomp::Unconfined, "all system calls"),
    ];
    match ways.into_iter().find(|(wished, _)| *wished) {
        Some((_, what)) => Err(format!(
            "The container asks for {what}, which this agent's --shield-tasks rules out"
        )),
        None => Ok(()),
    }
}

/// Links on the way are the runtime's to find out: it looks again at what it mounts.
fn volumes(container: &Container, policy: &LimitPolicy) -> Result<(), String> {
    let Some(allowed) = &policy.host_volumes else { return Ok(()) };
    let is_allowed = |path: &str| {
        let straight = !path.split('/').any(|part| part == "..");
        let below = |folder: &String| std::path::Path::new(path).starts_with(folder);
        straight && allowed.iter().any(below)
    };
    let hosts = container.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Host { path, .. } => Some(path),
        _ => None,
    });
    for path in hosts {
        if !is_allowed(path) {
            return Err(format!(
                "Volume '{path}' of the host is not among this agent's --host-volumes"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
