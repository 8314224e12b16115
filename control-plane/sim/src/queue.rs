//! What is going to happen, in order of time.

use std::collections::BTreeMap;

use tepui_allocator::Plan;
use tepui_link::{Directive, Report};
use tepui_types::{ContainerId, LinkId, Mono, RequestId, StreamId};
use tepui_wire::v1::{executor, scheduler};

/// Which run of a process something belongs to: what was meant for an earlier one is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Life(pub(crate) u64);

/// One thing that is going to happen.
#[derive(Debug)]
pub(crate) enum Action {
    ControlStarts,
    ControlTick(Life),
    AllocatorRound(Life),
    Planned(Life, Box<Plan>),
    ReportArrives {
        link: LinkId,
        report: Box<Report>,
    },
    LinkGoneAtControl {
        link: LinkId,
    },
    LinkAttempt {
        host: usize,
        life: Life,
        attempt: u64,
    },
    LinkUpAtAgent {
        link: LinkId,
    },
    DirectiveArrives {
        link: LinkId,
        directive: Box<Directive>,
    },
    LinkGoneAtAgent {
        link: LinkId,
    },
    AgentStarts {
        host: usize,
    },
    AgentTick {
        host: usize,
        life: Life,
    },
    Fetched {
        host: usize,
        life: Life,
        run: ContainerId,
        outcome: Result<(), String>,
    },
    ProcessStarts {
        host: usize,
        life: Life,
        run: ContainerId,
    },
    ProcessEnds {
        host: usize,
        pid: u32,
        exit: tepui_agent::Exit,
    },
    ExecutorStep {
        host: usize,
        pid: u32,
    },
    /// `None` is the end of the stream.
    ExecutorHears {
        host: usize,
        pid: u32,
        stream: StreamId,
        event: Option<Box<executor::Event>>,
    },
    ExecutorSays {
        host: usize,
        life: Life,
        pid: u32,
        stream: StreamId,
        call: Box<executor::Call>,
    },
    AgentProbed {
        host: usize,
        life: Life,
        probe: tepui_agent::ProbeId,
        outcome: tepui_agent::ProbeOutcome,
    },
    AppsProbed {
        life: Life,
        probe: tepui_apps::ProbeId,
        outcome: tepui_apps::ProbeOutcome,
    },
    CallArrives {
        scheduler: usize,
        life: Life,
        stream: Option<StreamId>,
        request: RequestId,
        call: Box<scheduler::Call>,
    },
    StreamOpens {
        scheduler: usize,
        life: Life,
        stream: StreamId,
    },
    StreamEvent {
        scheduler: usize,
        stream: StreamId,
        event: Box<scheduler::Event>,
    },
    StreamGone {
        scheduler: usize,
        stream: StreamId,
    },
    StreamGoneAtControl {
        stream: StreamId,
    },
    SchedulerStarts {
        scheduler: usize,
    },
    SchedulerStep {
        scheduler: usize,
        life: Life,
    },
    JobsStep {
        scheduler: usize,
        life: Life,
    },
    ClientStep,
    FaultStep,
    CutEnds {
        host: usize,
        cut: u64,
    },
    Script(crate::script::Deed),
}

/// The queue of actions; those of one moment happen in the order in which they were put in.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    actions: BTreeMap<(Mono, u64), Action>,
    made: u64,
}

impl Queue {
    pub(crate) fn put(&mut self, at: Mono, action: Action) {
        self.made += 1;
        self.actions.insert((at, self.made), action);
    }

    pub(crate) fn next_at(&self) -> Option<Mono> {
        self.actions.keys().next().map(|(at, _)| *at)
    }

    pub(crate) fn take(&mut self) -> Option<(Mono, Action)> {
        self.actions.pop_first().map(|((at, _), action)| (at, action))
    }
}
