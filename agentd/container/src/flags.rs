//! Flags of `docker run` (container.docker.parameters), each with what it means here.

use std::net::IpAddr;

use crate::capabilities;
use crate::describe::{Refusal, host_source, target};
use crate::wish::{
    Capabilities, Container, Device, Ipc, Mount, MountSource, Network, NetworkLabels, Rlimit,
    Seccomp, Tty,
};

/// Options of a memory file system that a task may choose.
const TMPFS_OPTIONS: [&str; 12] = [
    "rw",
    "ro",
    "nosuid",
    "suid",
    "nodev",
    "noexec",
    "exec",
    "noatime",
    "relatime",
    "size",
    "mode",
    "nr_inodes",
];

/// Applies one flag.
pub(crate) fn apply(container: &mut Container, key: &str, value: &str) -> Result<(), Refusal> {
    match key {
        "env" | "e" => environment(container, value),
        // Labels of a container are read by nobody here: the task's own are.
        "label" | "l" => Ok(()),
        "volume" | "v" => volume(container, value),
        "tmpfs" => tmpfs(container, value),
        "read-only" => on(&mut container.read_only, key, value),
        "hostname" | "h" if !is_name(value) => Err(wrong(key, value, "a host's name")),
        "hostname" | "h" => text(&mut container.hostname, key, value),
        "user" | "u" => text(&mut container.user, key, value),
        "workdir" | "w" => text(&mut container.working_directory, key, value),
        "entrypoint" => text(&mut container.entry.entrypoint, key, value),
        "stop-signal" => text(&mut container.stop_signal, key, value),
        "group-add" => push(&mut container.groups, key, value),
        "network" | "net" => network(container, value),
        "cap-add" | "cap-drop" => capability(container, key, value),
        "privileged" => on(&mut container.privileged, key, value),
        "security-opt" => security(container, value),
        "ulimit" => ulimit(container, value),
        "device" => device(container, value),
        "sysctl" => sysctl(container, value),
        "shm-size" => {
            container.shm_bytes = Some(bytes(value).ok_or_else(|| wrong(key, value, "a size"))?);
            Ok(())
        }
        "ipc" => match value {
            "private" => set(&mut container.ipc, Ipc::Private),
            "host" => set(&mut container.ipc, Ipc::Above),
            _ => Err(wrong(key, value, "private or host")),
        },
        "pid" => match value {
            "host" => set(&mut container.shares_processes, true),
            _ => Err(wrong(key, value, "host")),
        },
        "tty" | "t" => {
            let mut wanted = false;
            on(&mut wanted, key, value)?;
            if wanted && container.tty.is_none() {
                container.tty = Some(Tty::default());
            }
            Ok(())
        }
        "dns" if value.parse::<IpAddr>().is_err() => Err(wrong(key, value, "an address")),
        "dns" => push(&mut container.dns.servers, key, value),
        "dns-search" => push(&mut container.dns.search, key, value),
        "dns-opt" | "dns-option" => push(&mut container.dns.options, key, value),
        // An IPv6 address has colons of its own: the name is what stands before the first.
        "add-host" => match value.split_once([':', '=']) {
            Some((name, address)) if is_name(name) && address.parse::<IpAddr>().is_ok() => {
                container.dns.hosts.push((name.to_owned(), address.to_owned()));
                Ok(())
            }
            _ => Err(wrong(key, value, "name:address")),
        },
        _ => {
            let shown: String = key.chars().take(80).collect();
            let instead = instead(key).map(|what| format!("; {what}")).unwrap_or_default();
            let shown = shown.escape_debug();
            Refusal::of(format!("Docker parameter '{shown}' has no equivalent here{instead}"))
        }
    }
}

/// What says the same without Docker's flag.
fn instead(key: &str) -> Option<&'static str> {
    Some(match key {
        "memory" | "m" | "memory-swap" => "a task's memory is its mem, or its limit of mem",
        "cpus" | "cpu-shares" | "c" | "cpu-quota" | "cpu-period" => {
            "a task's processors are its cpus, or its limit of cpus"
        }
        "cpuset-cpus" => "the label TEPUI_CPUSET says it",
        "pids-limit" => "the label TEPUI_PIDS says it",
        "blkio-weight" => "the label TEPUI_IO_WEIGHT says it",
        "publish" | "p" | "expose" => "port mappings say it",
        "restart" | "name" | "rm" | "detach" | "d" => "the agent sees to it",
        _ => return None,
    })
}

fn wrong(key: &str, value: &str, right: &str) -> Refusal {
    Refusal(format!("Docker parameter {key}={} is not {right}", value.escape_debug()))
}

/// As names of hosts are written, and as they are found in files of one name a line.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=253).contains(&text.len()) && text.bytes().all(plain)
}

fn set<T>(place: &mut T, value: T) -> Result<(), Refusal> {
    *place = value;
    Ok(())
}

fn on(place: &mut bool, key: &str, value: &str) -> Result<(), Refusal> {
    match value {
        "" | "true" => set(place, true),
        "false" => set(place, false),
        _ => Err(wrong(key, value, "true or false")),
    }
}

fn clean<'a>(key: &str, value: &'a str) -> Result<&'a str, Refusal> {
    if value.is_empty() || value.contains(['\0', '\n']) {
        return Err(wrong(key, value, "one line of text"));
    }
    Ok(value)
}

fn text(place: &mut Option<String>, key: &str, value: &str) -> Result<(), Refusal> {
    set(place, Some(clean(key, value)?.to_owned()))
}

fn push(place: &mut Vec<String>, key: &str, value: &str) -> Result<(), Refusal> {
    place.push(clean(key, value)?.to_owned());
    Ok(())
}

fn environment(container: &mut Container, value: &str) -> Result<(), Refusal> {
    match value.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            container.environment.push((name.to_owned(), value.to_owned()));
            Ok(())
        }
        // Docker takes the value from its own environment then; the agent's is nobody's business.
        _ => Err(wrong("env", value, "NAME=value")),
    }
}

fn volume(container: &mut Container, value: &str) -> Result<(), Refusal> {
    let parts: Vec<_> = value.split(':').collect();
    let (host, inside, mode) = match parts.as_slice() {
        [host, inside] => (*host, *inside, ""),
        [host, inside, mode] => (*host, *inside, *mode),
        _ => return Err(wrong("volume", value, "/host:/container or /host:/container:ro")),
    };
    if !host.starts_with('/') {
        return Refusal::of(format!("Docker volume '{value}' has a name; only host paths work"));
    }
    let (mut read_only, mut follows_host) = (false, false);
    for word in mode.split(',').filter(|word| !word.is_empty()) {
        match word {
            "ro" => read_only = true,
            "rslave" | "slave" => follows_host = true,
            // Labels of SELinux, which nothing here uses.
            "rw" | "z" | "Z" | "rprivate" | "private" => {}
            _ => return Err(wrong("volume", value, "read-only (ro) or not (rw)")),
        }
    }
    let source = host_source(host, true, follows_host)?;
    container.mounts.push(Mount { source, target: target(inside)?, read_only });
    Ok(())
}

fn tmpfs(container: &mut Container, value: &str) -> Result<(), Refusal> {
    let (inside, options) = value.split_once(':').unwrap_or((value, ""));
    let options: Vec<_> = options.split(',').filter(|one| !one.is_empty()).collect();
    for option in &options {
        let name = option.split_once('=').map_or(*option, |(name, _)| name);
        if !TMPFS_OPTIONS.contains(&name) {
            return Err(wrong("tmpfs", value, "a folder with known options"));
        }
    }
    let options = options.into_iter().map(str::to_owned).collect();
    let source = MountSource::Tmpfs { options };
    container.mounts.push(Mount { source, target: target(inside)?, read_only: false });
    Ok(())
}

fn network(container: &mut Container, value: &str) -> Result<(), Refusal> {
    let ports = container.network.ports().to_vec();
    container.network = match clean("network", value)? {
        "host" => Network::Host,
        "none" => Network::None,
        "bridge" | "default" => Network::Bridge { ports },
        name if name.starts_with("container:") => {
            return Refusal::of("Docker parameter network=container:… needs a pod");
        }
        name => {
            let labels = NetworkLabels::new();
            Network::Cni { names: vec![name.to_owned()], ports, labels }
        }
    };
    Ok(())
}

fn capability(container: &mut Container, key: &str, value: &str) -> Result<(), Refusal> {
    let name = capabilities::plain_name(value)
        .ok_or_else(|| wrong(key, value, "a capability of Linux, or ALL"))?;
    match &mut container.capabilities {
        Capabilities::Usual { add, .. } if key == "cap-add" => add.push(name),
        Capabilities::Usual { drop, .. } => drop.push(name),
        Capabilities::Exactly { .. } => {
            return Refusal::of(format!(
                "Docker parameter '{key}' and linux_info both say which capabilities there are"
            ));
        }
    }
    Ok(())
}

fn security(container: &mut Container, value: &str) -> Result<(), Refusal> {
    match value {
        "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true" => {
            set(&mut container.new_privileges, false)
        }
        "no-new-privileges:false" | "no-new-privileges=false" => {
            set(&mut container.new_privileges, true)
        }
        "seccomp=unconfined" | "seccomp:unconfined" => {
            set(&mut container.seccomp, Seccomp::Unconfined)
        }
        _ => match value.strip_prefix("seccomp=").filter(|name| !name.contains('/')) {
            Some(name) => set(&mut container.seccomp, Seccomp::named(name)),
            None => Err(wrong("security-opt", value, "known")),
        },
    }
}

fn ulimit(container: &mut Container, value: &str) -> Result<(), Refusal> {
    let failed = || wrong("ulimit", value, "name=soft or name=soft:hard");
    let (name, limits) = value.split_once('=').ok_or_else(failed)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| failed()),
    };
    let name = name.to_ascii_uppercase();
    if !crate::spec::is_rlimit(&name) {
        return Err(failed());
    }
    let (soft, hard) = (number(soft)?, number(hard)?);
    if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
        return Err(wrong("ulimit", value, "a soft limit that is at most its hard one"));
    }
    container.rlimits.retain(|one| one.name != name);
    container.rlimits.push(Rlimit { name, soft, hard });
    Ok(())
}

fn device(container: &mut Container, value: &str) -> Result<(), Refusal> {
    let parts: Vec<_> = value.split(':').collect();
    let (host, inside, access) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, access] if !access.starts_with('/') => (*host, *host, *access),
        [host, inside] => (*host, *inside, "rwm"),
        [host, inside, access] => (*host, *inside, *access),
        _ => return Err(wrong("device", value, "/dev/host or /dev/host:/dev/container")),
    };
    // Making nodes (`m`) is for whoever has the capability, of any device: a node opens nothing.
    let (read, write) = (access.contains('r'), access.contains('w'));
    if !access.chars().all(|one| "rwm".contains(one)) || !(read || write) {
        return Err(wrong("device", value, "a device with 'r', 'w' or 'rw' (and 'm') at its end"));
    }
    let inside = target(inside)?;
    if !host.starts_with("/dev/") || !inside.starts_with("/dev/") {
        return Err(wrong("device", value, "a device below /dev"));
    }
    let host = host.to_owned();
    container.devices.push(Device { host, container: inside, read, write });
    Ok(())
}

/// Only what belongs to namespaces of the container's own.
fn sysctl(container: &mut Container, value: &str) -> Result<(), Refusal> {
    let (name, value_) =
        value.split_once('=').ok_or_else(|| wrong("sysctl", value, "name=value"))?;
    let own_ipc = ["kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue."];
    let is_ipc = own_ipc.iter().any(|start| name.starts_with(start));
    if name.contains(['/', '\0']) || !(is_ipc || name.starts_with("net.")) {
        return Err(wrong("sysctl", value, "a parameter of the network or of IPC"));
    }
    container.sysctls.push((name.to_owned(), value_.to_owned()));
    Ok(())
}

/// A size as Docker reads it: bytes, or a number with b, k, m or g.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    let shift = match &text[digits.len()..] {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests;
