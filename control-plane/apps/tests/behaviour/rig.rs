//! A cluster for the apps to talk to: it answers calls like a Mesos master, keeps what was saved, and
//! can lose everything but that at any effect.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tepui_apps::{
    Apps, Command, Config, Effect, Event, KillTarget, Probe, ProbeId, ProbeOutcome, Record,
    RecordKey, Reply,
};
use tepui_marathon::{
    AppId, EventPayload, GroupUpdate, PathId, Rejection, Settings, Task, Version, decode_app,
    decode_group_update,
};
use tepui_types::{Entropy, Mono, Now, RequestId, Span, TaskState, Uuid, Wall};
use tepui_wire::v1;
use tepui_wire::v1::scheduler::{self, Call, call, event};

/// One agent with what it offers.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) hostname: String,
    pub(crate) cpus: f64,
    pub(crate) mem: f64,
    pub(crate) ports: (u64, u64),
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) reachable: bool,
    /// No offers before this.
    pub(crate) filtered: Mono,
}

/// One task as the master knows it.
#[derive(Clone, Debug)]
pub(crate) struct SimTask {
    pub(crate) agent: String,
    pub(crate) state: v1::TaskState,
    pub(crate) info: v1::TaskInfo,
    pub(crate) healthy: Option<bool>,
}

/// What the cluster does with tasks without being told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Launched tasks run at once, killed ones end at once.
    Prompt,
    /// Nothing happens by itself.
    Manual,
}

pub(crate) struct Rig {
    pub(crate) apps: Apps,
    pub(crate) config: Config,
    pub(crate) now: Now,
    pub(crate) store: BTreeMap<RecordKey, Record>,
    pub(crate) agents: BTreeMap<String, Agent>,
    pub(crate) tasks: BTreeMap<String, SimTask>,
    pub(crate) pending_kills: BTreeSet<String>,
    /// Last state of each task that the apps were told.
    pub(crate) heard: BTreeMap<String, v1::TaskState>,
    /// Tasks for which a kill was called.
    pub(crate) killed: BTreeSet<String>,
    /// Tasks that a client wanted killed.
    pub(crate) asked_for: BTreeSet<String>,
    pub(crate) habit: Habit,
    /// No agent has registered yet: kills get nowhere, questions get no answer.
    pub(crate) agents_unheard: bool,
    pub(crate) inbox: VecDeque<scheduler::Event>,
    pub(crate) replies: BTreeMap<RequestId, Result<Reply, Rejection>>,
    pub(crate) published: Vec<EventPayload>,
    pub(crate) calls: Vec<Call>,
    pub(crate) probes: BTreeMap<ProbeId, Probe>,
    pub(crate) alarms: usize,
    pub(crate) halted: bool,
    pub(crate) connected: bool,
    pub(crate) suppressed: bool,
    pub(crate) acknowledged: BTreeSet<Vec<u8>>,
    /// Die when this many more effects were carried out.
    pub(crate) dies_after: Option<usize>,
    pub(crate) died: bool,
    /// Looked at before each kill goes out.
    pub(crate) before_kill: Option<fn(&Self, &str)>,
    next_request: u64,
    next_uuid: u64,
    next_offer: u64,
    framework: Option<String>,
    seed: u64,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::seeded(7)
    }

    pub(crate) fn seeded(seed: u64) -> Self {
        let mut rig = Self::unelected(seed, Config::default());
        rig.feed(Event::Elected { records: Vec::new() });
        rig.settle();
        rig
    }

    pub(crate) fn unelected(seed: u64, config: Config) -> Self {
        Self {
            apps: Apps::new(config.clone(), Entropy::seeded(seed)),
            config,
            now: Now { mono: Mono::from_nanos(0), wall: Wall::from_millis(1_893_553_445_000) },
            store: BTreeMap::new(),
            agents: BTreeMap::new(),
            tasks: BTreeMap::new(),
            pending_kills: BTreeSet::new(),
            heard: BTreeMap::new(),
            killed: BTreeSet::new(),
            asked_for: BTreeSet::new(),
            habit: Habit::Prompt,
            agents_unheard: false,
            inbox: VecDeque::new(),
            replies: BTreeMap::new(),
            published: Vec::new(),
            calls: Vec::new(),
            probes: BTreeMap::new(),
            alarms: 0,
            halted: false,
            connected: false,
            suppressed: false,
            acknowledged: BTreeSet::new(),
            dies_after: None,
            died: false,
            before_kill: None,
            next_request: 0,
            next_uuid: 0,
            next_offer: 0,
            framework: None,
            seed,
        }
    }

    pub(crate) fn agent(mut self, name: &str, cpus: f64) -> Self {
        self.add_agent(name, cpus, &[]);
        self
    }

    pub(crate) fn add_agent(&mut self, name: &str, cpus: f64, attributes: &[(&str, &str)]) {
        let own = |pair: &(&str, &str)| (pair.0.to_owned(), pair.1.to_owned());
        let agent = Agent {
            id: format!("S-{name}"),
            hostname: name.to_owned(),
            cpus,
            mem: 100_000.0,
            ports: (31_000, 32_000),
            attributes: attributes.iter().map(own).collect(),
            reachable: true,
            filtered: Mono::default(),
        };
        self.agents.insert(agent.id.clone(), agent);
    }

    // --- what clients do -------------------------------------------------------------------------

    pub(crate) fn command(&mut self, command: Command) -> Result<Reply, Rejection> {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.feed(Event::Command { request, command: Box::new(command), origin: None });
        let reply = self.replies.remove(&request);
        reply.unwrap_or_else(|| Err(Rejection::new(599, "no answer")))
    }

    pub(crate) fn create(&mut self, json: &str) -> Result<Reply, Rejection> {
        let update = decode_app(json.as_bytes(), &PathId::root(), true, &Settings::default())?;
        let reply = self.command(Command::CreateApp { update, force: false });
        self.settle();
        reply
    }

    pub(crate) fn put(&mut self, id: &str, json: &str) -> Result<Reply, Rejection> {
        let reply = self.put_quietly(id, json, false);
        self.settle();
        reply
    }

    pub(crate) fn force(&mut self, id: &str, json: &str) -> Result<Reply, Rejection> {
        let reply = self.put_quietly(id, json, true);
        self.settle();
        reply
    }

    pub(crate) fn put_quietly(
        &mut self,
        id: &str,
        json: &str,
        force: bool,
    ) -> Result<Reply, Rejection> {
        let update = decode_app(json.as_bytes(), &PathId::root(), false, &Settings::default())?;
        let (id, partial, create) = (path(id), true, true);
        self.command(Command::UpdateApp { id, update, partial, create, force })
    }

    pub(crate) fn put_group(&mut self, id: &str, json: &str) -> Result<Reply, Rejection> {
        let update = group(id, json)?;
        let command = Command::UpdateGroup { id: path(id), update, dry_run: false, force: false };
        let reply = self.command(command);
        self.settle();
        reply
    }

    pub(crate) fn delete(&mut self, id: &str) -> Result<Reply, Rejection> {
        let reply = self.command(Command::DeleteApp { id: path(id), force: true });
        self.settle();
        reply
    }

    pub(crate) fn kill(&mut self, tasks: KillTarget, scale: bool) -> Result<Reply, Rejection> {
        let reply = self.command(Command::KillTasks { tasks, scale, wipe: false, force: false });
        self.settle();
        reply
    }

    // --- time ------------------------------------------------------------------------------------

    /// Lets time pass, waking the apps whenever they want to be woken.
    pub(crate) fn advance(&mut self, seconds: u64) {
        let target = self.now.mono + Span::from_secs(seconds);
        self.settle();
        while self.now.mono < target {
            let filters = self.agents.values().map(|agent| agent.filtered);
            let next = filters
                .chain(self.apps.next_wakeup())
                .filter(|at| *at > self.now.mono)
                .min()
                .unwrap_or(target)
                .min(target);
            self.now = self.now + next.since(self.now.mono);
            self.feed(Event::Tick);
            self.settle();
        }
    }

    // --- the cluster -----------------------------------------------------------------------------

    /// Delivers everything that is on its way, and offers what is free, until nothing happens.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            if let Some(event) = self.inbox.pop_front() {
                self.feed(Event::Mesos(Box::new(event)));
            } else if !self.offer() {
                return;
            }
        }
        panic!("the apps and the cluster never come to rest");
    }

    /// One round of offers; false if there is nothing to offer to anybody.
    pub(crate) fn offer(&mut self) -> bool {
        if !self.connected || self.suppressed || self.died {
            return false;
        }
        let ready: Vec<String> = self
            .agents
            .values()
            .filter(|agent| agent.reachable && agent.filtered <= self.now.mono)
            .map(|agent| agent.id.clone())
            .collect();
        let offers: Vec<v1::Offer> = ready.iter().map(|id| self.offer_of(id)).collect();
        if offers.is_empty() {
            return false;
        }
        for id in ready {
            // Outstanding until answered.
            self.agents.get_mut(&id).unwrap().filtered = Mono::from_nanos(u64::MAX);
        }
        let event = scheduler::Event {
            r#type: Some(event::Type::Offers as i32),
            offers: Some(event::Offers { offers }),
            ..Default::default()
        };
        self.feed(Event::Mesos(Box::new(event)));
        true
    }

    pub(crate) fn used_ports(&self, agent: &str) -> BTreeSet<u64> {
        self.live_on(agent).flat_map(|task| ports_of(&task.info)).collect()
    }

    fn live_on<'a>(&'a self, agent: &'a str) -> impl Iterator<Item = &'a SimTask> {
        self.tasks.values().filter(move |task| task.agent == agent && !is_terminal(task.state))
    }

    fn offer_of(&mut self, id: &str) -> v1::Offer {
        self.next_offer += 1;
        let agent = self.agents[id].clone();
        let mut cpus = agent.cpus;
        let mut mem = agent.mem;
        for task in self.live_on(id) {
            cpus -= scalar_of(&task.info, "cpus");
            mem -= scalar_of(&task.info, "mem");
        }
        let used = self.used_ports(id);
        let free: tepui_types::Ranges =
            (agent.ports.0..=agent.ports.1).filter(|port| !used.contains(port)).collect();
        let range = free
            .iter()
            .map(|range| v1::value::Range { begin: range.begin(), end: range.end() })
            .collect();
        let attribute = |(name, text): &(String, String)| v1::Attribute {
            name: name.clone(),
            r#type: v1::value::Type::Text as i32,
            text: Some(v1::value::Text { value: text.clone() }),
            ..Default::default()
        };
        let ports = v1::Resource {
            name: "ports".into(),
            r#type: v1::value::Type::Ranges as i32,
            ranges: Some(v1::value::Ranges { range }),
            ..Default::default()
        };
        v1::Offer {
            id: v1::OfferId { value: format!("O{}@{id}", self.next_offer) },
            framework_id: v1::FrameworkId { value: "F".into() },
            agent_id: v1::AgentId { value: id.to_owned() },
            hostname: agent.hostname.clone(),
            resources: vec![scalar("cpus", cpus), scalar("mem", mem), ports],
            attributes: agent.attributes.iter().map(attribute).collect(),
            allocation_info: Some(v1::resource::AllocationInfo { role: Some("*".into()) }),
            ..Default::default()
        }
    }

    /// Gives an event to the apps and carries out what they want done, saves first.
    pub(crate) fn feed(&mut self, event: Event) {
        if self.died {
            return;
        }
        if let Event::Mesos(event) = &event
            && let Some(update) = &event.update
        {
            let status = &update.status;
            self.heard.insert(status.task_id.value.clone(), status.state());
        }
        let mut effects = Vec::new();
        self.apps.handle(self.now, event, &mut effects);
        let (first, then): (Vec<Effect>, Vec<Effect>) = effects
            .into_iter()
            .partition(|effect| matches!(effect, Effect::Save(_) | Effect::Forget(_)));
        // Records of one batch become durable together or not at all.
        if !first.is_empty() && self.dies() {
            return;
        }
        first.into_iter().for_each(|effect| self.carry_out(effect));
        for effect in then {
            if self.dies() {
                return;
            }
            self.carry_out(effect);
        }
    }

    fn dies(&mut self) -> bool {
        if let Some(left) = &mut self.dies_after {
            if *left == 0 {
                self.died = true;
                return true;
            }
            *left -= 1;
        }
        false
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Save(record) => {
                self.store.insert(record.key(), *record);
            }
            Effect::Forget(key) => {
                self.store.remove(&key);
            }
            Effect::Call(call) => self.called(*call),
            Effect::Reply { request, reply } => {
                self.replies.insert(request, reply.map(|reply| *reply));
            }
            Effect::Publish(event) => self.published.push(event.payload.clone()),
            Effect::Probe(probe) => {
                self.probes.insert(probe.id, *probe);
            }
            Effect::CancelProbe(id) => {
                self.probes.remove(&id);
            }
            Effect::Alarm(_) => self.alarms += 1,
            Effect::Halt(_) => self.halted = true,
        }
    }

    fn called(&mut self, call: Call) {
        match call.r#type() {
            call::Type::Subscribe => {
                self.connected = true;
                let subscribe = call.subscribe.as_ref().unwrap();
                self.suppressed = !subscribe.suppressed_roles.is_empty();
                let id = call.framework_id.as_ref().map_or("F-1", |id| &id.value).to_owned();
                self.framework = Some(id.clone());
                self.inbox.push_back(scheduler::Event {
                    r#type: Some(event::Type::Subscribed as i32),
                    subscribed: Some(event::Subscribed {
                        framework_id: v1::FrameworkId { value: id },
                        ..Default::default()
                    }),
                    ..Default::default()
                });
            }
            call::Type::Accept => self.accepted(call.accept.as_ref().unwrap()),
            call::Type::Decline => {
                let decline = call.decline.as_ref().unwrap();
                let seconds = decline.filters.as_ref().and_then(|f| f.refuse_seconds).unwrap();
                let until = self.now.mono + Span::from_secs_f64(seconds).unwrap();
                for offer in &decline.offer_ids {
                    self.filter(&offer.value, until);
                }
            }
            call::Type::Revive => {
                self.suppressed = false;
                let now = self.now.mono;
                self.agents.values_mut().for_each(|agent| agent.filtered = now);
            }
            call::Type::Suppress => self.suppressed = true,
            call::Type::Kill => {
                let id = call.kill.as_ref().unwrap().task_id.value.clone();
                self.kill_called(&id);
            }
            call::Type::Reconcile => self.reconcile(call.reconcile.as_ref().unwrap()),
            call::Type::Acknowledge => {
                self.acknowledged.insert(call.acknowledge.as_ref().unwrap().uuid.clone());
            }
            _ => {}
        }
        self.calls.push(call);
    }

    fn filter(&mut self, offer: &str, until: Mono) {
        let agent = offer.split_once('@').unwrap().1;
        if let Some(agent) = self.agents.get_mut(agent) {
            agent.filtered = until;
        }
    }

    fn accepted(&mut self, accept: &call::Accept) {
        for offer in &accept.offer_ids {
            self.filter(&offer.value, self.now.mono + Span::from_secs(5));
        }
        let launches = accept.operations.iter().filter_map(|operation| operation.launch.as_ref());
        let infos: Vec<v1::TaskInfo> =
            launches.flat_map(|launch| launch.task_infos.clone()).collect();
        for info in infos {
            let agent = info.agent_id.value.clone();
            let id = info.task_id.value.clone();
            let used = self.used_ports(&agent);
            assert!(ports_of(&info).iter().all(|port| !used.contains(port)), "a port given twice");
            assert!(!self.tasks.contains_key(&id), "task id {id} used twice");
            let state = v1::TaskState::TaskStaging;
            self.tasks.insert(id.clone(), SimTask { agent, state, info, healthy: None });
            if self.habit == Habit::Prompt {
                self.report(&id, v1::TaskState::TaskRunning);
            }
        }
    }

    fn kill_called(&mut self, id: &str) {
        if let Some(check) = self.before_kill.filter(|_| !self.killed.contains(id)) {
            check(self, id);
        }
        self.killed.insert(id.to_owned());
        if self.agents_unheard {
            return;
        }
        match self.tasks.get(id) {
            Some(task) if !is_terminal(task.state) => {
                if self.agents[&task.agent].reachable {
                    self.pending_kills.insert(id.to_owned());
                    if self.habit == Habit::Prompt {
                        self.report(id, v1::TaskState::TaskKilled);
                    }
                }
            }
            _ => self.push_status(id, v1::TaskState::TaskGone, None),
        }
    }

    fn reconcile(&mut self, reconcile: &call::Reconcile) {
        if self.agents_unheard {
            return;
        }
        if reconcile.tasks.is_empty() {
            let live: Vec<String> = self
                .tasks
                .iter()
                .filter(|(_, task)| !is_terminal(task.state))
                .map(|(id, _)| id.clone())
                .collect();
            live.iter().for_each(|id| self.tell(id, true));
        }
        for task in &reconcile.tasks {
            let id = &task.task_id.value;
            if self.tasks.contains_key(id) {
                self.tell(id, true);
            } else {
                self.push_status(id, v1::TaskState::TaskGone, None);
            }
        }
    }

    fn tell(&mut self, id: &str, reconciling: bool) {
        let task = &self.tasks[id];
        let reachable = self.agents.get(&task.agent).is_some_and(|agent| agent.reachable);
        let state = if reachable || is_terminal(task.state) {
            task.state
        } else {
            v1::TaskState::TaskUnreachable
        };
        let reason = reconciling.then_some(v1::task_status::Reason::Reconciliation);
        self.push_status(id, state, reason);
    }

    /// The agent reports a state.
    pub(crate) fn report(&mut self, id: &str, state: v1::TaskState) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.state = state;
        let agent = task.agent.clone();
        if is_terminal(state) {
            self.pending_kills.remove(id);
            let now = self.now.mono;
            if let Some(agent) = self.agents.get_mut(&agent)
                && agent.filtered != Mono::from_nanos(u64::MAX)
            {
                agent.filtered = now;
            }
        }
        self.push_status(id, state, None);
    }

    pub(crate) fn push_status(
        &mut self,
        id: &str,
        state: v1::TaskState,
        reason: Option<v1::task_status::Reason>,
    ) {
        self.next_uuid += 1;
        let task = self.tasks.get(id);
        let status = v1::TaskStatus {
            task_id: v1::TaskId { value: id.to_owned() },
            state: state as i32,
            agent_id: task.map(|task| v1::AgentId { value: task.agent.clone() }),
            healthy: task.and_then(|task| task.healthy),
            reason: reason.map(|reason| reason as i32),
            uuid: reason.is_none().then(|| self.next_uuid.to_be_bytes().to_vec()),
            message: Some("told by the rig".into()),
            ..Default::default()
        };
        self.inbox.push_back(scheduler::Event {
            r#type: Some(event::Type::Update as i32),
            update: Some(event::Update { status }),
            ..Default::default()
        });
    }

    /// Loses contact with an agent.
    pub(crate) fn partition(&mut self, name: &str) {
        let id = format!("S-{name}");
        self.agents.get_mut(&id).unwrap().reachable = false;
        let lost: Vec<String> = self.live_ids_on(&id);
        lost.iter().for_each(|task| self.tell(task, false));
        self.settle();
    }

    /// Gets contact back.
    pub(crate) fn heal(&mut self, name: &str) {
        let id = format!("S-{name}");
        let agent = self.agents.get_mut(&id).unwrap();
        agent.reachable = true;
        agent.filtered = self.now.mono;
        let back: Vec<String> = self.live_ids_on(&id);
        back.iter().for_each(|task| self.tell(task, false));
        self.settle();
    }

    fn live_ids_on(&self, agent: &str) -> Vec<String> {
        self.tasks
            .iter()
            .filter(|(_, task)| task.agent == agent && !is_terminal(task.state))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Answers every open probe.
    pub(crate) fn answer_probes(&mut self, outcome: impl Fn(&Probe) -> ProbeOutcome) {
        for (id, probe) in std::mem::take(&mut self.probes) {
            self.feed(Event::Probed { probe: id, outcome: outcome(&probe) });
        }
        self.settle();
    }

    /// The process dies and another one takes over what was saved. What was on its way is lost, as
    /// far as the agents do not repeat it.
    pub(crate) fn fail_over(&mut self) {
        self.died = false;
        self.dies_after = None;
        self.connected = false;
        self.suppressed = false;
        let unheard: Vec<scheduler::Event> = self.inbox.drain(..).collect();
        self.probes.clear();
        self.seed += 1;
        self.apps = Apps::new(self.config.clone(), Entropy::seeded(self.seed));
        self.now = self.now + Span::from_secs(1);
        let now = self.now.mono;
        self.agents.values_mut().for_each(|agent| agent.filtered = now);
        let records = self.store.values().cloned().collect();
        self.feed(Event::Elected { records });
        // Agents repeat what was not acknowledged.
        for event in unheard {
            if event.r#type() == event::Type::Update {
                self.inbox.push_back(event);
            }
        }
        self.settle();
    }

    // --- what tests look at ----------------------------------------------------------------------

    pub(crate) fn live_ids(&self) -> Vec<String> {
        self.tasks
            .iter()
            .filter(|(_, task)| !is_terminal(task.state))
            .map(|(id, _)| id.clone())
            .collect()
    }

    pub(crate) fn live_of(&self, app: &str) -> Vec<String> {
        let prefix = format!("{}.", path(app).safe());
        self.live_ids().into_iter().filter(|id| id.starts_with(&prefix)).collect()
    }

    pub(crate) fn running(&self, app: &str) -> u32 {
        self.apps.counts(&path(app)).tasks_running
    }

    pub(crate) fn tasks_of(&self, app: &str) -> Vec<Task> {
        self.apps.tasks(&path(app))
    }

    pub(crate) fn deploying(&self) -> bool {
        !self.apps.deployments().is_empty()
    }

    pub(crate) fn count_calls(&self, kind: call::Type) -> usize {
        self.calls.iter().filter(|call| call.r#type() == kind).count()
    }

    pub(crate) fn saw(&self, event_type: &str) -> usize {
        self.published.iter().filter(|payload| payload.event_type() == event_type).count()
    }

    pub(crate) fn version_of(&self, app: &str) -> Version {
        self.apps.app(&path(app)).expect("the app exists").version
    }

    pub(crate) fn env_of(&self, task: &str) -> BTreeMap<String, String> {
        let command = self.tasks[task].info.command.as_ref().unwrap();
        let variables = &command.environment.as_ref().unwrap().variables;
        variables.iter().map(|v| (v.name.clone(), v.value.clone().unwrap_or_default())).collect()
    }
}

pub(crate) fn path(text: &str) -> AppId {
    PathId::parse(text).unwrap()
}

pub(crate) fn group(id: &str, json: &str) -> Result<GroupUpdate, Rejection> {
    decode_group_update(json.as_bytes(), &path(id), false, &Settings::default())
}

pub(crate) fn deployment_of(reply: &Result<Reply, Rejection>) -> Uuid {
    reply.as_ref().expect("accepted").deployment().expect("a deployment")
}

pub(crate) fn is_terminal(state: v1::TaskState) -> bool {
    use v1::TaskState as S;
    matches!(
        state,
        S::TaskFinished
            | S::TaskFailed
            | S::TaskKilled
            | S::TaskError
            | S::TaskLost
            | S::TaskDropped
            | S::TaskGone
            | S::TaskGoneByOperator
    )
}

pub(crate) fn ports_of(info: &v1::TaskInfo) -> Vec<u64> {
    let ranges = info.resources.iter().filter_map(|resource| resource.ranges.as_ref());
    ranges.flat_map(|ranges| &ranges.range).flat_map(|range| range.begin..=range.end).collect()
}

pub(crate) fn scalar_of(info: &v1::TaskInfo, name: &str) -> f64 {
    let matching = info.resources.iter().filter(|resource| resource.name == name);
    matching.filter_map(|resource| resource.scalar.as_ref()).map(|scalar| scalar.value).sum()
}

fn scalar(name: &str, value: f64) -> v1::Resource {
    v1::Resource {
        name: name.into(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value: (value * 1000.0).round() / 1000.0 }),
        ..Default::default()
    }
}

pub(crate) const RUNNING: TaskState = TaskState::Running;
