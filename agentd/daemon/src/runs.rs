//! Acts on runs: sandboxes, artifacts, processes, probes. Decides nothing; every outcome goes
//! back to the loop as an event.

mod checks;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use tepui_agent::{
    Command, Effect, Event, FoundRun, FoundState, Limits, ProbeId, RunSpec, SANDBOX_MARK, Setting,
};
use tepui_cgroup::Leaf;
use tepui_container::{ExecOrder, Network, ToTerminal, Tty};
use tepui_isolators::Isolators;
use tepui_launch::{
    Ending, ExitStatus, KnownRun, LaunchError, LaunchSpec, Launcher, LogPolicy, LostReason,
    Program, Rlimit, RlimitKind, RunEvent, RunLabel, RunOutcome, RunState, SignalScope,
};
use tepui_probe::Prober;
use tepui_types::{ContainerId, Role};
use tepui_wire::v1;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tracing::{debug, warn};

use crate::containers::{Containers, Place};
use crate::driver::Driver;
use crate::ends;
use crate::kernel::{self, Found, Hierarchy, Kernel, Remains};
use crate::sandbox::{self, Folders};
use crate::secrets::Secrets;
use crate::sessions::Sessions;

/// How often the sockets of running tasks are compared with their ports.
pub const LISTENING_INTERVAL: Duration = Duration::from_secs(10);

/// What the loop acts on runs with.
#[derive(Clone, Debug)]
pub struct Runs {
    shared: Arc<Shared>,
}

/// What the journal tells of former runs.
#[derive(Debug, Default)]
pub struct Former {
    /// Their sandboxes, relative to the work directory.
    pub sandboxes: HashMap<ContainerId, Arc<str>>,
    /// Pods that were made and have not ended.
    pub pods: HashSet<ContainerId>,
}

/// What runs are made with.
#[derive(Debug)]
pub struct Means {
    pub launcher: Arc<dyn Launcher>,
    pub fetcher: tepui_fetch::Fetcher,
    pub folders: Folders,
    pub log_policy: LogPolicy,
    pub kernel: Kernel,
    pub isolators: Isolators,
    pub containers: Containers,
    pub secrets: Secrets,
}

#[derive(Debug)]
struct Shared {
    tokio: Handle,
    driver: Driver,
    launcher: Arc<dyn Launcher>,
    fetcher: tepui_fetch::Fetcher,
    prober: Prober,
    folders: Folders,
    log_policy: LogPolicy,
    kernel: Kernel,
    isolators: Isolators,
    containers: Containers,
    secrets: Secrets,
    /// Sandboxes of live runs, for checks.
    sandboxes: Mutex<HashMap<ContainerId, PathBuf>>,
    probes: Mutex<HashMap<ProbeId, AbortHandle>>,
    sessions: Sessions,
}

impl Runs {
    /// Acts with these means, on the runtime that it is called on.
    pub fn new(driver: Driver, means: Means) -> Self {
        let Means {
            launcher,
            fetcher,
            folders,
            log_policy,
            kernel,
            isolators,
            containers,
            secrets,
        } = means;
        let shared = Shared {
            tokio: Handle::current(),
            driver,
            launcher,
            fetcher,
            prober: Prober::default(),
            folders,
            log_policy,
            kernel,
            isolators,
            containers,
            secrets,
            sandboxes: Mutex::default(),
            probes: Mutex::default(),
            sessions: Sessions::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What became of the runs of an earlier process; those that go on are followed, and the kernel
    /// holds them to their ports.
    ///
    /// # Errors
    /// When the folder of runs cannot be read: nothing may be decided then. When the operator
    /// insists on what the kernel cannot do.
    pub async fn recover(
        &self,
        hierarchy: Hierarchy,
        former: Former,
    ) -> anyhow::Result<Vec<FoundRun>> {
        let absolute = |place: &Arc<str>| self.shared.folders.sandbox(place);
        *self.shared.sandboxes.lock() =
            former.sandboxes.iter().map(|(run, place)| (run.clone(), absolute(place))).collect();
        let known = tepui_launch::list_run_dirs(&self.shared.folders.runs())
            .context("failed to look at former tasks")?;
        let mut runs: Vec<_> = known.iter().map(|one| one.run_id.clone()).collect();
        // Pods have networks and no processes.
        runs.extend(former.pods.iter().cloned());
        let recovered = self.shared.launcher.recover(known).await;
        let containers = &self.shared.containers;
        containers.recover(&runs).await.context("failed to look at former containers")?;
        self.shared.secrets.recover(&runs).context("failed to look at former secrets")?;
        let found: Vec<_> = recovered
            .iter()
            .map(|one| {
                let started = match &one.state {
                    RunState::Running(started) | RunState::Starting(started) => Some(started),
                    RunState::Over(_) => None,
                };
                let group = started.and_then(|_| self.shared.launcher.group(&one.run_id));
                Found { run: one.run_id.clone(), group, main: started.map(pid) }
            })
            .collect();
        let kernel = self.shared.kernel.clone();
        let places = hierarchy.clone();
        let started = tokio::task::spawn_blocking(move || kernel.start(&hierarchy, &found));
        let mut remains = started.await.context("the start of the kernel's side panicked")??;
        self.shared.kernel.count_the_rest(&places).await;
        let mut found: Vec<_> = recovered
            .into_iter()
            .map(|recovered| {
                let run = recovered.run_id;
                let addresses = containers.addresses(&run);
                let remains = remains.remove(&run).unwrap_or_default();
                let (state, certificate) = match recovered.state {
                    RunState::Running(started) => {
                        (FoundState::Running { pid: pid(&started) }, None)
                    }
                    RunState::Starting(started) => {
                        let (shared, run, pid) = (self.shared.clone(), run.clone(), pid(&started));
                        self.shared.tokio.spawn(async move { shared.await_ready(run, pid).await });
                        (FoundState::Starting { pid }, None)
                    }
                    RunState::Over(RunOutcome::Lost(LostReason::NeverStarted)) => {
                        (FoundState::NeverStarted, None)
                    }
                    RunState::Over(outcome) => {
                        let certificate = self.shared.certificate(&run, &outcome, &remains);
                        (FoundState::Exited(ends::exit(&outcome)), certificate)
                    }
                };
                let denials = remains.denials;
                FoundRun { run, state, denials, addresses, certificate }
            })
            .collect();
        let goes_on = |state: &FoundState| {
            matches!(state, FoundState::Running { .. } | FoundState::Starting { .. })
        };
        let live = found.iter().filter(|one| goes_on(&one.state));
        let live: HashSet<_> = live.map(|one| &one.run).collect();
        self.shared.sandboxes.lock().retain(|run, _| live.contains(run));
        drop(live);
        found.extend(former.pods.into_iter().filter_map(|run| {
            let addresses = Some(containers.addresses(&run)?);
            let (state, denials) = (FoundState::NeverStarted, Vec::new());
            Some(FoundRun { run, state, denials, addresses, certificate: None })
        }));
        Ok(found)
    }

    /// A run's end, as the launcher reports it.
    pub fn ended(&self, event: RunEvent) {
        let shared = self.shared.clone();
        self.shared.tokio.spawn_blocking(move || {
            let (run, outcome) = (event.run_id, event.outcome);
            let remains = shared.kernel.finish(&run);
            let certificate = shared.certificate(&run, &outcome, &remains);
            shared.tell_denials(&run, remains);
            let exit = ends::exit(&outcome);
            shared.driver.event(Event::RunExited { run, exit, certificate });
        });
    }

    /// Does what an effect asks for; outcomes come back as events.
    pub fn perform(&self, effect: Effect) {
        let shared = self.shared.clone();
        match effect {
            Effect::Fetch { run, sandbox, uris, user, setting, images, network } => {
                self.shared.tokio.spawn(async move {
                    let mut outcome = shared.prepare(&run, &sandbox, uris, user, *setting).await;
                    if outcome.is_ok() {
                        outcome = shared.containers.fetch(&run, images).await;
                    }
                    if let (Ok(()), Some(network)) = (&outcome, network) {
                        outcome = shared.make_network(&run, &network).await;
                    }
                    shared.driver.event(Event::Fetched { run, outcome });
                });
            }
            Effect::Start(spec) => {
                let is_own = spec.container.as_ref().is_some_and(|one| one.network.is_own());
                if is_own || spec.network.is_some() {
                    shared.kernel.expect_own_network(&spec.run);
                } else {
                    shared.kernel.expect(&spec.run, &spec.ports);
                }
                self.shared.tokio.spawn(async move { shared.start(*spec).await });
            }
            Effect::Limit { run, limits } => {
                self.shared.tokio.spawn(async move { shared.limit(&run, &limits).await });
            }
            Effect::Terminate { run } => {
                let term = rustix::process::Signal::TERM;
                // In a container only the first process is asked, by the runtime, as it wants to be.
                let scope = match shared.containers.is_container(&run) {
                    true => SignalScope::Main,
                    false => SignalScope::Tree,
                };
                if let Err(error) = shared.launcher.signal(&run, term, scope) {
                    debug!(%run, error = &error as &dyn std::error::Error, "run not signalled");
                }
            }
            Effect::Kill { run } => {
                if let Err(error) = shared.launcher.kill_tree(&run) {
                    debug!(%run, error = &error as &dyn std::error::Error, "run not killed");
                }
            }
            Effect::Probe { probe, run, what, timeout } => {
                let mut probes = self.shared.probes.lock();
                let task = self.shared.tokio.spawn(async move {
                    let outcome = shared.probe(&run, what, timeout).await;
                    shared.probes.lock().remove(&probe);
                    shared.driver.event(Event::Probed { probe, outcome });
                });
                probes.insert(probe, task.abort_handle());
            }
            Effect::CancelProbe { probe } => {
                if let Some(task) = self.shared.probes.lock().remove(&probe) {
                    task.abort();
                }
            }
            Effect::Ports { run, ports } => shared.kernel.set_ports(&run, &ports),
            Effect::Signal { run, signal } => shared.signal(&run, signal),
            Effect::OpenSession(spec) => {
                self.shared.tokio.spawn(async move { shared.open_session(*spec).await });
            }
            Effect::SignalSession { session, signal } => {
                let _runtime = self.shared.tokio.enter();
                shared.sessions.signal(&session, signal);
            }
            Effect::CloseSession { session } => shared.sessions.close(&session),
            Effect::Discard { run } => {
                shared.kernel.forget(&run);
                self.shared.tokio.spawn(async move {
                    let (also, known) = (shared.clone(), run.clone());
                    // It ends early only with the whole process.
                    let _ = tokio::task::spawn_blocking(move || also.discard(&known)).await;
                    shared.containers.discard(&run).await;
                });
            }
            Effect::RemoveSandbox { sandbox } => {
                self.shared.tokio.spawn_blocking(move || {
                    shared.isolators.clean_up(&shared.folders.sandbox(&sandbox));
                    if let Err(error) = sandbox::remove(&shared.folders, &sandbox) {
                        warn!(%sandbox, %error, "sandbox not removed, left where it is");
                    }
                });
            }
            // The loop's own: nothing of them comes here.
            Effect::Save(_)
            | Effect::ToControlPlane(_)
            | Effect::Reconnect { .. }
            | Effect::ToExecutor { .. }
            | Effect::CloseExecutorStream { .. }
            | Effect::Respond { .. }
            | Effect::Notice { .. }
            | Effect::Quit { .. } => {}
        }
    }

    /// What makes containers.
    pub fn containers(&self) -> &Containers {
        &self.shared.containers
    }

    /// The sessions of this process.
    pub fn sessions(&self) -> &Sessions {
        &self.shared.sessions
    }

    /// Compares the sockets of live runs with their ports, once.
    pub fn look_at_ports(&self, runs: &[ContainerId]) {
        for (run, ports) in self.shared.launcher.listening_ports(runs) {
            let ports = ports.into_iter().map(u64::from).collect();
            self.shared.driver.event(Event::Listening { run, ports });
        }
    }

    /// Counts what the sandboxes of live runs hold, once. Takes as long as there are files.
    pub fn measure_sandboxes(&self) {
        let sandboxes = self.shared.sandboxes.lock().clone();
        for (run, sandbox) in sandboxes {
            let bundle = self.shared.containers.bundle(&run);
            match self.shared.isolators.disk_usage(&sandbox, &bundle) {
                Ok(Some(used)) => self.shared.driver.event(Event::SandboxMeasured { run, used }),
                Ok(None) => return,
                Err(error) => debug!(%run, %error, "sandbox not measured"),
            }
        }
    }

    /// A connection to the terminal of a run that has one, on which that was said.
    pub fn attach(
        &self,
        run: &ContainerId,
        said: Option<&ToTerminal>,
    ) -> Option<tokio::net::UnixStream> {
        self.shared.containers.terminal(run, said).unwrap_or_else(|error| {
            debug!(%run, %error, "terminal not reached");
            None
        })
    }

    /// What a live run uses now.
    pub fn usage(&self, run: &ContainerId) -> Option<tepui_agent_api::Usage> {
        let rough = self.shared.launcher.usage(run).ok()?;
        let sample = self.shared.kernel.sample(run, self.shared.launcher.group(run));
        Some(kernel::usage(rough, &sample))
    }

    /// Where a live run is on this host.
    pub fn place(&self, run: &ContainerId) -> tepui_agent_api::RunPlace {
        let group = self.shared.launcher.group(run);
        kernel::place(group.as_ref().map(Leaf::path), self.shared.containers.is_container(run))
    }

    /// Which of these runs a control group belongs to.
    pub fn run_in(&self, group: &Path, live: &[ContainerId]) -> Option<ContainerId> {
        let holds = |run: &&ContainerId| {
            self.shared.launcher.group(run).is_some_and(|leaf| group.starts_with(leaf.path()))
        };
        live.iter().find(holds).cloned()
    }

    /// What of the kernel serves the agent now.
    pub fn kernel(&self) -> tepui_agent_api::KernelReport {
        self.shared.kernel.report()
    }
}

impl Shared {
    async fn prepare(
        self: &Arc<Self>,
        run: &ContainerId,
        sandbox: &str,
        uris: Vec<v1::command_info::Uri>,
        user: Option<String>,
        setting: Setting,
    ) -> Result<(), String> {
        let (shared, place, owner) = (self.clone(), sandbox.to_owned(), user.clone());
        let run = run.clone();
        self.tokio
            .spawn_blocking(move || {
                let (secrets, owner) = (shared.secrets.of(&run), owner.as_deref());
                let path =
                    sandbox::create(&shared.folders, &place, owner, &setting, Some(&secrets))
                        .map_err(|error| error.to_string())?;
                shared.write_secrets(&run, &setting, owner)?;
                // Before anything is in it: only what is made later counts.
                let held = shared.isolators.hold_disk(&path, setting.disk);
                held.map_err(|error| format!("failed to bound the sandbox: {error}"))
            })
            .await
            .map_err(|error| error.to_string())
            .flatten()
            .map_err(|why| format!("Failed to make the sandbox: {why}"))?;
        if uris.is_empty() {
            return Ok(());
        }
        let wanted = uris.into_iter().map(fetch_request).collect();
        let work = self.folders.work();
        let fetched = self.fetcher.fetch(work, Path::new(sandbox), user.as_deref(), wanted).await;
        fetched.map_err(|error| chain(&error))
    }

    fn write_secrets(
        &self,
        run: &ContainerId,
        setting: &Setting,
        user: Option<&str>,
    ) -> Result<(), String> {
        if setting.secrets.is_empty() {
            return Ok(());
        }
        let owner = user.map(|name| sandbox::Owner::look_up(name, &self.secrets.of(run)));
        let owner = owner.transpose().map_err(|error| error.to_string())?;
        let written = self.secrets.write(run, &setting.secrets, owner.map(sandbox::Owner::numbers));
        written.map_err(|error| format!("failed to provide secrets: {error}"))
    }

    async fn make_network(&self, run: &ContainerId, network: &Network) -> Result<(), String> {
        let addresses = self.containers.attach(run, network).await?;
        let run = run.clone();
        self.driver.event(Event::Networked { run, addresses });
        Ok(())
    }

    async fn start(&self, spec: RunSpec) {
        let run = spec.run.clone();
        let outcome = self.try_start(spec).await;
        self.driver.event(Event::RunStarted { run, outcome });
    }

    /// Tells what comes of a run that an earlier agent process was starting.
    async fn await_ready(&self, run: ContainerId, pid: u32) {
        let event = match self.launcher.await_ready(&run).await {
            Ok(()) => Event::RunStarted { run, outcome: Ok(pid) },
            Err(RunOutcome::Ended(status)) if !is_success(&status) => {
                let outcome = Err(self.not_ready(&run, status));
                Event::RunStarted { run, outcome }
            }
            // A success for systemd is one that had said that it is ready.
            Err(outcome) => {
                let remains = self.kernel.finish(&run);
                self.tell_denials(&run, remains);
                Event::RunExited { run, exit: ends::exit(&outcome), certificate: None }
            }
        };
        self.driver.event(event);
    }

    async fn try_start(&self, spec: RunSpec) -> Result<u32, String> {
        let run = spec.run.clone();
        let sandbox = self.folders.sandbox(&spec.sandbox);
        let marked = sandbox.to_string_lossy().into_owned();
        let env = fill_in(spec.environment, &marked);
        self.sandboxes.lock().insert(run.clone(), sandbox.clone());
        let label = label(&env, spec.title, spec.role.as_ref());
        let joined = spec.network.as_ref().map(|of| self.containers.network_to_join(of));
        let joined = joined.transpose()?;
        let mut network = None;
        let (program, answers) = match &spec.container {
            None => {
                network = joined.map(|joined| joined.namespace);
                (program(spec.command, &sandbox), false)
            }
            Some(container) => {
                if container.holds_to_devices {
                    self.kernel.expect_devices(&run, &container.devices)?;
                }
                let bundle = self.containers.make_bundle(&run)?;
                let counted = self.isolators.count_disk(&sandbox, &bundle);
                counted.map_err(|error| format!("failed to bound the container: {error}"))?;
                let secrets = &self.secrets.of(&run);
                let place = Place { run: &run, sandbox: &sandbox, secrets, environment: &env };
                let beginning = self.containers.begin(container, place, joined).await?;
                if let Some(addresses) = beginning.addresses {
                    let run = run.clone();
                    self.driver.event(Event::Networked { run, addresses });
                }
                (beginning.program, true)
            }
        };
        let confinement = self.isolators.confine(run.as_str(), &spec.limits);
        if confinement.rights.no_devices {
            self.kernel.expect_devices(&run, &[])?;
        }
        let secrets = self.secrets.of(&run);
        let credential = |name: String| (name.clone(), secrets.join(name));
        let credentials = spec.secret_files.into_iter().map(credential).collect();
        let launch = LaunchSpec {
            run_id: run.clone(),
            run_dir: self.folders.run(&run),
            program,
            sandbox,
            // Environment, user and limits of a container's task are in its order: the runtime
            // itself is the agent's.
            env: if answers { Vec::new() } else { env },
            secret_variables: spec.secret_variables,
            credentials: if answers { Vec::new() } else { credentials },
            user: spec.user.filter(|_| !answers),
            rlimits: if answers { Vec::new() } else { rlimits(spec.rlimits.as_ref()) },
            log_policy: self.log_policy,
            own_group: true,
            answers,
            label,
            confinement,
            network,
        };
        match self.launcher.start(launch).await {
            Ok(started) => {
                let pid = pid(&started);
                self.kernel.begun(&run, pid);
                Ok(pid)
            }
            Err(LaunchError::NotReady(status)) => Err(self.not_ready(&run, *status)),
            Err(error) => Err(chain(&error)),
        }
    }

    async fn limit(&self, run: &ContainerId, limits: &Limits) {
        let ceiling = self.isolators.ceiling(run.as_str(), limits);
        let sandbox = self.sandboxes.lock().get(run).cloned();
        let held = sandbox.map_or(Ok(()), |path| self.isolators.hold_disk(&path, limits.disk));
        if let Err(error) = held {
            warn!(%run, %error, "limit of a sandbox not changed");
        }
        if let Err(error) = self.launcher.limit(run, &ceiling).await {
            warn!(%run, error = &error as &dyn std::error::Error, "limits not changed");
        }
    }

    /// Before the end is told: its status names what was refused.
    fn tell_denials(&self, run: &ContainerId, remains: Remains) {
        if !remains.denials.is_empty() {
            let (run, denials) = (run.clone(), remains.denials);
            self.driver.event(Event::PortsDenied { run, denials, fatal: false });
        }
    }

    /// Why a command did not get ready, as its end tells it.
    fn not_ready(&self, run: &ContainerId, status: ExitStatus) -> String {
        let outcome = RunOutcome::Ended(status);
        let remains = self.kernel.finish(run);
        let mut known = self.certificate(run, &outcome, &remains).unwrap_or_default();
        self.tell_denials(run, remains);
        known.cause = tepui_agent::Cause::NotReady;
        tepui_agent::describe_end(&ends::exit(&outcome), &known)
    }

    fn certificate(
        &self,
        run: &ContainerId,
        outcome: &RunOutcome,
        remains: &Remains,
    ) -> Option<Box<tepui_agent::Certificate>> {
        let sandbox = self.sandboxes.lock().get(run).cloned();
        ends::certificate(outcome, sandbox.as_deref(), remains)
    }

    /// What runs a command in a run's container; `None` when the run is no container.
    fn joining(
        &self,
        run: &ContainerId,
        command: &Command,
        environment: &[(String, String)],
        tty: Option<Tty>,
    ) -> Result<Option<Program>, String> {
        let argv = match command {
            Command::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
            Command::Exec { program, arguments } => {
                let rest = arguments.iter().skip(1).cloned();
                std::iter::once(program.clone()).chain(rest).collect()
            }
        };
        let environment = environment.to_vec();
        let order = ExecOrder { argv, environment, working_directory: None, tty };
        self.containers.join(run, &order)
    }

    fn signal(&self, run: &ContainerId, signal: i32) {
        let Some(signal) = rustix::process::Signal::from_named_raw(signal) else { return };
        let sent = if signal == rustix::process::Signal::KILL {
            self.launcher.kill_tree(run)
        } else {
            self.launcher.signal(run, signal, SignalScope::Main)
        };
        if let Err(error) = sent {
            debug!(%run, error = &error as &dyn std::error::Error, "run not signalled");
        }
    }

    async fn open_session(&self, spec: tepui_agent::SessionSpec) {
        let session = spec.session.clone();
        let outcome = match self.session_launch(spec) {
            Ok(launch) => self.launcher.open_session(launch).await.map_err(|error| chain(&error)),
            Err(reason) => Err(reason),
        };
        match outcome {
            Ok(opened) => {
                let held = self.sessions.hold(session.clone(), opened, self.driver.clone());
                // Its end comes after its beginning, however short it is.
                self.driver.event(Event::SessionOpened { session, outcome: Ok(()) });
                held.await;
            }
            Err(reason) => {
                self.driver.event(Event::SessionOpened { session, outcome: Err(reason) });
            }
        }
    }

    /// In a container, the runtime joins it for the command, and takes on its user itself.
    fn session_launch(
        &self,
        spec: tepui_agent::SessionSpec,
    ) -> Result<tepui_launch::SessionSpec, String> {
        let sandbox = self.folders.sandbox(&spec.sandbox);
        let env = fill_in(spec.environment, &sandbox.to_string_lossy());
        // The command's terminal is one of the container; the runtime passes on to it what comes
        // through the session's own.
        let tty = spec.terminal.map(|size| Tty { rows: size.rows, columns: size.columns });
        let joined = self.joining(&spec.beside, &spec.command, &env, tty)?;
        let answers = joined.is_some();
        let network = spec.network.filter(|_| !answers);
        let network = network.map(|of| self.containers.network_to_join(&of)).transpose()?;
        Ok(tepui_launch::SessionSpec {
            network: network.map(|network| network.namespace),
            session: spec.session,
            beside: spec.beside,
            program: joined.unwrap_or_else(|| program(spec.command, &sandbox)),
            env: if answers { Vec::new() } else { env },
            sandbox,
            user: spec.user.filter(|_| !answers),
            rlimits: if answers { Vec::new() } else { rlimits(spec.rlimits.as_ref()) },
            answers,
            terminal: spec
                .terminal
                .map(|size| tepui_launch::Window { rows: size.rows, columns: size.columns }),
        })
    }

    fn discard(&self, run: &ContainerId) {
        if let Some(sandbox) = self.sandboxes.lock().remove(run) {
            self.isolators.let_go(&sandbox);
        }
        self.secrets.forget(run);
        let known = KnownRun { run_id: run.clone(), run_dir: self.folders.run(run) };
        if let Err(error) = self.launcher.forget(&known) {
            warn!(%run, %error, "records of a run not removed, left where they are");
        }
    }
}

fn pid(started: &tepui_launch::Started) -> u32 {
    started.main.pid.unsigned_abs()
}

/// What the host may call a run. The agent's own variables stand before the command's, which may
/// have the same names; those of Marathon are the command's.
fn label(env: &[(String, String)], title: String, role: Option<&Role>) -> RunLabel {
    let variable =
        |name: &str| env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    RunLabel {
        task: title,
        framework: variable("MESOS_FRAMEWORK_ID").unwrap_or_default(),
        role: role.map_or_else(|| "*".to_owned(), ToString::to_string),
        app: variable("MARATHON_APP_ID"),
        version: variable("MARATHON_APP_VERSION"),
    }
}

fn program(command: Command, sandbox: &Path) -> Program {
    match command {
        Command::Shell(line) => Program::Shell(line),
        Command::Exec { program, arguments } => {
            // A path with a slash is relative to the sandbox, like everything of the task.
            let path = if program.contains('/') && !program.starts_with('/') {
                sandbox.join(program).to_string_lossy().into_owned()
            } else {
                program
            };
            Program::Exec { path, argv: arguments }
        }
    }
}

fn fill_in(environment: Vec<(String, String)>, sandbox: &str) -> Vec<(String, String)> {
    environment
        .into_iter()
        .map(|(name, value)| (name, value.replace(SANDBOX_MARK, sandbox)))
        .collect()
}

fn is_success(status: &ExitStatus) -> bool {
    status.ending == Ending::Exited(0) && status.cause == tepui_launch::Cause::Itself
}

fn rlimits(info: Option<&v1::RLimitInfo>) -> Vec<Rlimit> {
    let all = info.map(|info| info.rlimits.as_slice()).unwrap_or_default();
    all.iter()
        .filter_map(|limit| {
            let kind = RlimitKind::by_name(limit.r#type().as_str_name())?;
            Some(Rlimit { kind, soft: limit.soft, hard: limit.hard })
        })
        .collect()
}

fn fetch_request(uri: v1::command_info::Uri) -> tepui_fetch::Artifact {
    tepui_fetch::Artifact {
        executable: uri.executable(),
        extract: uri.extract(),
        cache: uri.cache(),
        output_file: uri.output_file.clone(),
        uri: uri.value,
    }
}

/// An error with its causes, for a status message.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
