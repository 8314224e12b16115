//! From a configuration to a serving process, and back down. Tasks go on either way.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use sd_notify::NotifyState;
use tepui_agent::{Agent, Event, Isolation, Record};
use tepui_agent_api::Facts;
use tepui_checkpoint::Journal;
use tepui_launch::{
    GroupSupport, HostLauncher, LogPolicy, PlainConfig, PlainLauncher, RunEvent, UnitLauncher,
};
use tepui_plugin_host::Board;
use tepui_process::{
    Clock, Hangups, OwnNames, Patience, Watchdog, notify, seed, serve_http, stop_requested,
    terminated, watch_certificates,
};
use tepui_types::{Attribute, AttributeValue, Attributes, Entropy, Span};
use tepui_wire::resources::{self, Format};
use tepui_wire::v1::{self, executor_info::Type};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

use crate::Configured;
use crate::callers::Callers;
use crate::config::{Config, LauncherKind};
use crate::detect;
use crate::driver::Driver;
use crate::host::AgentHost;
use crate::images::ImageStore;
use crate::isolation;
use crate::kernel::{self, Enforcement, Hierarchy, Kernel, PORT_ENFORCEMENT, UnitsClaim};
use crate::link::{self, Wish};
use crate::runs::{Former, LISTENING_INTERVAL, Means, Runs};
use crate::sandbox::Folders;
use crate::secrets::Secrets;
use crate::turn::{Ended, Turn};
use crate::wiring;

/// Folder of all agents' pins in the BPF file system.
const PINS: &str = "/sys/fs/bpf/tepui";
/// How long open requests may take to end once the process stops.
const DRAIN: Duration = Duration::from_secs(2);
/// How often the fullness of the disk is looked at (`disk_watch_interval`).
const DISK_INTERVAL: Duration = Duration::from_secs(60);
/// Variables of the daemon's environment that tasks start from.
const INHERITED: [&str; 3] = ["PATH", "LANG", "TZ"];

/// Serves until asked to stop or unable to go on.
///
/// # Errors
/// When it cannot start: the address is taken, the state cannot be read.
pub fn serve(config: Config, source: Configured) -> anyhow::Result<Ended> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // What the kernel tells of a sender of signals is the name of its thread.
        .thread_name(env!("CARGO_PKG_NAME"))
        .max_blocking_threads(16)
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let ended = runtime.block_on(run(config, source));
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn run(config: Config, source: Configured) -> anyhow::Result<Ended> {
    let clock = Clock::start();
    watch_certificates(config.certificates.clone()).context("failed to make the metrics")?;
    let entropy = Entropy::seeded(seed().context("failed to read /dev/urandom")?);
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("failed to listen on listen = {}", config.listen))?;
    let folders = Folders::new(config.work_dir.clone());
    folders.create().context("failed to prepare the work directory")?;
    let (journal, records) = Journal::open(&folders.meta().join("journal"))
        .context("failed to open the agent's journal")?;
    let mut launch = PlainConfig::new(config.shim.clone());
    let tag = kernel::tag(&config.work_dir);
    launch.group = Some(kernel::group(&tag));
    let pins = kernel::pins(Path::new(PINS), &tag);
    let kernel = Kernel::new(config.kernel.clone(), pins, config.work_dir.clone(), folders.runs());
    launch.admission = Some(Arc::new(kernel.clone()));
    launch.spares = config.spare_shims;
    isolation::place_groups(&mut launch, &config).await;
    let (launcher, ends) = PlainLauncher::new(launch);
    let mut hierarchy = groups_of_processes(&launcher);
    let processes = launcher.clone();
    // The claim is kept until the process ends.
    let (launcher, _claim) = host_launcher(config.launcher, launcher, &folders.runs()).await?;
    hierarchy.units = launcher.has_units();
    let has_groups = hierarchy.processes.is_some() || launcher.starts_units();
    let callers = Callers::probe(&config, has_groups, nix::unistd::geteuid().is_root());
    let board = Arc::new(Board::new().context("failed to make the metrics of plugins")?);
    let device_rules = device_rules(&hierarchy);
    let unruled = device_rules.clone().err().map(Arc::from);
    let isolators = isolation::probe(&config, &launcher, &board, device_rules)?;
    let isolation = isolators.isolation();

    let images = ImageStore::open(config.images.clone())?;
    let (sender, inbox) = channel();
    let driver = Driver::new(sender);
    let limits = tepui_fetch::Limits::default();
    let fetcher = tepui_fetch::Fetcher::new(folders.cache(), limits)
        .context("failed to prepare the fetcher")?;
    let containers = wiring::containers(&config.containers, &images, &folders, &tag)?;
    let log_policy = LogPolicy { max_bytes: config.log_file_mb << 20, keep: config.log_files };
    let secrets = Secrets::new(&tag, &folders.meta());
    let means = Means {
        launcher: Arc::new(launcher),
        fetcher,
        folders,
        log_policy,
        kernel: kernel.clone(),
        isolators,
        containers: containers.clone(),
        secrets,
    };
    let runs = Runs::new(driver.clone(), means);
    let found = runs.recover(hierarchy, former(&records)).await?;
    let abilities = containers.probe().await;
    wiring::announce(&abilities);
    info!(records = records.len(), runs = found.len(), "state recovered");
    let facts = facts(&config, clock, &isolation);
    let mut found_out = agent_config(&config, &kernel, isolation, abilities)?;
    found_out.limits.unruled_devices = unruled;
    let agent = Agent::new(found_out, entropy);
    let first = Event::Started { boot: detect::boot_id(), records, runs: found };
    let (wish, wished) = watch::channel(Wish::default());
    let turn = Turn {
        clock,
        watchdog: Watchdog::of_service_manager(),
        agent,
        journal,
        inbox,
        driver: driver.clone(),
        runs: runs.clone(),
        outbox: None,
        wish,
        streams: HashMap::new(),
        waiting: HashMap::new(),
    };
    let over = start_driver(turn, first)?;
    tokio::spawn(link::keep(driver.clone(), config.control_plane.clone(), wished));
    tokio::spawn(report_ends(runs.clone(), ends));
    if matches!(kernel.enforcement(), Enforcement::None(_)) {
        tokio::spawn(watch_ports(driver.clone(), runs.clone()));
    }
    tokio::spawn(kernel::watch(kernel.clone(), driver.clone()));
    watch_host(&config, &driver, &runs, &images);
    let host = AgentHost { driver, runs, callers, images, board };
    let ended = serve_until((config, source), facts, host, listener, over).await;
    if kernel.stop().await && tokio::time::timeout(DRAIN, processes.close()).await.is_err() {
        warn!("shims that wait for a task do not end, the tasks' control group stays");
    }
    ended
}

/// Where groups of processes are, for those who need them.
fn groups_of_processes(launcher: &PlainLauncher) -> Hierarchy {
    let mut hierarchy = Hierarchy::default();
    match launcher.group_support() {
        GroupSupport::Groups(path) => {
            info!(path = %path.display(), "tasks get control groups");
            hierarchy.processes = Some(path);
        }
        GroupSupport::Without(reason) => {
            warn!(reason, "tasks get no control groups, their trees are followed by parents");
            hierarchy.reason = format!("tasks get no control groups: {reason}");
        }
    }
    hierarchy
}

/// Whether the kernel holds containers to their devices; said once.
fn device_rules(hierarchy: &Hierarchy) -> Result<(), String> {
    kernel::probe_devices(hierarchy).inspect_err(|reason| {
        warn!(
            reason,
            "containers are not held to their devices, and can neither have nor make any"
        );
    })
}

/// The loop on a thread of its own, and where its outcome comes.
fn start_driver(turn: Turn, first: Event) -> anyhow::Result<oneshot::Receiver<Ended>> {
    let (ended, over) = oneshot::channel();
    let run = move || {
        let outcome = turn.run(first);
        // The receiver waits until the end of the process.
        let _ = ended.send(outcome);
    };
    let thread = thread::Builder::new().name("driver".into());
    thread.spawn(run).context("failed to start the driver's thread")?;
    Ok(over)
}

/// What the journal knows of former runs.
fn former(records: &[Record]) -> Former {
    let mut former = Former::default();
    let mut preparing = HashSet::new();
    for record in records {
        let (run, sandbox) = match record {
            Record::Executor { run, sandbox, .. }
            | Record::TaskRun { run, sandbox, .. }
            | Record::Ownerless { run, sandbox, .. } => (run, sandbox),
            Record::Asked { launch, sandbox } => (&launch.container, sandbox),
            // A pod is made once it has begun.
            Record::Starting { run } => {
                former.pods.extend(preparing.take(run));
                continue;
            }
            Record::Exited { run, .. } => {
                former.pods.remove(run);
                continue;
            }
            _ => continue,
        };
        former.sandboxes.insert(run.clone(), sandbox.clone());
        let is_pod = match record {
            Record::Executor { info: Some(info), .. } => info.r#type() == Type::Default,
            Record::Ownerless { is_pod, .. } => *is_pod,
            _ => false,
        };
        if is_pod {
            preparing.insert(run.clone());
        }
    }
    former
}

/// Adds systemd's launcher where the host has one and the operator does not want to do without.
/// Units of an earlier process are never given up because systemd does not answer just now.
async fn host_launcher(
    kind: LauncherKind,
    plain: PlainLauncher,
    runs: &Path,
) -> anyhow::Result<(HostLauncher, Option<UnitsClaim>)> {
    let known = tepui_launch::list_run_dirs(runs).context("failed to look at former tasks")?;
    let has_units = tepui_launch::needs_systemd(&known);
    let without = reason_without_units(kind);
    if let (Some(reason), false) = (without, has_units) {
        info!(reason, "tasks are processes");
        return Ok((HostLauncher::new(plain, None, false), None));
    }
    let claim = UnitsClaim::take()?;
    if claim.is_none() {
        let reason = "another agent runs the units of this host, and one host has one such agent";
        if has_units || kind == LauncherKind::Systemd {
            bail!(reason);
        }
        info!(reason, "tasks are processes");
        return Ok((HostLauncher::new(plain, None, false), None));
    }
    match UnitLauncher::new(plain.clone()).await {
        Ok(units) => {
            let version = units.version().await.unwrap_or_else(|error| error.to_string());
            let starts_units = without.is_none();
            info!(version, starts_units, "systemd answers");
            Ok((HostLauncher::new(plain, Some(units), starts_units), claim))
        }
        Err(error) if has_units => {
            Err(error).context("former tasks are units, of which only systemd can tell")
        }
        Err(error) if kind == LauncherKind::Systemd => {
            Err(error).context("launcher = \"systemd\", which this host cannot do")
        }
        Err(error) => {
            warn!(error = &error as &dyn std::error::Error, "tasks are processes, not units");
            Ok((HostLauncher::new(plain, None, false), None))
        }
    }
}

/// Why new tasks shall not be units.
fn reason_without_units(kind: LauncherKind) -> Option<&'static str> {
    match kind {
        LauncherKind::Systemd => None,
        LauncherKind::Process => Some("launcher = \"process\""),
        LauncherKind::Auto if !isolation::is_booted_with_systemd() => {
            Some("this host was not booted with systemd")
        }
        // systemd would ask somebody for a password, for every task.
        LauncherKind::Auto if !nix::unistd::geteuid().is_root() => {
            Some("only root may start units of the system")
        }
        LauncherKind::Auto => None,
    }
}

fn agent_config(
    config: &Config,
    kernel: &Kernel,
    isolation: Isolation,
    containers: tepui_agent::Containers,
) -> anyhow::Result<tepui_agent::Config> {
    let total = detect::complete(config.resources.clone(), &config.work_dir)
        .context("failed to find out what the host has")?;
    info!(resources = %total, "agent offers");
    let info = v1::AgentInfo {
        hostname: config.hostname.clone(),
        port: Some(i32::from(config.listen.port())),
        resources: resources::encode(&total, Format::PostRefinement, None),
        attributes: tepui_wire::attributes::encode(&with_found(config, kernel, &isolation)),
        ..v1::AgentInfo::default()
    };
    let mut agent = tepui_agent::Config::new(info, &config.listen.ip().to_string());
    agent.environment = INHERITED
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
        .collect();
    agent.switch_user = config.switch_user;
    agent.gc_delay = Span::from_secs(config.gc_delay_days.saturating_mul(24 * 3600));
    agent.reconfiguration = config.reconfiguration;
    agent.containers = containers;
    agent.limits = config.limits.clone();
    agent.limits.enforce_disk = isolation::ends_over_disk(config, &isolation);
    agent.isolation = isolation;
    Ok(agent)
}

/// What the operator says of the host, and what was found out about it.
fn with_found(config: &Config, kernel: &Kernel, isolation: &Isolation) -> Attributes {
    let found = |name: &str, word: String| Attribute {
        name: name.into(),
        value: AttributeValue::Text(word.as_str().into()),
    };
    let names: Vec<&str> = isolation.in_force.iter().map(AsRef::as_ref).collect();
    let found = [
        found(PORT_ENFORCEMENT, kernel.enforcement().word().to_owned()),
        found(tepui_agent::ISOLATION_ATTRIBUTE, names.join(",")),
    ];
    Attributes::new(config.attributes.iter().cloned().chain(found).collect())
}

async fn report_ends(runs: Runs, mut ends: mpsc::UnboundedReceiver<RunEvent>) {
    while let Some(event) = ends.recv().await {
        runs.ended(event);
    }
}

/// Tasks bound to ports outside their offer are noticed.
async fn watch_ports(driver: Driver, runs: Runs) {
    let mut turns = tokio::time::interval(LISTENING_INTERVAL);
    loop {
        turns.tick().await;
        let live = driver
            .read(|agent, _| agent.live_runs().map(|(run, _)| run.clone()).collect::<Vec<_>>());
        let Ok(live) = live.await else { return };
        if live.is_empty() {
            continue;
        }
        let runs = runs.clone();
        // A look that fails is repeated at the next turn.
        let _ = tokio::task::spawn_blocking(move || runs.look_at_ports(&live)).await;
    }
}

/// Looks after what the host has, until the process ends.
fn watch_host(config: &Config, driver: &Driver, runs: &Runs, images: &ImageStore) {
    tokio::spawn(watch_disk(driver.clone(), config.work_dir.clone()));
    tokio::spawn(watch_sandboxes(config.disk_watch_interval, runs.clone()));
    tokio::spawn(images.clone().watch());
    tokio::spawn(runs.containers().networks().clone().keep());
}

async fn watch_disk(driver: Driver, folder: std::path::PathBuf) {
    let mut turns = tokio::time::interval(DISK_INTERVAL);
    loop {
        turns.tick().await;
        if let Some(thousandths) = detect::fullness_thousandths(&folder) {
            driver.event(Event::DiskUsage { thousandths });
        }
    }
}

/// Counts what sandboxes hold, one after the other.
async fn watch_sandboxes(interval: Duration, runs: Runs) {
    let mut turns = tokio::time::interval(interval);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let runs = runs.clone();
        // A count that fails is repeated at the next turn.
        let _ = tokio::task::spawn_blocking(move || runs.measure_sandboxes()).await;
    }
}

/// Ends when the process is to end: asked to stop, or asked to read its configuration anew (SIGHUP) by
/// whoever starts it again then. A restart changes no task, so it is the reading; a configuration that
/// would not be taken changes nothing.
async fn told_to_end(source: &Configured) -> std::io::Result<&'static str> {
    let is_started_again = source.file.is_some() && std::env::var_os("NOTIFY_SOCKET").is_some();
    if !is_started_again {
        return stop_requested().await;
    }
    let mut hangups = Hangups::new()?;
    let mut stop = pin!(terminated());
    loop {
        tokio::select! {
            signal = &mut stop => return signal,
            () = hangups.next() => match source.read() {
                Ok(_) => return Ok("SIGHUP"),
                Err(problem) => {
                    let problem = format!("{problem:#}");
                    error!(problem, "configuration not read anew, nothing changes");
                }
            },
        }
    }
}

async fn serve_until(
    (config, source): (Config, Configured),
    facts: Facts,
    host: AgentHost,
    listener: TcpListener,
    mut over: oneshot::Receiver<Ended>,
) -> anyhow::Result<Ended> {
    let (stop, stopped) = watch::channel(false);
    let driver = host.driver.clone();
    let names = config.host_names.iter().chain([&config.hostname]).map(String::as_str);
    let names = OwnNames::new(config.listen, names);
    let router = names.guard(tepui_agent_api::router(host, facts));
    let server = tokio::spawn(serve_http(listener, router, Patience::default(), stopped));
    info!(listen = %config.listen, work_dir = %config.work_dir.display(), "agent serves");
    notify(NotifyState::Ready);
    let ended = tokio::select! {
        signal = told_to_end(&source) => {
            info!(signal = signal.context("failed to wait for signals")?, "stopping, tasks go on");
            notify(NotifyState::Stopping);
            driver.stop().await;
            Ended::Stopped
        }
        ended = &mut over => ended.map_err(|_| anyhow!("the driver's thread is gone"))?,
    };
    if let Ended::Journal(problem) = &ended {
        error!(error = problem as &dyn std::error::Error, "journal failed, the process ends");
    }
    stop.send_replace(true);
    // Whatever the server says now, the process ends.
    let _ = tokio::time::timeout(DRAIN, server).await;
    Ok(ended)
}

fn facts(config: &Config, clock: Clock, isolation: &Isolation) -> Facts {
    let names = |names: Vec<&str>| names.join(",");
    let in_force = names(isolation.in_force.iter().map(AsRef::as_ref).collect());
    let missing = isolation.missing.iter().map(|(name, why)| format!("{name}: {why}"));
    let missing = missing.collect::<Vec<_>>().join("; ");
    let ids = config.disk_quota.projects.to_string();
    Facts {
        hostname: config.hostname.clone(),
        ip: config.listen.ip().to_string(),
        port: config.listen.port(),
        started: clock.now(),
        work_dir: config.work_dir.clone(),
        flags: vec![
            ("port".into(), config.listen.port().to_string()),
            ("work_dir".into(), config.work_dir.display().to_string()),
            ("switch_user".into(), config.switch_user.to_string()),
            ("port_enforcement".into(), config.kernel.word().into()),
            ("gc_delay".into(), format!("{}days", config.gc_delay_days)),
            ("isolation".into(), in_force),
            ("isolation_missing".into(), missing),
            ("pids_limit".into(), config.limits.processes.unwrap_or_default().to_string()),
            ("cgroups_enable_cfs".into(), config.limits.cpu_is_limit.to_string()),
            ("enforce_container_disk_quota".into(), config.limits.enforce_disk.to_string()),
            ("xfs_project_range".into(), ids),
            ("xfs_kill_containers".into(), (config.disk_quota.slack > 0).to_string()),
        ],
    }
}
