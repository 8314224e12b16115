//! Whatever happens in whatever order, and wherever the daemon dies: a task has one process at
//! most (I-5), every saved update arrives (I-7), in order and one at a time (I-8), never after its
//! acknowledgement (I-9); terminal is final (I-10); restarts touch no task (I-19); a reboot leaves
//! none (I-20).
#![allow(clippy::unwrap_used)]

mod rig;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rig::{Moment, Rig, command, custom, framework_id, secs, task_id, uuid_of};
use tepui_agent::{ContainerCall, Event, Exit};
use tepui_link::{Directive, Order, Report};
use tepui_types::{TaskState, Term, Uuid};
use tepui_wire::v1::{self, task_status::Reason};

/// One step of a story.
#[derive(Clone, Debug)]
enum Step {
    Launch {
        task: u8,
        fetches: bool,
    },
    LaunchCustom {
        task: u8,
    },
    LaunchGroup {
        task: u8,
    },
    LaunchPod {
        task: u8,
        fetches: bool,
    },
    /// Somebody launches a container below a process, or alone.
    Ask {
        process: u8,
        alone: bool,
    },
    /// Somebody removes the newest container that a call launched.
    Remove,
    Kill {
        task: u8,
    },
    /// The launcher's next answer, or that it failed.
    Answer {
        index: u8,
        works: bool,
    },
    Exit {
        process: u8,
        code: u8,
    },
    ExitUnseen {
        process: u8,
    },
    Subscribe,
    Says {
        task: u8,
        state: u8,
        uuid: u8,
    },
    Acknowledge {
        seen: u8,
    },
    Repeat,
    Connect,
    Disconnect,
    Advance {
        secs: u16,
    },
    Restart,
    Reboot,
    Compact,
    /// The daemon dies in the middle of what comes next.
    Crash {
        saved: u8,
        acted: u8,
        next: Box<Self>,
    },
    CrashAtStart {
        saved: u8,
        acted: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let leaf = prop_oneof![
        4 => (0..4_u8, any::<bool>()).prop_map(|(task, fetches)| Step::Launch { task, fetches }),
        2 => (4..7_u8).prop_map(|task| Step::LaunchCustom { task }),
        1 => (7..8_u8).prop_map(|task| Step::LaunchGroup { task }),
        3 => (9..13_u8, any::<bool>())
            .prop_map(|(task, fetches)| Step::LaunchPod { task, fetches }),
        2 => (any::<u8>(), prop::bool::weighted(0.3))
            .prop_map(|(process, alone)| Step::Ask { process, alone }),
        1 => Just(Step::Remove),
        2 => (0..14_u8).prop_map(|task| Step::Kill { task }),
        8 => (any::<u8>(), prop::bool::weighted(0.9))
            .prop_map(|(index, works)| Step::Answer { index, works }),
        3 => (any::<u8>(), 0..3_u8).prop_map(|(process, code)| Step::Exit { process, code }),
        1 => any::<u8>().prop_map(|process| Step::ExitUnseen { process }),
        2 => Just(Step::Subscribe),
        3 => (4..9_u8, 0..4_u8, 0..6_u8)
            .prop_map(|(task, state, uuid)| Step::Says { task, state, uuid }),
        6 => any::<u8>().prop_map(|seen| Step::Acknowledge { seen }),
        1 => Just(Step::Repeat),
        4 => Just(Step::Connect),
        1 => Just(Step::Disconnect),
        3 => (0..30_u16).prop_map(|secs| Step::Advance { secs }),
        2 => Just(Step::Restart),
        1 => Just(Step::Compact),
        1 => (0..4_u8, 0..6_u8).prop_map(|(saved, acted)| Step::CrashAtStart { saved, acted }),
    ];
    let leaf = prop_oneof![40 => leaf, 1 => Just(Step::Reboot)];
    prop_oneof![
        4 => leaf.clone(),
        1 => (0..6_u8, 0..10_u8, leaf).prop_map(|(saved, acted, next)| Step::Crash {
            saved,
            acted,
            next: Box::new(next),
        }),
    ]
}

/// A story and what to remember of it.
struct Story {
    rig: Rig,
    last_order: Option<Order>,
    killed: BTreeSet<String>,
    /// Tasks sent to executors, each time.
    delivered: Vec<String>,
    rebooted: bool,
    /// Where the daemon dies in the next event, if it does.
    crash: Option<(usize, usize)>,
    stream: Option<tepui_types::StreamId>,
    /// Containers that calls launched.
    asked: Vec<tepui_types::ContainerId>,
}

fn name(task: u8) -> String {
    format!("t{task}")
}

/// The same task, with an artifact or without.
fn fetching(mut task: v1::TaskInfo, fetches: bool) -> v1::TaskInfo {
    let uri = v1::command_info::Uri { value: "file:///x".into(), ..Default::default() };
    task.command.as_mut().unwrap().uris = fetches.then_some(uri).into_iter().collect();
    task
}

/// Tasks of the pod: where one ends badly, its group is ended by force.
const POD: std::ops::Range<u8> = 9..14;

impl Story {
    fn begin() -> Self {
        let mut rig = Rig::registered();
        rig.acknowledges = false;
        Self {
            rig,
            last_order: None,
            killed: BTreeSet::new(),
            delivered: Vec::new(),
            rebooted: false,
            crash: None,
            stream: None,
            asked: Vec::new(),
        }
    }

    fn happens(&mut self, event: Event) {
        match self.crash.take() {
            None => self.rig.event(event),
            Some((saved, acted)) => {
                self.rig.crash_in(event, saved, acted);
                self.stream = None;
            }
        }
        self.note_deliveries();
    }

    fn note_deliveries(&mut self) {
        for events in self.rig.streams.values_mut() {
            for event in std::mem::take(events) {
                let single = event.launch.into_iter().map(|launch| launch.task);
                let group = event.launch_group.into_iter().flat_map(|one| one.task_group.tasks);
                self.delivered.extend(single.chain(group).map(|task| task.task_id.value));
            }
        }
    }

    fn order(&mut self, order: Order) {
        if !self.rig.link {
            return;
        }
        self.last_order = Some(order.clone());
        self.rig.generation += 1;
        let (term, generation) = (Term(self.rig.term), self.rig.generation);
        self.happens(Event::Directive(Box::new(Directive { term, generation, order })));
    }

    fn launch(&mut self, tasks: Vec<v1::TaskInfo>, group: Option<v1::ExecutorInfo>) {
        let order = self.rig.launch_order(tasks, group);
        self.order(order);
    }

    fn takes(&mut self, step: Step) {
        match step {
            Step::Launch { task, fetches } => {
                self.launch(vec![fetching(command(&name(task)), fetches)], None);
            }
            Step::LaunchCustom { task } => self.launch(vec![custom(&name(task))], None),
            Step::LaunchGroup { task } => {
                let tasks = vec![command(&name(task)), command(&name(task + 1))];
                self.launch(tasks, Some(rig::custom_executor()));
            }
            Step::LaunchPod { task, fetches } => {
                let first = fetching(command(&name(task)), fetches);
                let tasks = vec![first, command(&name(task + 1))];
                self.launch(tasks, Some(rig::pod_executor()));
            }
            Step::Ask { process, alone } => self.asks(process, alone),
            Step::Remove => {
                if let Some(container) = self.asked.last().cloned() {
                    self.calls(ContainerCall::Remove(container));
                }
            }
            Step::Kill { task } => {
                if self.rig.link {
                    self.killed.insert(name(task));
                }
                let (framework, task) = (framework_id(), task_id(&name(task)));
                self.order(Order::Kill { framework, task, kill_policy: None });
            }
            Step::Answer { index, works } => self.answer(index, works),
            Step::Exit { process, code } => {
                let exit = Exit::Code(code.into());
                if let Some(run) = self.live_process(process) {
                    self.rig.host.get_mut(&run).unwrap().exit = Some(exit.clone());
                    self.happens(Event::RunExited { run, exit, certificate: None });
                }
            }
            Step::ExitUnseen { process } => {
                if let Some(run) = self.live_process(process) {
                    self.rig.host.get_mut(&run).unwrap().exit = Some(Exit::Code(0));
                    self.restarts();
                }
            }
            Step::Subscribe => {
                let stream = self.rig.subscribe("e1");
                self.stream = Some(stream);
                self.note_deliveries();
            }
            Step::Says { task, state, uuid } => {
                let states = [
                    TaskState::Starting,
                    TaskState::Running,
                    TaskState::Finished,
                    TaskState::Failed,
                ];
                let uuid = task * 16 + uuid;
                self.rig.executor_says(&name(task), states[usize::from(state)], uuid);
                self.note_deliveries();
            }
            Step::Acknowledge { seen } => self.acknowledge(seen),
            Step::Repeat => {
                // The same order once more, as a leader that is not sure would send it.
                if let Some(order) = self.last_order.clone() {
                    self.order(order);
                }
            }
            Step::Connect => self.rig.connect(),
            Step::Disconnect => self.rig.disconnect(),
            Step::Advance { secs: span } => {
                let answers: Vec<_> = self.rig.inbox.drain(..).collect();
                self.rig.advance(secs(span.into()));
                self.rig.inbox.extend(answers);
            }
            Step::Restart => self.restarts(),
            Step::Reboot => {
                self.rebooted = true;
                self.rig.boot.push('+');
                self.rig.host.clear();
                self.restarts();
            }
            Step::Compact => self.rig.disk = self.rig.agent.snapshot(),
            Step::Crash { saved, acted, next } => {
                self.crash = Some((saved.into(), acted.into()));
                self.takes(*next);
                self.crash = None;
            }
            Step::CrashAtStart { saved, acted } => {
                self.rig.fresh();
                let event = self.rig.start_event();
                self.rig.crash_in(event, saved.into(), acted.into());
                self.stream = None;
            }
        }
    }

    /// Every container has a name of its own.
    fn asks(&mut self, process: u8, alone: bool) {
        let number = self.asked.len();
        let text = match self.live_process(process).filter(|_| !alone) {
            Some(above) => format!("{above}.n{number}"),
            None => format!("alone{number}"),
        };
        let container = tepui_types::ContainerId::parse(&text).unwrap();
        self.asked.push(container.clone());
        let launch = tepui_agent::ContainerLaunch {
            container,
            command: command("x").command.unwrap(),
            info: None,
            resources: Vec::new(),
            limits: BTreeMap::new(),
        };
        self.calls(ContainerCall::Launch(Box::new(launch)));
    }

    fn calls(&mut self, call: ContainerCall) {
        let request = tepui_types::RequestId(1 << 40);
        self.happens(Event::ContainerCall { request, call: Box::new(call) });
    }

    fn restarts(&mut self) {
        self.rig.restart_silently();
        self.stream = None;
    }

    fn live_process(&self, index: u8) -> Option<tepui_types::ContainerId> {
        let waits = |run: &tepui_types::ContainerId| {
            self.rig
                .inbox
                .iter()
                .any(|event| matches!(event, Event::RunStarted { run: other, .. } if other == run))
        };
        let live: Vec<_> = self
            .rig
            .host
            .iter()
            .filter(|(run, one)| one.exit.is_none() && !waits(run))
            .map(|(run, _)| run.clone())
            .collect();
        live.get(usize::from(index) % live.len().max(1)).cloned()
    }

    fn answer(&mut self, index: u8, works: bool) {
        if self.rig.inbox.is_empty() {
            return;
        }
        let index = usize::from(index) % self.rig.inbox.len();
        let event = self.rig.inbox.remove(index).unwrap();
        let event = match event {
            Event::Fetched { run, .. } if !works => {
                Event::Fetched { run, outcome: Err("no".into()) }
            }
            Event::RunStarted { run, .. } if !works => {
                // A start that fails leaves nothing behind.
                self.rig.host.remove(&run);
                Event::RunStarted { run, outcome: Err("no".into()) }
            }
            other => other,
        };
        self.happens(event);
    }

    fn acknowledge(&mut self, seen: u8) {
        let sent: Vec<_> = self
            .rig
            .timeline
            .iter()
            .filter_map(|moment| match moment {
                Moment::Sent(task, uuid) => Some((task.clone(), *uuid)),
                _ => None,
            })
            .collect();
        if sent.is_empty() {
            return;
        }
        // Mostly the newest.
        let back = usize::from(seen) % sent.len().min(4);
        let (task, update) = sent[sent.len() - 1 - back].clone();
        self.order(Order::Acknowledge { framework: framework_id(), task: task_id(&task), update });
    }

    /// Peace: everything answers, everything is acknowledged, every process ends.
    fn calms_down(&mut self) {
        self.crash = None;
        self.rig.acknowledges = true;
        self.rig.settle();
        self.rig.connect();
        self.rig.advance(secs(120));
        self.note_deliveries();
        if !self.rig.agent.is_registered() {
            self.rig.connect();
        }
        while let Some(run) = self.live_process(0) {
            let exit = Exit::Code(0);
            self.rig.host.get_mut(&run).unwrap().exit = Some(exit.clone());
            self.rig.event(Event::RunExited { run, exit, certificate: None });
            self.rig.settle();
        }
        self.rig.advance(secs(1200));
    }
}

fn no_task_has_two_processes(story: &Story) {
    let mut commands = story.rig.witness.iter().filter(|(id, _)| id != "e1").collect::<Vec<_>>();
    commands.sort();
    for pair in commands.windows(2) {
        assert_ne!(pair[0].0, pair[1].0, "I-5: {} has two processes", pair[0].0);
    }
    let mut delivered = story.delivered.clone();
    delivered.sort();
    for pair in delivered.windows(2) {
        assert_ne!(pair[0], pair[1], "I-5: {} was sent twice to its executor", pair[0]);
    }
}

fn updates_arrive_in_order(story: &Story) {
    let mut saved: BTreeMap<&str, Vec<Uuid>> = BTreeMap::new();
    let mut first_sent: BTreeMap<&str, Vec<Uuid>> = BTreeMap::new();
    let mut acknowledged = BTreeSet::new();
    for moment in &story.rig.timeline {
        match moment {
            Moment::Saved(task, uuid, _) => saved.entry(task).or_default().push(*uuid),
            Moment::Acknowledged(uuid) => {
                acknowledged.insert(*uuid);
            }
            Moment::Sent(task, uuid) => {
                assert!(!acknowledged.contains(uuid), "I-9: {uuid} is sent after it was taken");
                let sent = first_sent.entry(task).or_default();
                if !sent.contains(uuid) {
                    let all_taken = sent.iter().all(|one| acknowledged.contains(one));
                    assert!(all_taken, "I-8: the next of {task} goes out before its turn");
                    sent.push(*uuid);
                }
            }
        }
    }
    for (task, uuids) in saved {
        let sent = first_sent.get(task).cloned().unwrap_or_default();
        assert_eq!(sent, uuids, "I-7, I-8: what was saved of {task} arrived, in order");
    }
}

fn terminal_is_final(story: &Story) {
    let mut ends: BTreeMap<&str, Uuid> = BTreeMap::new();
    for report in &story.rig.reports {
        let Report::Update { status, .. } = report else { continue };
        // A new launch under an old id is refused; that is not the old task's end.
        if status.reason == Some(Reason::TaskInvalid.into()) {
            continue;
        }
        let task = status.task_id.value.as_str();
        let state = tepui_link::codec::task_state(status.state).unwrap();
        let uuid = uuid_of(status);
        if let Some(end) = ends.get(task) {
            assert_eq!(*end, uuid, "I-10: {task} says something after its end");
        } else if state.is_terminal() {
            ends.insert(task, uuid);
        }
    }
}

fn nothing_is_left(story: &Story) {
    assert!(story.rig.host.is_empty(), "every process is over and its records are discarded");
    for framework in story.rig.agent.frameworks() {
        assert!(framework.tasks.is_empty(), "every task is over: {:?}", framework.tasks.keys());
        assert!(framework.executors.is_empty());
    }
    assert_eq!(story.rig.agent.live_runs().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 800,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_promises_hold_whatever_happens(steps in prop::collection::vec(step(), 1..60)) {
        let mut story = Story::begin();
        for step in steps {
            let lives = |rig: &Rig| {
                let live = rig.host.iter().filter(|(_, one)| one.exit.is_none());
                live.map(|(run, one)| (run.clone(), one.pid)).collect::<BTreeMap<_, _>>()
            };
            let before = lives(&story.rig);
            let restart = matches!(step, Step::Restart);
            story.takes(step);
            if restart {
                prop_assert_eq!(before, lives(&story.rig), "I-19");
            }
        }
        // Only what was asked for is ever ended by force.
        let in_pod = |id: &str| POD.map(name).any(|one| one == id);
        let asked = |id: &str| story.asked.iter().any(|one| one.as_str() == id);
        let alone = |id: &str| id != "e1" && !in_pod(id) && !asked(id);
        for (executor, run) in story.rig.witness.iter().filter(|(id, _)| alone(id)) {
            if let Some(one) = story.rig.host.get(run) && !story.killed.contains(executor) {
                prop_assert_eq!((one.terminated, one.killed), (0, 0), "I-19: {} was ended", executor);
            }
        }
        // What a call launched ends with what it is below, and with nothing else.
        for one in &story.asked {
            let lives = |run: &str| {
                let run = tepui_types::ContainerId::parse(run).unwrap();
                story.rig.agent.run(&run).is_some_and(|run| run.exit.is_none())
            };
            let above = one.as_str().match_indices('.').map(|(at, _)| &one.as_str()[..at]);
            let over = above.into_iter().any(|above| !lives(above));
            if let Some(process) = story.rig.host.get(one).filter(|process| process.exit.is_none()) {
                let waits = story.rig.inbox.iter().any(
                    |event| matches!(event, Event::RunStarted { run, .. } if run == one),
                );
                prop_assert!(waits || over == (process.killed > 0), "{}", one);
            }
        }
        story.calms_down();
        no_task_has_two_processes(&story);
        updates_arrive_in_order(&story);
        terminal_is_final(&story);
        nothing_is_left(&story);
    }

    #[test]
    fn a_snapshot_always_means_the_same(steps in prop::collection::vec(step(), 1..60)) {
        let mut story = Story::begin();
        for step in steps {
            story.takes(step);
        }
        let snapshot = story.rig.agent.snapshot();
        let mut copy = Rig::started();
        copy.boot.clone_from(&story.rig.boot);
        copy.disk.clone_from(&snapshot);
        copy.host.clone_from(&story.rig.host);
        // A daemon that starts from the snapshot and one that starts from everything do the same.
        let mut other = Rig::started();
        other.boot.clone_from(&story.rig.boot);
        other.disk.clone_from(&story.rig.disk);
        other.host.clone_from(&story.rig.host);
        copy.now = story.rig.now;
        other.now = story.rig.now;
        copy.fresh();
        other.fresh();
        let (first, second) = (copy.start_event(), other.start_event());
        let (first, second) = (copy.effects_of(first), other.effects_of(second));
        prop_assert!(first == second, "{:#?}\n\nbut\n\n{:#?}", first, second);
        prop_assert!(copy.agent.snapshot() == other.agent.snapshot());
    }
}
