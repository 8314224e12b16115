//! A host: the production agent, its journal, and a simulated launcher with its processes.

use std::collections::BTreeMap;

use tepui_agent::{Agent, Config, Effect, Event, Exit, FoundRun, FoundState, Probe, ProbeOutcome};
use tepui_types::{
    BootId, ContainerId, Entropy, ExecutorId, FrameworkId, LinkId, Mono, Resources, Span, StreamId,
};

use crate::executor::Executor;
use crate::faults::Fault;
use crate::queue::{Action, Life};
use crate::world::World;

/// The command of a custom executor.
pub(crate) const EXECUTOR: &str = "executor";

/// A process that the launcher started.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    resources: Resources,
    /// It does not end when it is asked to.
    stubborn: bool,
    /// `None` while it runs.
    exit: Option<Exit>,
    /// The run of the agent that was told of its start.
    told: Option<Life>,
    /// What it knows when it is a custom executor.
    pub(crate) executor: Option<Executor>,
}

impl Process {
    /// What it uses: a custom executor uses what its tasks use.
    pub(crate) fn holds(&self) -> Resources {
        self.executor.as_ref().map_or_else(|| self.resources.clone(), Executor::holds)
    }
}

/// A host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) life: Life,
    entropy: Entropy,
    pub(crate) config: Config,
    pub(crate) total: Resources,
    pub(crate) agent: Option<Agent>,
    pub(crate) journal: Vec<tepui_agent::Record>,
    boot: BootId,
    boots: u64,
    pub(crate) link: Option<LinkId>,
    attempt: u64,
    pub(crate) processes: BTreeMap<ContainerId, Process>,
    /// Streams of executors that the agent may hold, and whose they are.
    pub(crate) executor_streams: BTreeMap<StreamId, u32>,
    next_pid: u32,
    ticks_at: Option<Mono>,
    pub(crate) cut_up: bool,
    pub(crate) cut_down: bool,
    pub(crate) cut: u64,
    pub(crate) doomed: bool,
}

fn boot_id(name: &str, boots: u64) -> BootId {
    BootId::parse(&format!("boot-{name}-{boots}")).expect("letters, digits and dashes are an id")
}

impl Host {
    pub(crate) fn new(name: &str, config: Config, total: Resources, entropy: Entropy) -> Self {
        Self {
            name: name.to_owned(),
            life: Life::default(),
            entropy,
            config,
            total,
            agent: None,
            journal: Vec::new(),
            boot: boot_id(name, 0),
            boots: 0,
            link: None,
            attempt: 0,
            processes: BTreeMap::new(),
            executor_streams: BTreeMap::new(),
            next_pid: 100,
            ticks_at: None,
            cut_up: false,
            cut_down: false,
            cut: 0,
            doomed: false,
        }
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = &Process> {
        self.processes.values().filter(|process| process.exit.is_none())
    }

    /// The process with this number while it runs.
    pub(crate) fn alive(&mut self, pid: u32) -> Option<&mut Process> {
        self.processes.values_mut().find(|one| one.pid == pid && one.exit.is_none())
    }

    /// True when a live process owns the port.
    pub(crate) fn listens(&self, port: u64) -> bool {
        self.live().any(|process| process.resources.ports().contains(port))
    }
}

/// How a simulated command behaves: `sleep 5`, `exit 3`, `forever`, each with `stubborn` behind it
/// when it ignores SIGTERM.
fn behaviour(text: &str) -> (Option<(Span, Exit)>, bool) {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    let end = match words.first() {
        Some(&"sleep") => Some((Span::from_millis(number(1)), Exit::Code(0))),
        Some(&"exit") => {
            let code = i32::try_from(number(1)).unwrap_or(1);
            Some((Span::from_millis(30), Exit::Code(code)))
        }
        _ => None,
    };
    (end, words.contains(&"stubborn"))
}

/// The executor that a run's environment names.
fn named_executor(spec: &tepui_agent::RunSpec, now: Mono) -> Option<Executor> {
    let variable = |name: &str| {
        spec.environment.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    };
    let framework = FrameworkId::parse(variable("MESOS_FRAMEWORK_ID")?).ok()?;
    let id = ExecutorId::parse(variable("MESOS_EXECUTOR_ID")?).ok()?;
    Some(Executor::new(framework, id, now))
}

impl World {
    pub(crate) fn agent_starts(&mut self, host: usize) {
        if self.hosts[host].agent.is_some() {
            return;
        }
        let this = &mut self.hosts[host];
        this.life.0 += 1;
        this.doomed = false;
        this.link = None;
        this.ticks_at = None;
        let entropy = Entropy::seeded(this.entropy.next_u64());
        this.agent = Some(Agent::new(this.config.clone(), entropy));
        let life = this.life;
        let runs = this
            .processes
            .iter_mut()
            .map(|(run, process)| {
                process.told = Some(life);
                let state = match &process.exit {
                    None => FoundState::Running { pid: process.pid },
                    Some(exit) => FoundState::Exited(exit.clone()),
                };
                let run = run.clone();
                FoundRun { run, state, denials: Vec::new(), addresses: None, certificate: None }
            })
            .collect();
        let records = this.journal.clone();
        let event = Event::Started { boot: Some(this.boot.clone()), records, runs };
        let name = this.name.clone();
        self.tell(|| format!("{name}: agent starts"));
        self.agent_event(host, life, event);
    }

    pub(crate) fn agent_dies(&mut self, host: usize) {
        if self.hosts[host].agent.take().is_none() {
            return;
        }
        let this = &mut self.hosts[host];
        this.life.0 += 1;
        let (link, name) = (this.link.take(), this.name.clone());
        self.executors_lose_agent(host);
        self.tell(|| format!("{name}: agent dies"));
        if let Some(link) = link {
            self.hang_up_at_agent(link);
        }
        let pause = self.millis(20, 4000);
        self.after(pause, Action::AgentStarts { host });
    }

    /// The machine is reset: no process is left, and the boot id is new.
    pub(crate) fn host_resets(&mut self, host: usize) {
        self.agent_dies(host);
        let this = &mut self.hosts[host];
        this.boots += 1;
        this.boot = boot_id(&this.name, this.boots);
        this.processes.clear();
        this.executor_streams.clear();
    }

    pub(crate) fn agent_tick(&mut self, host: usize, life: Life) {
        self.hosts[host].ticks_at = None;
        self.agent_event(host, life, Event::Tick);
    }

    /// An agent handles one event: it decides, saves, and acts, unless it dies meanwhile.
    pub(crate) fn agent_event(&mut self, host: usize, life: Life, event: Event) {
        let this = &mut self.hosts[host];
        if this.life != life {
            return;
        }
        let Some(agent) = &mut this.agent else { return };
        let mut effects = Vec::new();
        agent.handle(self.now, event, &mut effects);
        let (saves, rest): (Vec<Effect>, Vec<Effect>) =
            effects.into_iter().partition(|effect| matches!(effect, Effect::Save(_)));
        let mut last = None;
        let mut saved = saves.len();
        if this.doomed && !(saves.is_empty() && rest.is_empty()) {
            let point = self.random.below(saves.len() as u64 + rest.len() as u64 + 1);
            let point = usize::try_from(point).unwrap_or(0);
            saved = saved.min(point);
            last = Some(point.saturating_sub(saves.len()));
            let unsaved = saved < saves.len();
            self.faults.count(if unsaved {
                Fault::AgentDiedUnsaved
            } else {
                Fault::AgentDiedSaved
            });
        }
        self.note(&(host, saves.len(), rest.len()));
        for effect in saves.into_iter().take(saved) {
            if let Effect::Save(record) = effect {
                self.checks.journaled(host, &record);
                self.hosts[host].journal.push(record);
            }
        }
        for (at, effect) in rest.into_iter().enumerate() {
            if last == Some(at) {
                break;
            }
            self.do_for_agent(host, life, effect);
        }
        if last.is_some() {
            self.agent_dies(host);
        } else {
            self.wake_agent(host);
        }
    }

    fn wake_agent(&mut self, host: usize) {
        let now = self.now.mono;
        let this = &mut self.hosts[host];
        let Some(due) = this.agent.as_ref().and_then(Agent::next_wakeup) else { return };
        if this.ticks_at.is_none_or(|at| due < at) {
            this.ticks_at = Some(due.max(now));
            self.queue.put(due.max(now), Action::AgentTick { host, life: this.life });
        }
    }

    fn do_for_agent(&mut self, host: usize, life: Life, effect: Effect) {
        match effect {
            Effect::ToControlPlane(report) => {
                if let Some(link) = self.hosts[host].link {
                    self.checks.reported(self.now, host, &report);
                    self.send_report(link, report);
                }
            }
            Effect::Reconnect { pause } => {
                if let Some(link) = self.hosts[host].link.take() {
                    self.hang_up_at_agent(link);
                }
                self.hosts[host].attempt += 1;
                let attempt = self.hosts[host].attempt;
                self.after(pause, Action::LinkAttempt { host, life, attempt });
            }
            Effect::Fetch { run, .. } => {
                let outcome = if self.strikes(Fault::FetchFailed, 15) {
                    Err("the artifact's server does not answer".to_owned())
                } else {
                    Ok(())
                };
                let pause = self.millis(1, 50);
                self.after(pause, Action::Fetched { host, life, run, outcome });
            }
            Effect::Start(spec) => self.start_process(host, life, *spec),
            // Simulated processes use nothing.
            Effect::Limit { .. } => {}
            Effect::Terminate { run } => {
                let pause = self.millis(1, 200);
                if let Some(process) = self.hosts[host].processes.get(&run)
                    && !process.stubborn
                {
                    let (pid, exit) = (process.pid, Exit::Signal(15));
                    self.after(pause, Action::ProcessEnds { host, pid, exit });
                }
            }
            Effect::Kill { run } => {
                let pause = self.millis(1, 20);
                if let Some(process) = self.hosts[host].processes.get(&run) {
                    let (pid, exit) = (process.pid, Exit::Signal(9));
                    self.after(pause, Action::ProcessEnds { host, pid, exit });
                }
            }
            Effect::Probe { probe, run, what, .. } => {
                self.probe_process(host, life, probe, &run, &what)
            }
            Effect::Discard { run } => {
                let process = self.hosts[host].processes.remove(&run);
                if process.is_some_and(|process| process.exit.is_none()) {
                    let text = format!("run {run} was discarded while its process lives");
                    self.checks.violate(self.now, "I-21", text);
                }
            }
            Effect::Quit { reason } => self.agent_quits(host, &reason),
            Effect::ToExecutor { stream, event } => {
                self.forward_to_executor(host, stream, Some(event))
            }
            Effect::CloseExecutorStream { stream } => self.forward_to_executor(host, stream, None),
            Effect::Respond { request, response } => {
                self.executor_answered(host, request, &response);
            }
            // Nobody here asks for a session.
            Effect::Signal { .. }
            | Effect::OpenSession(_)
            | Effect::SignalSession { .. }
            | Effect::CloseSession { .. }
            | Effect::Save(_)
            | Effect::CancelProbe { .. }
            | Effect::RemoveSandbox { .. }
            | Effect::Ports { .. }
            | Effect::Notice { .. } => {}
        }
    }

    /// The daemon ends because the cluster does not want it under its id. An operator cleans the
    /// host and starts it anew.
    fn agent_quits(&mut self, host: usize, reason: &str) {
        let this = &mut self.hosts[host];
        let name = this.name.clone();
        let left = this.live().count();
        if left > 0 {
            let text = format!("{name} quit and left {left} processes behind: {reason}");
            self.checks.violate(self.now, "I-21", text);
        }
        self.tell(|| format!("{name}: agent quits: {reason}"));
        self.agent_dies(host);
        let this = &mut self.hosts[host];
        this.journal.clear();
        this.processes.clear();
        self.checks.wiped(host);
    }

    pub(crate) fn link_attempt(&mut self, host: usize, life: Life, attempt: u64) {
        let this = &self.hosts[host];
        if this.life != life || this.attempt != attempt || this.link.is_some() {
            return;
        }
        if self.control.leader.is_none() || this.cut_up || this.cut_down {
            // The driver tries by itself until a link stands.
            let pause = self.millis(100, 800);
            self.after(pause, Action::LinkAttempt { host, life, attempt });
            return;
        }
        let link = self.open_wire(host, life);
        let latency = self.latency();
        self.after(latency, Action::LinkUpAtAgent { link });
    }

    fn start_process(&mut self, host: usize, life: Life, spec: tepui_agent::RunSpec) {
        let run = spec.run.clone();
        if self.strikes(Fault::StartFailed, 15) {
            let event =
                Event::RunStarted { run, outcome: Err("no such file or directory".to_owned()) };
            self.agent_event(host, life, event);
            return;
        }
        let this = &mut self.hosts[host];
        this.next_pid += 1;
        let pid = this.next_pid;
        let text = match &spec.command {
            tepui_agent::Command::Shell(text) => text.clone(),
            tepui_agent::Command::Exec { arguments, .. } => arguments.join(" "),
        };
        let (end, stubborn) = behaviour(&text);
        let executor = (text == EXECUTOR).then(|| named_executor(&spec, self.now.mono)).flatten();
        let is_executor = executor.is_some();
        let resources = spec.resources.clone();
        let process = Process { pid, resources, stubborn, exit: None, told: None, executor };
        if this.processes.insert(run.clone(), process).is_some() {
            let text = format!("run {run} was started twice on one host");
            self.checks.violate(self.now, "I-5", text);
        }
        self.checks.process_started(self.now, &self.hosts[host], &spec);
        if is_executor {
            let pause = self.millis(1, 80);
            self.after(pause, Action::ExecutorStep { host, pid });
        }
        if let Some((pause, exit)) = end {
            self.after(pause, Action::ProcessEnds { host, pid, exit });
        }
        let pause = self.millis(1, 20);
        self.after(pause, Action::ProcessStarts { host, life, run });
    }

    /// The launcher tells the agent that the process runs.
    pub(crate) fn process_started(&mut self, host: usize, life: Life, run: ContainerId) {
        let this = &mut self.hosts[host];
        if this.life != life {
            return;
        }
        let Some(process) = this.processes.get_mut(&run) else { return };
        process.told = Some(life);
        let (pid, exit) = (process.pid, process.exit.clone());
        let event = Event::RunStarted { run: run.clone(), outcome: Ok(pid) };
        self.agent_event(host, life, event);
        if let Some(exit) = exit {
            // It ended before the agent heard of its start; the launcher tells in order.
            self.agent_event(host, life, Event::RunExited { run, exit, certificate: None });
        }
    }

    pub(crate) fn process_ends(&mut self, host: usize, pid: u32, exit: Exit) {
        let unknown = self.strikes(Fault::ExitUnknown, 10);
        let exit = if unknown { Exit::Unknown("the shim died".into()) } else { exit };
        let this = &mut self.hosts[host];
        let found = this.processes.iter_mut().find(|(_, process)| process.pid == pid);
        let Some((run, process)) = found.filter(|(_, process)| process.exit.is_none()) else {
            return;
        };
        process.exit = Some(exit.clone());
        let (run, told, life) = (run.clone(), process.told, this.life);
        self.executor_gone(host, pid);
        if told == Some(life) {
            self.agent_event(host, life, Event::RunExited { run, exit, certificate: None });
        }
    }

    fn probe_process(
        &mut self,
        host: usize,
        life: Life,
        probe: tepui_agent::ProbeId,
        run: &ContainerId,
        what: &Probe,
    ) {
        let alive =
            self.hosts[host].processes.get(run).is_some_and(|process| process.exit.is_none());
        let outcome = match what {
            _ if !alive => ProbeOutcome::Failed("nobody answers".to_owned()),
            Probe::Http { .. } => ProbeOutcome::Http(200),
            Probe::Tcp { .. } => ProbeOutcome::Tcp(true),
            Probe::Command { .. } => ProbeOutcome::Command(0),
        };
        let pause = self.millis(1, 30);
        self.after(pause, Action::AgentProbed { host, life, probe, outcome });
    }
}
