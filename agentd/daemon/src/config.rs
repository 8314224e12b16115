//! The daemon's configuration: one TOML file, each key also a flag; a flag wins.

mod elsewhere;
mod limits;
mod plugins;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use serde::Deserialize;
use tepui_agent::{FOUND_ATTRIBUTES, LimitPolicy};
use tepui_ensemble::TlsFiles;
use tepui_isolators::{DiskQuota, Wish};
use tepui_plugin_host::{PluginSettings, Shelf};
use tepui_process::{check_host, check_store_files, guard_address};
use tepui_types::{Attributes, Resources, Role};

use crate::finder::Finder;
use crate::images::{ImageKeys, ImageOptions};
use crate::kernel::{PortEnforcement, Wishes};
use crate::wiring::ContainerConfig;

/// Where the agent's own endpoints are.
pub const LISTEN: &str = "127.0.0.1:5051";
/// Where the control plane takes agents.
pub const CONTROL_PLANE: &str = "http://127.0.0.1:5052";
/// Sandboxes and state, unless systemd or the operator says otherwise.
pub const WORK_DIR: &str = "/var/lib/tepui/agent";
/// Days after which the sandbox of an ended task is removed.
pub const GC_DELAY_DAYS: u64 = 7;
/// Size at which a task's log file is rotated, in megabytes.
pub const LOG_FILE_MB: u64 = 2;
/// How many rotated log files are kept.
pub const LOG_FILES: u32 = 9;
/// How many supervising processes wait for a task: an app's few instances start at once.
pub const SPARE_SHIMS: usize = 4;

/// Seconds between two counts of what sandboxes hold (Mesos's `container_disk_watch_interval`).
pub const DISK_WATCH_SECONDS: u64 = 15;

/// The keys of the TOML file, and the flags.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Addresses of control planes (http://HOST:PORT, or HOST:PORT; the port is needed), or of the store
    /// that they share (zk://…, etcd://…, or file:///PATH of a file in which it stands); with commas, or
    /// repeated [default: http://127.0.0.1:5052]
    #[arg(long, env = "TEPUI_CONTROL_PLANE")]
    pub control_plane: Vec<String>,
    /// Certificates (PEM) of who signs the store's servers, for etcds://
    #[arg(long)]
    pub store_ca_file: Option<PathBuf>,
    /// Certificate (PEM) that the agent shows the store's servers
    #[arg(long, requires = "store_key_file")]
    pub store_cert_file: Option<PathBuf>,
    /// Key (PEM) of that certificate
    #[arg(long, requires = "store_cert_file")]
    pub store_key_file: Option<PathBuf>,
    /// Address of the agent's own endpoints [default: 127.0.0.1:5051]
    #[arg(long, env = "TEPUI_AGENT_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Folder of sandboxes and state [default: $STATE_DIRECTORY or /var/lib/tepui/agent]
    #[arg(long)]
    pub work_dir: Option<PathBuf>,
    /// Name under which others reach this host [default: the listening address]
    #[arg(long)]
    pub hostname: Option<String>,
    /// What the agent offers, such as 'cpus:4;mem:8192;ports:[31000-32000]'; what is not named is
    /// found out
    #[arg(long)]
    pub resources: Option<String>,
    /// What the agent says of itself, such as 'rack:a;zone:z1'
    #[arg(long)]
    pub attributes: Option<String>,
    /// Role of resources that name none [default: *]
    #[arg(long)]
    pub default_role: Option<String>,
    /// Run tasks as the user that they name: true or false [default: true for root]
    #[arg(long)]
    pub switch_user: Option<bool>,
    /// What runs tasks: systemd, process, or auto, which is systemd for root where the host has it
    /// [default: auto]
    #[arg(long)]
    pub launcher: Option<LauncherKind>,
    /// What happens to a task that asks for a port of no offer: off, observe, deny or kill
    /// [default: deny where the kernel can]
    #[arg(long)]
    pub port_enforcement: Option<PortEnforcement>,
    /// What eBPF programs count, besides what files tell: off, default, all, or some of cpu,
    /// run_queue, faults, exits, network, drops, tcp, block [default: exits, network, drops, tcp,
    /// block]
    #[arg(long, value_delimiter = ',')]
    pub accounting: Vec<String>,
    /// Have the kernel measure what those programs cost: true or false [default: true]
    #[arg(long)]
    pub accounting_cost: Option<bool>,
    /// Have nftables count what tasks send and receive on the host's network where no program does,
    /// at a microsecond for each packet: true or false [default: true where accounting asks for
    /// network or tcp and the kernel has no programs for it, or is off]
    #[arg(long)]
    pub accounting_nftables: Option<bool>,
    /// The program that supervises each task [default: tepui-shim beside this program]
    #[arg(long)]
    pub shim: Option<PathBuf>,
    /// Supervising processes to start before a task needs them, at most 256 [default: 4]
    #[arg(long)]
    pub spare_shims: Option<usize>,
    /// The program that makes containers [default: tepui-runtime beside this program]
    #[arg(long)]
    pub runtime: Option<PathBuf>,
    /// Name of the containers' bridge and of its table of nftables [default: tepui0]
    #[arg(long)]
    pub bridge: Option<String>,
    /// Addresses on that bridge [default: 10.218.0.0/16]
    #[arg(long)]
    pub bridge_subnet: Option<String>,
    /// Addresses of IPv6 on that bridge [default: fd74:6570:7569::/64]
    #[arg(long)]
    pub bridge_subnet6: Option<String>,
    /// Folder with the configuration of CNI networks
    #[arg(long)]
    pub network_cni_config_dir: Option<PathBuf>,
    /// Folders with CNI plugins
    #[arg(long, value_delimiter = ',')]
    pub network_cni_plugins_dir: Vec<PathBuf>,
    /// Folder with seccomp profiles that tasks may name
    #[arg(long)]
    pub seccomp_config_dir: Option<PathBuf>,
    /// Days until the sandbox of an ended task is removed [default: 7]
    #[arg(long)]
    pub gc_delay_days: Option<u64>,
    /// Rotate a task's stdout and stderr at so many megabytes [default: 2]
    #[arg(long)]
    pub log_file_mb: Option<u64>,
    /// Keep so many rotated files [default: 9]
    #[arg(long)]
    pub log_files: Option<u32>,
    /// Folder of container images, for this agent alone [default: images in the work directory]
    #[arg(long, alias = "docker_store_dir")]
    #[serde(alias = "docker_store_dir")]
    pub image_store_dir: Option<PathBuf>,
    /// Registry of images whose names carry none [default: https://registry-1.docker.io]
    #[arg(long)]
    pub docker_registry: Option<String>,
    /// Docker config.json with credentials for registries
    #[arg(long)]
    pub docker_config: Option<PathBuf>,
    /// Registry that speaks plain HTTP, may be repeated; registries on loopback always may
    #[arg(long, value_delimiter = ',')]
    pub insecure_registries: Vec<String>,
    /// Host that is asked before a registry, such as docker.io=mirror.local:5000, may be repeated
    #[arg(long, value_delimiter = ',')]
    pub registry_mirrors: Vec<String>,
    /// Folder of this host from which images are read (oci:/DIR/…, oci-archive:, docker-archive:), may
    /// be repeated; links out of it are not followed [default: none]
    #[arg(long, value_delimiter = ',', value_name = "DIR")]
    pub local_images: Vec<PathBuf>,
    /// When images go because the disk is short of room: Mesos's JSON, or a file with it
    /// [default: at 10 % of the disk free, looked at every hour]
    #[arg(long)]
    pub image_gc_config: Option<String>,
    /// Days until an image is removed that nobody uses [default: 7]
    #[arg(long)]
    pub image_gc_delay_days: Option<u64>,
    /// Who holds tasks to their limits: a list such as 'cgroups/cpu,cgroups/mem', auto, which is
    /// everything built in that the host can do, or 'auto,NAME' with a plugin beside; Mesos's lists
    /// are taken too [default: auto]
    #[arg(long)]
    pub isolation: Option<String>,
    /// Folder of plugins, which only root can change
    #[arg(long)]
    pub plugin_dir: Option<PathBuf>,
    /// Hash, time budget and settings of each plugin: tables [plugins.NAME] of the file
    #[arg(skip)]
    pub plugins: BTreeMap<String, PluginSettings>,
    /// Processors are a limit for each task, not only its share when they are scarce
    #[arg(long)]
    pub cgroups_enable_cfs: bool,
    /// Most processes and threads of a task that names no number [default: 4096, or half of what
    /// the host can have]
    #[arg(long)]
    pub pids_limit: Option<u64>,
    /// Slow tasks down that use so many percent of their memory; 100 is never [default: 100]
    #[arg(long)]
    pub memory_high_percent: Option<u64>,
    /// Hold sandboxes to their disk: by project quotas where the file system has them (disk/xfs,
    /// disk/ext4), else by ending tasks whose sandbox holds more
    #[arg(long)]
    pub enforce_container_disk_quota: bool,
    /// Project ids that sandboxes get on XFS and ext4 [default: [5000-10000]]
    #[arg(long)]
    pub xfs_project_range: Option<String>,
    /// End tasks that exceed their disk although the file system could refuse them more
    #[arg(long)]
    pub xfs_kill_containers: bool,
    /// Seconds between two counts of what sandboxes hold [default: 15]
    #[arg(long)]
    pub container_disk_watch_interval: Option<u64>,
    /// Capabilities of tasks that name none, such as 'NET_BIND_SERVICE,CHOWN'; empty is none at
    /// all [default: those of the task's user]
    #[arg(long)]
    pub effective_capabilities: Option<String>,
    /// Capabilities that no task can have more than [default: no bound]
    #[arg(long)]
    pub bounding_capabilities: Option<String>,
    /// Filter of system calls of tasks that name none: default or strict [default: none]
    #[arg(long)]
    pub seccomp_profile: Option<String>,
    /// Seccomp profile in that folder, of containers that name none [default: the runtime's own]
    #[arg(long)]
    pub seccomp_profile_name: Option<String>,
    /// Containers may be privileged: true or false [default: true; false with shield_tasks]
    #[arg(long)]
    pub privileged_containers: Option<bool>,
    /// Folder of the host that containers may mount, may be repeated; an empty one is none at all
    /// [default: any; none with shield_tasks]
    #[arg(long, value_delimiter = ',')]
    pub host_volumes: Option<Vec<String>>,
    /// Programs give tasks no rights that their user has not
    #[arg(long)]
    pub no_new_privileges: bool,
    /// Keep the host's settings, control groups, namespaces, devices and manager sockets from all
    /// tasks; one without a container asks for it itself with the label TEPUI_SHIELD=true
    #[arg(long)]
    #[serde(default)]
    pub shield_tasks: bool,
    /// What tasks may do that call this agent's API: refuse, which leaves them what everybody is
    /// shown and what executors need, or all, which makes each as good as root [default: refuse]
    #[arg(long)]
    pub calls_of_tasks: Option<CallsOfTasks>,
    /// Names, besides its own, under which clients call the agent where it listens on loopback; may be
    /// repeated
    #[arg(long, value_delimiter = ',')]
    pub host_names: Vec<String>,
    /// Which changes of the agent its id survives: equal or additive [default: equal]
    #[arg(long)]
    pub reconfiguration_policy: Option<String>,
    /// Listen on other than loopback addresses although nobody has to log in
    #[arg(long)]
    pub allow_unauthenticated: bool,
}

/// What runs tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LauncherKind {
    /// Units where the host was booted with systemd and the agent is root, else processes.
    #[default]
    Auto,
    /// Units of systemd.
    Systemd,
    /// Processes with a shim.
    Process,
}

/// What tasks may do that call the agent's API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallsOfTasks {
    /// Look at what everybody is shown, and be executors.
    #[default]
    Refuse,
    /// What operators may.
    All,
}

/// The configuration in force.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the control plane may be.
    pub control_plane: Finder,
    /// Certificates for a store that tells where they are: the setting that names each, and the file.
    pub certificates: Vec<(&'static str, PathBuf)>,
    /// The key of the one that the agent shows.
    pub store_key: Option<PathBuf>,
    /// Address of the agent's own endpoints.
    pub listen: SocketAddr,
    /// Folder of sandboxes and state, absolute.
    pub work_dir: PathBuf,
    /// Name under which others reach this host.
    pub hostname: String,
    /// What the operator says the agent has.
    pub resources: Resources,
    /// What the agent says of itself.
    pub attributes: Attributes,
    /// Run tasks as the user that they name.
    pub switch_user: bool,
    /// What runs tasks.
    pub launcher: LauncherKind,
    /// What is wished of the kernel.
    pub kernel: Wishes,
    /// The program that supervises each task.
    pub shim: PathBuf,
    /// Supervising processes that wait for a task.
    pub spare_shims: usize,
    /// Days until the sandbox of an ended task is removed.
    pub gc_delay_days: u64,
    /// Megabytes at which logs are rotated.
    pub log_file_mb: u64,
    /// How many rotated files are kept.
    pub log_files: u32,
    /// Where images come from and how long they stay.
    pub images: ImageOptions,
    /// Isolators that the operator wants.
    pub isolation: Wish,
    /// Where plugins are.
    pub shelf: Shelf,
    /// How tasks are limited.
    pub limits: LimitPolicy,
    /// How sandboxes are bounded where the file system can.
    pub disk_quota: DiskQuota,
    /// Time between two counts of what sandboxes hold.
    pub disk_watch_interval: Duration,
    /// What tasks may do that call the agent's API.
    pub calls_of_tasks: CallsOfTasks,
    /// Further names of this host.
    pub host_names: Vec<String>,
    /// Which changes of the agent its id survives.
    pub reconfiguration: tepui_agent::Reconfiguration,
    /// Containers.
    pub containers: ContainerConfig,
}

impl Config {
    /// Checks that the files for TLS are there and hold what they are to.
    ///
    /// # Errors
    /// The setting whose file is of no use, and why.
    pub fn check_files(&self) -> anyhow::Result<()> {
        check_store_files(&self.certificates, self.store_key.as_deref())
    }
}

impl Settings {
    /// These settings where they are given, else those of `file`.
    #[must_use]
    pub fn over(self, file: Self) -> Self {
        let list = |own: Vec<String>, file| if own.is_empty() { file } else { own };
        Self {
            control_plane: list(self.control_plane, file.control_plane),
            store_ca_file: self.store_ca_file.or(file.store_ca_file),
            store_cert_file: self.store_cert_file.or(file.store_cert_file),
            store_key_file: self.store_key_file.or(file.store_key_file),
            listen: self.listen.or(file.listen),
            work_dir: self.work_dir.or(file.work_dir),
            hostname: self.hostname.or(file.hostname),
            resources: self.resources.or(file.resources),
            attributes: self.attributes.or(file.attributes),
            default_role: self.default_role.or(file.default_role),
            switch_user: self.switch_user.or(file.switch_user),
            launcher: self.launcher.or(file.launcher),
            port_enforcement: self.port_enforcement.or(file.port_enforcement),
            accounting: list(self.accounting, file.accounting),
            accounting_cost: self.accounting_cost.or(file.accounting_cost),
            accounting_nftables: self.accounting_nftables.or(file.accounting_nftables),
            shim: self.shim.or(file.shim),
            spare_shims: self.spare_shims.or(file.spare_shims),
            runtime: self.runtime.or(file.runtime),
            bridge: self.bridge.or(file.bridge),
            bridge_subnet: self.bridge_subnet.or(file.bridge_subnet),
            bridge_subnet6: self.bridge_subnet6.or(file.bridge_subnet6),
            network_cni_config_dir: self.network_cni_config_dir.or(file.network_cni_config_dir),
            network_cni_plugins_dir: either(
                self.network_cni_plugins_dir,
                file.network_cni_plugins_dir,
            ),
            seccomp_config_dir: self.seccomp_config_dir.or(file.seccomp_config_dir),
            gc_delay_days: self.gc_delay_days.or(file.gc_delay_days),
            log_file_mb: self.log_file_mb.or(file.log_file_mb),
            log_files: self.log_files.or(file.log_files),
            image_store_dir: self.image_store_dir.or(file.image_store_dir),
            docker_registry: self.docker_registry.or(file.docker_registry),
            docker_config: self.docker_config.or(file.docker_config),
            insecure_registries: list(self.insecure_registries, file.insecure_registries),
            registry_mirrors: list(self.registry_mirrors, file.registry_mirrors),
            local_images: match self.local_images.is_empty() {
                true => file.local_images,
                false => self.local_images,
            },
            image_gc_config: self.image_gc_config.or(file.image_gc_config),
            image_gc_delay_days: self.image_gc_delay_days.or(file.image_gc_delay_days),
            isolation: self.isolation.or(file.isolation),
            plugin_dir: self.plugin_dir.or(file.plugin_dir),
            plugins: if self.plugins.is_empty() { file.plugins } else { self.plugins },
            cgroups_enable_cfs: self.cgroups_enable_cfs || file.cgroups_enable_cfs,
            pids_limit: self.pids_limit.or(file.pids_limit),
            memory_high_percent: self.memory_high_percent.or(file.memory_high_percent),
            enforce_container_disk_quota: self.enforce_container_disk_quota
                || file.enforce_container_disk_quota,
            xfs_project_range: self.xfs_project_range.or(file.xfs_project_range),
            xfs_kill_containers: self.xfs_kill_containers || file.xfs_kill_containers,
            container_disk_watch_interval: self
                .container_disk_watch_interval
                .or(file.container_disk_watch_interval),
            effective_capabilities: self.effective_capabilities.or(file.effective_capabilities),
            bounding_capabilities: self.bounding_capabilities.or(file.bounding_capabilities),
            seccomp_profile: self.seccomp_profile.or(file.seccomp_profile),
            seccomp_profile_name: self.seccomp_profile_name.or(file.seccomp_profile_name),
            privileged_containers: self.privileged_containers.or(file.privileged_containers),
            host_volumes: self.host_volumes.or(file.host_volumes),
            no_new_privileges: self.no_new_privileges || file.no_new_privileges,
            shield_tasks: self.shield_tasks || file.shield_tasks,
            calls_of_tasks: self.calls_of_tasks.or(file.calls_of_tasks),
            host_names: list(self.host_names, file.host_names),
            reconfiguration_policy: self.reconfiguration_policy.or(file.reconfiguration_policy),
            allow_unauthenticated: self.allow_unauthenticated || file.allow_unauthenticated,
        }
    }

    /// Fills in the defaults and checks what belongs together.
    ///
    /// # Errors
    /// When a value makes no sense; the error says what would.
    pub fn resolve(self) -> anyhow::Result<Config> {
        let listen = match self.listen {
            Some(address) => address,
            None => LISTEN.parse().context("the default address is valid")?,
        };
        guard_address("listen", listen, self.allow_unauthenticated)?;
        if let Some(hostname) = &self.hostname {
            check_host("hostname", hostname)?;
        }
        let role = self.default_role.as_deref().unwrap_or("*");
        let role = Role::parse(role).context("default_role is not a role")?;
        let resources = self.resources.as_deref().unwrap_or_default();
        let resources = tepui_wire::resources::parse_text(resources, &role)
            .context("failed to understand resources")?;
        let attributes = self.attributes.as_deref().unwrap_or_default();
        let attributes = tepui_wire::attributes::parse_text(attributes)
            .context("failed to understand attributes")?;
        if let Some(name) = FOUND_ATTRIBUTES.iter().find(|name| attributes.first(name).is_some()) {
            anyhow::bail!("attributes names {name}, which the agent finds out by itself");
        }
        let kernel = Wishes {
            cost: self.accounting_cost.unwrap_or(true),
            nftables: self.accounting_nftables,
            ..Wishes::parse(self.port_enforcement, &self.accounting)?
        };
        let log_file_mb = self.log_file_mb.unwrap_or(LOG_FILE_MB);
        ensure!(log_file_mb > 0, "log_file_mb = 0 would keep no log at all");
        let spare_shims = self.spare_shims.unwrap_or(SPARE_SHIMS);
        ensure!(spare_shims <= 256, "spare_shims = {spare_shims} is more than 256");
        let isolation = self.isolation.as_deref().map_or_else(Wish::default, Wish::read);
        let limits = limits::policy(&self, &isolation)?;
        let shelf = Shelf::new(self.plugin_dir.clone(), self.plugins.clone());
        let shelf = shelf.map_err(anyhow::Error::msg)?;
        isolation.check(&shelf)?;
        let disk_quota = limits::disk_quota(&self)?;
        let watch = self.container_disk_watch_interval.unwrap_or(DISK_WATCH_SECONDS);
        ensure!(watch > 0, "container_disk_watch_interval = 0 would never rest");
        let containers = ContainerConfig::resolve(&self)?;
        let work_dir = self.work_dir.unwrap_or_else(default_work_dir);
        let work_dir = std::path::absolute(&work_dir)
            .with_context(|| format!("work_dir {} has no place", work_dir.display()))?;
        let images = ImageKeys {
            folder: self.image_store_dir,
            registry: self.docker_registry,
            docker_config: self.docker_config,
            insecure: self.insecure_registries,
            mirrors: self.registry_mirrors,
            local: self.local_images,
            is_shielded: self.shield_tasks,
            gc_config: self.image_gc_config,
            gc_delay_days: self.image_gc_delay_days,
        };
        let store_files = TlsFiles {
            ca: self.store_ca_file,
            certificate: self.store_cert_file,
            key: self.store_key_file,
        };
        Ok(Config {
            images: images.resolve(&work_dir)?,
            control_plane: finder(&self.control_plane, &store_files)?,
            certificates: store_files.certificates(),
            store_key: store_files.key,
            hostname: self.hostname.unwrap_or_else(|| listen.ip().to_string()),
            listen,
            work_dir,
            resources,
            attributes,
            switch_user: self.switch_user.unwrap_or_else(|| nix::unistd::geteuid().is_root()),
            launcher: self.launcher.unwrap_or_default(),
            kernel,
            shim: self.shim.map_or_else(shim_beside, Ok)?,
            spare_shims,
            gc_delay_days: self.gc_delay_days.unwrap_or(GC_DELAY_DAYS),
            log_file_mb,
            log_files: self.log_files.unwrap_or(LOG_FILES),
            isolation,
            shelf,
            limits,
            disk_quota,
            disk_watch_interval: Duration::from_secs(watch),
            calls_of_tasks: self.calls_of_tasks.unwrap_or_default(),
            host_names: self.host_names,
            reconfiguration: policy(self.reconfiguration_policy.as_deref())?,
            containers,
        })
    }
}

/// A list where it is given, else the file's.
fn either<T>(own: Vec<T>, file: Vec<T>) -> Vec<T> {
    if own.is_empty() { file } else { own }
}

fn finder(addresses: &[String], files: &TlsFiles) -> anyhow::Result<Finder> {
    let default = [CONTROL_PLANE.to_owned()];
    Finder::parse(if addresses.is_empty() { &default } else { addresses }, files)
}

fn policy(name: Option<&str>) -> anyhow::Result<tepui_agent::Reconfiguration> {
    match name {
        None | Some("equal") => Ok(tepui_agent::Reconfiguration::Equal),
        Some("additive") => Ok(tepui_agent::Reconfiguration::Additive),
        Some(other) => {
            anyhow::bail!("reconfiguration_policy = {other:?} is neither equal nor additive")
        }
    }
}

fn default_work_dir() -> PathBuf {
    std::env::var_os("STATE_DIRECTORY").map_or_else(|| WORK_DIR.into(), PathBuf::from)
}

fn shim_beside() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("failed to find this program's own path")?;
    let shim = own.with_file_name("tepui-shim");
    ensure!(
        shim.is_file(),
        "no tepui-shim at {}: install it there, or say where it is with --shim",
        shim.display()
    );
    Ok(shim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings { shim: Some("/bin/true".into()), ..Settings::default() }
    }

    #[test]
    fn nonsense_in_resources_is_named() {
        for (text, what) in [("cpus:-1", "cpus"), ("ports:[5-3]", "5-3"), ("cpus", "cpus")] {
            let wrong = Settings { resources: Some(text.into()), ..settings() };
            let error = format!("{:#}", wrong.resolve().unwrap_err());
            assert!(error.contains("resources") && error.contains(what), "{text}: {error}");
        }
    }

    #[test]
    fn what_the_agent_finds_out_by_itself_cannot_be_claimed() {
        let claimed = Some("rack:a;port_enforcement:kernel".into());
        let error = Settings { attributes: claimed, ..settings() }.resolve().unwrap_err();
        assert!(error.to_string().contains("port_enforcement"), "{error}");
    }

    #[test]
    fn an_address_without_a_scheme_is_understood() {
        let plain = Settings { control_plane: vec!["10.0.0.1:5052".into()], ..settings() };
        assert!(plain.resolve().is_ok());
    }

    #[test]
    fn an_open_address_is_refused_unless_the_operator_insists() {
        let open = Settings { listen: Some("0.0.0.0:5051".parse().unwrap()), ..settings() };
        assert!(open.clone().resolve().is_err());
        assert!(Settings { allow_unauthenticated: true, ..open }.resolve().is_ok());
    }

    #[test]
    fn a_hostname_that_nobody_reaches_is_refused() {
        for wrong in ["", "a b"] {
            let settings = Settings { hostname: Some(wrong.into()), ..settings() };
            let error = settings.resolve().unwrap_err().to_string();
            assert!(error.starts_with("hostname = "), "{error}");
        }
    }

    #[test]
    fn files_for_tls_that_are_of_no_use_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let garbage = folder.path().join("garbage.pem");
        std::fs::write(&garbage, "no PEM").unwrap();
        for (ca, why) in [("/nowhere/ca.pem".into(), "failed to read"), (garbage, "in PEM")] {
            let store = vec!["etcds://localhost:2379".to_owned()];
            let settings = Settings { control_plane: store, store_ca_file: Some(ca), ..settings() };
            let error = format!("{:#}", settings.resolve().unwrap().check_files().unwrap_err());
            assert!(error.starts_with("store_ca_file") && error.contains(why), "{error}");
        }
    }
}
