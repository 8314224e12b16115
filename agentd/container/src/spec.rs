//! From an order and what the host knows to the OCI runtime specification.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Capability, LinuxBuilder, LinuxCapabilities, LinuxCapabilitiesBuilder, LinuxDevice,
    LinuxDeviceBuilder, LinuxDeviceType, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType,
    Mount, MountBuilder, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, ProcessBuilder,
    RootBuilder, Spec, SpecBuilder, UserBuilder,
};

use crate::capabilities::{self, Sets};
use crate::describe::SANDBOX;
use crate::order::{Namespace, Order, OrderMount, OrderSource, Root};
use crate::seccomp;
use crate::wish::{Ipc, Seccomp};

/// Version of the specification that is written.
const OCI_VERSION: &str = "1.2.0";
/// Size of `/dev/shm` where nobody says another: Docker's.
const SHM_BYTES: u64 = 64 << 20;
/// What tells of the host, or changes it, and is hidden: all that Docker, containerd or Podman hides.
const MASKED: [&str; 14] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];
/// Folders with one entry for each of the host's, and what is hidden in each: how hot a processor is
/// tells what others compute on it.
pub const MASKED_IN_EACH: [(&str, &str); 1] = [("/sys/devices/system/cpu", "thermal_throttle")];
/// What can be read only.
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What only the host and the container's root can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Who the user is.
    pub user: UserFacts,
    /// The devices that the order names, and every one for a privileged container.
    pub devices: Vec<HostDevice>,
    /// Names of the capabilities that the kernel has, without `CAP_`.
    pub capabilities: Vec<String>,
    /// `uname -m`.
    pub machine: String,
    /// The mounted root.
    pub root: PathBuf,
    /// Where the sandbox is found now; `None` where the root is the host's, which has it already.
    pub sandbox: Option<PathBuf>,
    /// Where each mount of the order is found now, in its order.
    pub sources: Vec<PathBuf>,
    /// Folder with the files for `/etc`.
    pub etc: PathBuf,
    /// The namespace of the processes that it shares, where they are not the host's.
    pub processes: Option<PathBuf>,
    /// The inter-process communication that it shares, where that is not the host's.
    pub ipc: Option<SharedIpc>,
    /// What this host has of [`MASKED_IN_EACH`].
    pub masked: Vec<String>,
}

/// The inter-process communication of another container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedIpc {
    /// Its namespace.
    pub namespace: PathBuf,
    /// Where its shared memory is mounted on the host.
    pub memory: PathBuf,
}

/// A user, looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFacts {
    /// Number of the user.
    pub uid: u32,
    /// Number of its group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Home folder, where it has one.
    pub home: Option<String>,
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostDevice {
    /// In the container.
    pub path: PathBuf,
    /// A block device; else of characters.
    pub is_block: bool,
    /// Number of the driver.
    pub major: i64,
    /// Number of the device.
    pub minor: i64,
    /// Permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// An order that cannot be written down.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Something that the specification does not know.
    #[error("failed to write the runtime specification")]
    Oci(#[from] OciSpecError),
    /// A limit by a name that no limit has.
    #[error("there is no resource limit '{0}'")]
    Rlimit(String),
    /// A capability by a name that none has.
    #[error("there is no capability '{0}'")]
    Capability(String),
    /// The host's profile is none.
    #[error("seccomp profile '{0}' is not one")]
    Profile(String, #[source] serde_json::Error),
    /// The agent did not find the host's profile.
    #[error("this host has no seccomp profile '{0}'")]
    NoProfile(String),
}

/// What becomes of mounts that the host makes later. libcontainer does not say it of single mounts: each
/// stays as its source is in the namespace that the container is made in, unless the root is private.
fn propagation(order: &Order) -> &'static str {
    let follows =
        |one: &OrderMount| matches!(one.source, OrderSource::Host { follows_host: true, .. });
    if order.mounts.iter().any(follows) { "slave" } else { "private" }
}

/// The specification of a container.
///
/// # Errors
/// [`SpecError`] for names that nothing has.
pub fn runtime_spec(order: &Order, facts: &Facts) -> Result<Spec, SpecError> {
    let sets = capabilities::sets(&order.capabilities, order.privileged, &facts.capabilities);
    let root = RootBuilder::default().path(&facts.root).readonly(order.read_only).build()?;
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces(order, facts)?)
        .devices(facts.devices.iter().map(device).collect::<Result<Vec<_>, _>>()?)
        .rootfs_propagation(propagation(order));
    // The run's control group is its launcher's: what is there already is never made or moved.
    linux = linux.cgroups_path("/");
    if !order.privileged {
        let of_host = facts.masked.iter().chain(&order.hidden).cloned();
        let hidden = MASKED.map(str::to_owned).into_iter().chain(of_host);
        linux = linux
            .masked_paths(hidden.collect::<Vec<_>>())
            .readonly_paths(READ_ONLY.map(str::to_owned).to_vec());
    }
    if !order.sysctls.is_empty() {
        linux = linux.sysctl(order.sysctls.iter().cloned().collect::<HashMap<_, _>>());
    }
    let mut linux = linux.build()?;
    // What the library would add by itself is none of the order's.
    linux.set_resources(None);
    if order.privileged {
        linux.set_masked_paths(None).set_readonly_paths(None);
    }
    linux.set_seccomp(filter(order, &sets, &facts.machine)?);
    let mut spec = SpecBuilder::default()
        .version(OCI_VERSION)
        .root(root)
        .mounts(mounts(order, facts)?)
        .process(process(order, facts, &sets)?)
        .linux(linux)
        .build()?;
    spec.set_hostname(order.isolation.hostname.clone());
    Ok(spec)
}

fn filter(
    order: &Order,
    sets: &Sets,
    machine: &str,
) -> Result<Option<oci_spec::runtime::LinuxSeccomp>, SpecError> {
    match &order.seccomp {
        _ if order.privileged => Ok(None),
        Seccomp::Unconfined => Ok(None),
        Seccomp::Strict => Ok(Some(seccomp::strict(machine)?)),
        Seccomp::Usual => Ok(Some(seccomp::usual(&sets.bounding, machine)?)),
        Seccomp::Profile(name) => {
            let Some(text) = &order.seccomp_profile else {
                return Err(SpecError::NoProfile(name.clone()));
            };
            let parsed = seccomp::parse(text);
            parsed.map(Some).map_err(|error| SpecError::Profile(name.clone(), error))
        }
    }
}

fn process(order: &Order, facts: &Facts, sets: &Sets) -> Result<Process, SpecError> {
    let user = UserBuilder::default()
        .uid(facts.user.uid)
        .gid(facts.user.gid)
        .additional_gids(facts.user.groups.clone())
        .build()?;
    let mut process = ProcessBuilder::default()
        .terminal(order.tty.is_some())
        .user(user)
        .args(order.argv.clone())
        .env(environment(order, facts))
        .cwd(&order.working_directory)
        .capabilities(capability_sets(sets)?)
        .rlimits(order.rlimits.iter().map(rlimit).collect::<Result<Vec<_>, _>>()?)
        .build()?;
    // Absent means that nothing is done, and that the filter is loaded with the privileges still
    // there; the library reads `false` differently.
    process.set_no_new_privileges((!order.new_privileges).then_some(true));
    Ok(process)
}

/// The environment with each name once, in the order of its last mention.
fn environment(order: &Order, facts: &Facts) -> Vec<String> {
    let mut values: BTreeMap<&str, &str> = BTreeMap::new();
    if let Some(home) = &facts.user.home {
        values.insert("HOME", home);
    }
    if let Some(name) = &order.isolation.hostname {
        values.insert("HOSTNAME", name);
    }
    if order.tty.is_some() {
        values.insert("TERM", "xterm");
    }
    values.extend(order.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    values.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn capability_sets(sets: &Sets) -> Result<LinuxCapabilities, SpecError> {
    let parse = |names: &[String]| {
        names
            .iter()
            .map(|name| {
                let parsed = name.parse::<Capability>();
                parsed.map_err(|_| SpecError::Capability(name.clone()))
            })
            .collect::<Result<std::collections::HashSet<_>, _>>()
    };
    let effective = parse(&sets.effective)?;
    Ok(LinuxCapabilitiesBuilder::default()
        .bounding(parse(&sets.bounding)?)
        .effective(effective.clone())
        .permitted(effective)
        .inheritable(parse(&sets.ambient)?)
        .ambient(parse(&sets.ambient)?)
        .build()?)
}

fn limit_type(name: &str) -> Option<PosixRlimitType> {
    Some(match name {
        "AS" => PosixRlimitType::RlimitAs,
        "CORE" => PosixRlimitType::RlimitCore,
        "CPU" => PosixRlimitType::RlimitCpu,
        "DATA" => PosixRlimitType::RlimitData,
        "FSIZE" => PosixRlimitType::RlimitFsize,
        "LOCKS" => PosixRlimitType::RlimitLocks,
        "MEMLOCK" => PosixRlimitType::RlimitMemlock,
        "MSGQUEUE" => PosixRlimitType::RlimitMsgqueue,
        "NICE" => PosixRlimitType::RlimitNice,
        "NOFILE" => PosixRlimitType::RlimitNofile,
        "NPROC" => PosixRlimitType::RlimitNproc,
        "RSS" => PosixRlimitType::RlimitRss,
        "RTPRIO" => PosixRlimitType::RlimitRtprio,
        "RTTIME" => PosixRlimitType::RlimitRttime,
        "SIGPENDING" => PosixRlimitType::RlimitSigpending,
        "STACK" => PosixRlimitType::RlimitStack,
        _ => return None,
    })
}

/// Whether a limit is called so.
pub(crate) fn is_rlimit(name: &str) -> bool {
    limit_type(name).is_some()
}

fn rlimit(limit: &crate::Rlimit) -> Result<PosixRlimit, SpecError> {
    let typ = limit_type(&limit.name).ok_or_else(|| SpecError::Rlimit(limit.name.clone()))?;
    let unlimited = u64::MAX;
    Ok(PosixRlimitBuilder::default()
        .typ(typ)
        .soft(limit.soft.unwrap_or(unlimited))
        .hard(limit.hard.unwrap_or(unlimited))
        .build()?)
}

fn namespaces(order: &Order, facts: &Facts) -> Result<Vec<LinuxNamespace>, OciSpecError> {
    let isolation = &order.isolation;
    let fresh = |kind| LinuxNamespaceBuilder::default().typ(kind).build();
    let at = |kind, path: &Path| LinuxNamespaceBuilder::default().typ(kind).path(path).build();
    let mut all = vec![fresh(LinuxNamespaceType::Mount)?, fresh(LinuxNamespaceType::Cgroup)?];
    match &facts.processes {
        _ if !isolation.shares_processes => all.push(fresh(LinuxNamespaceType::Pid)?),
        Some(path) => all.push(at(LinuxNamespaceType::Pid, path)?),
        None => {}
    }
    match &facts.ipc {
        _ if isolation.ipc == Ipc::Private => all.push(fresh(LinuxNamespaceType::Ipc)?),
        Some(shared) => all.push(at(LinuxNamespaceType::Ipc, &shared.namespace)?),
        None => {}
    }
    if isolation.hostname.is_some() {
        all.push(fresh(LinuxNamespaceType::Uts)?);
    }
    match &isolation.network {
        Namespace::Host => {}
        Namespace::Fresh => all.push(fresh(LinuxNamespaceType::Network)?),
        Namespace::At(path) => all.push(at(LinuxNamespaceType::Network, path)?),
    }
    Ok(all)
}

fn device(device: &HostDevice) -> Result<LinuxDevice, OciSpecError> {
    let typ = if device.is_block { LinuxDeviceType::B } else { LinuxDeviceType::C };
    LinuxDeviceBuilder::default()
        .path(&device.path)
        .typ(typ)
        .major(device.major)
        .minor(device.minor)
        .file_mode(device.mode)
        .uid(device.uid)
        .gid(device.gid)
        .build()
}

fn file_system(kind: &str, target: &str, options: &[&str]) -> Result<Mount, OciSpecError> {
    MountBuilder::default()
        .destination(target)
        .typ(kind)
        .source(kind)
        .options(options.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())
        .build()
}

fn bind(source: &Path, target: &str, options: &[&str]) -> Result<Mount, OciSpecError> {
    MountBuilder::default()
        .destination(target)
        .typ("bind")
        .source(source)
        .options(options.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())
        .build()
}

fn mounts(order: &Order, facts: &Facts) -> Result<Vec<Mount>, OciSpecError> {
    // Also where the root is the host's: what is set up in /dev must not be the host's own.
    let mut all = usual_mounts(order, facts)?;
    if let (Some(_), Root::Layers(_)) = (&order.etc, &order.root) {
        for name in ["resolv.conf", "hosts", "hostname"] {
            let target = format!("/etc/{name}");
            all.push(bind(&facts.etc.join(name), &target, &["bind", "rprivate", "nodev"])?);
        }
    }
    if let Some(sandbox) = &facts.sandbox {
        all.push(bind(sandbox, SANDBOX, &["rbind", "rprivate", "nodev"])?);
    }
    for (mount, source) in order.mounts.iter().zip(&facts.sources) {
        all.push(further(mount, source, order)?);
    }
    Ok(all)
}

fn shm(order: &Order) -> Result<Mount, OciSpecError> {
    let size = format!("size={}", order.isolation.shm_bytes.unwrap_or(SHM_BYTES));
    MountBuilder::default()
        .destination("/dev/shm")
        .typ("tmpfs")
        .source("shm")
        .options(["nosuid", "noexec", "nodev", "mode=1777", &size].map(str::to_owned).to_vec())
        .build()
}

fn usual_mounts(order: &Order, facts: &Facts) -> Result<Vec<Mount>, OciSpecError> {
    let sys = if order.privileged { "rw" } else { "ro" };
    let mut all = vec![
        file_system("proc", "/proc", &["nosuid", "noexec", "nodev"])?,
        file_system("tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"])?,
        file_system(
            "devpts",
            "/dev/pts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        )?,
        file_system("sysfs", "/sys", &["nosuid", "noexec", "nodev", sys])?,
        file_system("cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "relatime", sys])?,
    ];
    match order.isolation.ipc {
        Ipc::Private => {
            all.push(file_system("mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"])?);
            all.push(shm(order)?);
        }
        Ipc::Above => {
            let options = ["rbind", "rprivate", "nosuid", "noexec", "nodev"];
            match &facts.ipc {
                Some(shared) => {
                    all.push(bind(&shared.memory, "/dev/shm", &options)?);
                    // In the namespace that was joined it shows the same queues.
                    all.push(file_system("mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"])?);
                }
                None => {
                    all.push(bind(Path::new("/dev/shm"), "/dev/shm", &options)?);
                    all.push(bind(Path::new("/dev/mqueue"), "/dev/mqueue", &options)?);
                }
            }
        }
    }
    Ok(all)
}

fn further(mount: &OrderMount, source: &Path, order: &Order) -> Result<Mount, OciSpecError> {
    let access = if mount.read_only { "ro" } else { "rw" };
    match &mount.source {
        OrderSource::Tmpfs(options) => {
            let mut all = vec!["nosuid".to_owned(), "nodev".to_owned(), access.to_owned()];
            all.extend(options.iter().cloned());
            MountBuilder::default()
                .destination(&mount.target)
                .typ("tmpfs")
                .source("tmpfs")
                .options(all)
                .build()
        }
        OrderSource::Host { follows_host, .. } => {
            let propagation = if *follows_host { "rslave" } else { "rprivate" };
            // Devices in a folder of the host are as good as the host's, for those who may.
            let devices = if order.privileged { "dev" } else { "nodev" };
            bind(source, &mount.target, &["rbind", propagation, devices, access])
        }
        OrderSource::Below { .. } => {
            bind(source, &mount.target, &["rbind", "rprivate", "nodev", access])
        }
        OrderSource::Layers(_) | OrderSource::Secret(_) => {
            bind(source, &mount.target, &["rbind", "rprivate", "nodev", access])
        }
    }
}

#[cfg(test)]
mod tests;
