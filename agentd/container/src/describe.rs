//! From Mesos's description of a container to ours.

use tepui_wire::v1::{
    self, container_info, image, linux_info::IpcMode, secret, volume, volume::source,
};

use crate::docker;
use crate::secrets::{check_secret, secret_names};
use crate::wish::{
    Capabilities, Container, Dns, Entry, ImageWish, Ipc, Mount, MountSource, Network,
    NetworkLabels, Port, Protocol, RegistryAuth, Rlimit, Seccomp, Tty,
};

/// Where a container with an image sees its sandbox (`--sandbox_directory`).
pub const SANDBOX: &str = "/mnt/mesos/sandbox";
/// The name that Marathon gives to bridge networking with Mesos's own containerizer.
const MESOS_BRIDGE: &str = "mesos-bridge";
const MB: u64 = 1 << 20;

/// A wish that cannot be fulfilled, with the field that holds it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl Refusal {
    pub(crate) fn of<T>(text: impl Into<String>) -> Result<T, Self> {
        Err(Self(text.into()))
    }
}

/// The container that a command is to run in; `None` when it needs none.
///
/// `user` is whom the command or its framework names, and counts as the command's own wish only
/// when `named_by_command`: Docker's containers run as their image says otherwise.
///
/// # Errors
/// [`Refusal`] for what Tepui cannot do; nothing that was asked for is ignored.
pub fn describe(
    info: &v1::ContainerInfo,
    command: &v1::CommandInfo,
    user: Option<&str>,
    named_by_command: bool,
) -> Result<Option<Container>, Refusal> {
    let is_docker = info.r#type() == container_info::Type::Docker;
    check_networks(&info.network_infos)?;
    check_engine(info, is_docker)?;
    let rlimits = rlimits(info.rlimit_info.as_ref())?;
    if !is_docker && needs_no_container(info) {
        return Ok(None);
    }
    let mut container = Container {
        image: None,
        entry: entry(command, is_docker),
        user: user.filter(|_| named_by_command || !is_docker).map(str::to_owned),
        user_of_host: !is_docker,
        groups: Vec::new(),
        working_directory: None,
        begins_in_sandbox: !is_docker,
        environment: Vec::new(),
        hostname: info.hostname.clone().filter(|name| !name.is_empty()),
        network: Network::Host,
        mounts: mounts(info, is_docker)?,
        privileged: false,
        read_only: false,
        capabilities: Capabilities::Usual { add: Vec::new(), drop: Vec::new() },
        seccomp: Seccomp::Usual,
        hidden: Vec::new(),
        host_folders: None,
        new_privileges: false,
        ipc: Ipc::Private,
        shm_bytes: None,
        shares_processes: false,
        tty: info.tty_info.as_ref().map(tty),
        rlimits,
        devices: Vec::new(),
        holds_to_devices: false,
        sysctls: Vec::new(),
        dns: Dns::default(),
        stop_signal: None,
    };
    if let Some(linux) = &info.linux_info {
        apply_linux(&mut container, linux)?;
    }
    if is_docker {
        let Some(wanted) = &info.docker else {
            return Refusal::of("container type DOCKER needs container.docker");
        };
        docker::apply(&mut container, wanted, &info.network_infos)?;
    } else {
        let wanted = info.mesos.as_ref().and_then(|mesos| mesos.image.as_ref());
        container.image = wanted.map(image_wish).transpose()?;
        container.network = mesos_network(&info.network_infos)?;
    }
    check_mounts(&container.mounts)?;
    if container.image.is_none() && container.read_only {
        return Refusal::of("a read-only root file system needs an image");
    }
    Ok(Some(container))
}

/// What is said for the other kind of container would have no effect, and may be there to protect.
fn check_engine(info: &v1::ContainerInfo, is_docker: bool) -> Result<(), Refusal> {
    match is_docker {
        false if info.docker.is_some() => {
            Refusal::of("container.docker has no effect with container type MESOS; use type DOCKER")
        }
        true if info.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some()) => {
            Refusal::of("container.mesos has no effect with container type DOCKER; use type MESOS")
        }
        _ => Ok(()),
    }
}

/// What makes a container, and every program in it, believes what it reads there.
fn check_mounts(mounts: &[Mount]) -> Result<(), Refusal> {
    let is_proc = |one: &&Mount| one.target == "/proc" || one.target.starts_with("/proc/");
    match mounts.iter().find(is_proc) {
        Some(mount) => Refusal::of(format!(
            "nothing can be mounted at '{}': what is below /proc is the kernel's",
            mount.target.escape_debug()
        )),
        None => Ok(()),
    }
}

/// Whether a MESOS container asks for nothing that an ordinary process does not have.
fn needs_no_container(info: &v1::ContainerInfo) -> bool {
    let named = |one: &v1::NetworkInfo| one.name.is_some() || !one.port_mappings.is_empty();
    info.mesos.as_ref().is_none_or(|mesos| mesos.image.is_none())
        && info.volumes.is_empty()
        && !info.network_infos.iter().any(named)
        && info.linux_info.is_none()
        && info.tty_info.is_none()
        && info.hostname.as_ref().is_none_or(String::is_empty)
}

fn entry(command: &v1::CommandInfo, docker: bool) -> Entry {
    Entry {
        value: command.value.clone().filter(|value| !value.is_empty()),
        shell: command.shell(),
        arguments: command.arguments.clone(),
        entrypoint: None,
        docker,
    }
}

fn tty(info: &v1::TtyInfo) -> Tty {
    let small = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let size = info.window_size.as_ref();
    size.map_or_else(Tty::default, |size| Tty {
        rows: small(size.rows),
        columns: small(size.columns),
    })
}

/// The limits that a task or session names. Soft and hard ones are given together, or neither: then
/// there is none (`RLimitInfo`).
///
/// # Errors
/// [`Refusal`] of a limit without a known type, or whose numbers cannot be meant.
pub fn rlimits(info: Option<&v1::RLimitInfo>) -> Result<Vec<Rlimit>, Refusal> {
    let all = info.map(|info| info.rlimits.as_slice()).unwrap_or_default();
    all.iter()
        .map(|limit| {
            let Some(name) = limit.r#type().as_str_name().strip_prefix("RLMT_") else {
                return Refusal::of("a resource limit (container.rlimit_info) has no known type");
            };
            let wrong = match (limit.soft, limit.hard) {
                (Some(soft), Some(hard)) if soft > hard => "a soft limit above its hard one",
                (Some(_), None) | (None, Some(_)) => "only one of its soft and hard limits",
                _ => {
                    let (soft, hard) = (limit.soft, limit.hard);
                    return Ok(Rlimit { name: name.to_owned(), soft, hard });
                }
            };
            Refusal::of(format!("resource limit {name} (container.rlimit_info) has {wrong}"))
        })
        .collect()
}

pub(crate) fn image_wish(image: &v1::Image) -> Result<ImageWish, Refusal> {
    let docker = match (image.r#type(), &image.docker) {
        (image::Type::Docker, Some(docker)) => docker,
        (image::Type::Docker, None) => return Refusal::of("an image of type DOCKER has no name"),
        (image::Type::Appc, _) => {
            return Refusal::of("image type APPC is not supported, only DOCKER");
        }
    };
    #[allow(deprecated)] // Still what Marathon's `docker.credential` becomes.
    let credential = &docker.credential;
    let auth = match (&docker.config, credential) {
        (Some(secret), _) => Some(RegistryAuth::DockerConfig(secret_text(secret)?)),
        (None, Some(known)) => Some(RegistryAuth::Basic {
            name: known.principal.clone(),
            password: known.secret.clone().unwrap_or_default(),
        }),
        (None, None) => None,
    };
    Ok(ImageWish { reference: docker.name.clone(), fresh: !image.cached(), auth })
}

fn secret_text(secret: &v1::Secret) -> Result<String, Refusal> {
    match (secret.r#type(), &secret.value) {
        (secret::Type::Value, Some(value)) => String::from_utf8(value.data.clone())
            .or_else(|_| Refusal::of("the image's pull configuration is not text")),
        _ => Refusal::of(
            "the image's pull configuration refers to a secret, and this agent has no secret \
             resolver; only secrets given by value work",
        ),
    }
}

fn mounts(info: &v1::ContainerInfo, is_docker: bool) -> Result<Vec<Mount>, Refusal> {
    let names = secret_names(&info.volumes);
    let named = info.volumes.iter().zip(names);
    named.map(|(volume, name)| mount(volume, name, is_docker)).collect()
}

fn mount(volume: &v1::Volume, secret: Option<String>, is_docker: bool) -> Result<Mount, Refusal> {
    let read_only = volume.mode() == volume::Mode::Ro;
    let target = target(&volume.container_path)?;
    if let Some(image) = &volume.image {
        return Ok(Mount { source: MountSource::Image(image_wish(image)?), target, read_only });
    }
    if let Some(path) = &volume.host_path {
        let source = host_source(path, is_docker, false)?;
        return Ok(Mount { source, target, read_only });
    }
    let source = volume.source.as_ref();
    let source = match source.map(v1::volume::Source::r#type) {
        Some(source::Type::HostPath) => {
            let host = source.and_then(|source| source.host_path.as_ref());
            let Some(host) = host else { return Refusal::of("a volume of the host has no path") };
            host_source(&host.path, false, follows_host(host.mount_propagation.as_ref())?)?
        }
        Some(source::Type::SandboxPath) => {
            let place = source.and_then(|source| source.sandbox_path.as_ref());
            let Some(place) = place else { return Refusal::of("a sandbox volume has no path") };
            let path = below(&place.path)?;
            match place.r#type() {
                source::sandbox_path::Type::Parent => MountSource::Parent { path },
                _ => MountSource::Sandbox { path },
            }
        }
        Some(source::Type::Secret) => {
            let data = source.and_then(|source| source.secret.as_ref());
            check_secret(&volume.container_path, data)?;
            // Who may read it may not change it.
            let source = MountSource::Secret(secret.unwrap_or_default());
            return Ok(Mount { source, target, read_only: true });
        }
        Some(other) => {
            let name = other.as_str_name();
            return Refusal::of(format!("a volume of type {name} is not supported"));
        }
        None => return Refusal::of(format!("volume '{}' has no source", volume.container_path)),
    };
    Ok(Mount { source, target, read_only })
}

/// Whether mounts that the host makes later appear in the container (HOST_TO_CONTAINER). The other way
/// round a container would change the host.
fn follows_host(wanted: Option<&v1::MountPropagation>) -> Result<bool, Refusal> {
    use v1::mount_propagation::Mode;
    match wanted.map(|wanted| (wanted.mode, wanted.mode())) {
        None => Ok(false),
        Some((_, Mode::HostToContainer)) => Ok(true),
        Some((_, Mode::Bidirectional)) => {
            Refusal::of("mount propagation BIDIRECTIONAL is not supported")
        }
        Some((None, Mode::Unknown)) => Refusal::of("mount_propagation has no mode"),
        Some((Some(_), Mode::Unknown)) => Refusal::of("the mode of mount_propagation is not known"),
    }
}

/// A path of the host; a relative one is in the sandbox.
pub(crate) fn host_source(
    path: &str,
    create: bool,
    follows_host: bool,
) -> Result<MountSource, Refusal> {
    if path.starts_with('/') {
        Ok(MountSource::Host { path: path.to_owned(), create, follows_host })
    } else {
        Ok(MountSource::Sandbox { path: below(path)? })
    }
}

/// A path in a container; a relative one is below the sandbox.
pub(crate) fn target(path: &str) -> Result<String, Refusal> {
    if path.contains('\0') || path.split('/').any(|part| part == "..") {
        return Refusal::of(format!("container path '{}' leads elsewhere", path.escape_debug()));
    }
    let clean: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if clean.is_empty() {
        return Refusal::of(format!("container path '{path}' is the container itself"));
    }
    let clean = clean.join("/");
    Ok(if path.starts_with('/') { format!("/{clean}") } else { format!("{SANDBOX}/{clean}") })
}

/// A relative path that stays below where it begins.
fn below(path: &str) -> Result<String, Refusal> {
    let clean: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if path.starts_with('/') || path.contains('\0') || clean.contains(&"..") || clean.is_empty() {
        return Refusal::of(format!("path '{}' is not one below the sandbox", path.escape_debug()));
    }
    Ok(clean.join("/"))
}

fn apply_linux(container: &mut Container, linux: &v1::LinuxInfo) -> Result<(), Refusal> {
    #[allow(deprecated)] // The name of `effective_capabilities` before Mesos 1.2.
    let former = linux.capability_info.as_ref();
    let effective = linux.effective_capabilities.as_ref().or(former);
    if effective.is_some() || linux.bounding_capabilities.is_some() {
        let effective = effective.map(names).transpose()?;
        let bounding = linux.bounding_capabilities.as_ref().map(names).transpose()?;
        let effective = effective.or_else(|| bounding.clone()).unwrap_or_default();
        let bounding = bounding.unwrap_or_else(|| effective.clone());
        if let Some(missing) = effective.iter().find(|one| !bounding.contains(one)) {
            return Refusal::of(format!(
                "effective capability {missing} is not among the bounding capabilities"
            ));
        }
        container.capabilities = Capabilities::Exactly { effective, bounding };
    }
    if let Some(seccomp) = &linux.seccomp {
        container.seccomp = match (&seccomp.profile_name, seccomp.unconfined()) {
            (Some(_), true) => {
                return Refusal::of("a seccomp profile cannot be named and unconfined at once");
            }
            (Some(name), false) => Seccomp::named(name),
            (None, true) => Seccomp::Unconfined,
            (None, false) => Seccomp::Usual,
        };
    }
    container.shares_processes = linux.share_pid_namespace();
    container.shm_bytes = linux.shm_size.map(|mb| u64::from(mb) * MB);
    if linux.ipc_mode() == IpcMode::ShareParent {
        if container.shm_bytes.is_some() {
            return Refusal::of("shm_size needs ipc_mode PRIVATE");
        }
        container.ipc = Ipc::Above;
    }
    Ok(())
}

fn names(info: &v1::CapabilityInfo) -> Result<Vec<String>, Refusal> {
    info.capabilities()
        .map(|one| match one.as_str_name() {
            "UNKNOWN" => Refusal::of("a capability (container.linux_info) is not known"),
            name => Ok(name.to_owned()),
        })
        .collect()
}

/// What of networks can be wished for wherever they are.
fn check_networks(infos: &[v1::NetworkInfo]) -> Result<(), Refusal> {
    for info in infos {
        if !info.groups.is_empty() {
            return Refusal::of("network groups (network_infos.groups) are not supported");
        }
        if info.ip_addresses.iter().any(|one| one.ip_address.is_some()) {
            return Refusal::of("a fixed address (network_infos.ip_addresses) is not supported");
        }
    }
    Ok(())
}

/// What the plugins of networks are to be told of them.
pub(crate) fn network_labels(infos: &[v1::NetworkInfo]) -> NetworkLabels {
    let mut all = NetworkLabels::new();
    for info in infos {
        let (Some(name), Some(labels)) = (&info.name, &info.labels) else { continue };
        let pair = |one: &v1::Label| (one.key.clone(), one.value.clone().unwrap_or_default());
        all.entry(name.clone()).or_default().extend(labels.labels.iter().map(pair));
    }
    all.retain(|_, labels| !labels.is_empty());
    all
}

fn mesos_network(infos: &[v1::NetworkInfo]) -> Result<Network, Refusal> {
    let mut ports = Vec::new();
    for mapping in infos.iter().flat_map(|info| &info.port_mappings) {
        ports.push(port(mapping.host_port, mapping.container_port, mapping.protocol.as_deref())?);
    }
    let names: Vec<_> = infos.iter().filter_map(|info| info.name.clone()).collect();
    match names.as_slice() {
        [] if ports.is_empty() => Ok(Network::Host),
        [] => Refusal::of("port mappings need a network with a name"),
        [name] if name == MESOS_BRIDGE => Ok(Network::Bridge { ports }),
        _ => Ok(Network::Cni { names, ports, labels: network_labels(infos) }),
    }
}

pub(crate) fn port(host: u32, container: u32, protocol: Option<&str>) -> Result<Port, Refusal> {
    let number = |port: u32| match u16::try_from(port) {
        Ok(port) if port > 0 => Ok(port),
        _ => Refusal::of(format!("{port} is not a port")),
    };
    let protocol = match protocol.unwrap_or("tcp").to_ascii_lowercase().as_str() {
        "tcp" | "" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => return Refusal::of(format!("port protocol '{other}' is neither tcp nor udp")),
    };
    Ok(Port { host: number(host)?, container: number(container)?, protocol })
}

#[cfg(test)]
mod tests;
