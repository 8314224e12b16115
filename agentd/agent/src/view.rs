//! What others read: `/state`, GET_TASKS, GET_EXECUTORS, `/monitor/statistics`, metrics.

use tepui_types::{AgentId, ContainerId, FrameworkId, Now, TaskState, Term};

use crate::counters::Counters;
use crate::machine::Agent;
use crate::state::{Executor, Framework, Phase, Run, Task};
use crate::{Config, Exit};

/// Where a task is, in the words of GET_TASKS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It waits for its executor.
    Queued,
    /// Its executor, or its own process, has it.
    Launched,
    /// It is terminal, and an update of it is not acknowledged.
    Terminated,
    /// It is terminal and acknowledged.
    Completed,
}

/// How many tasks and executors are in which state now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Tasks in TASK_STAGING.
    pub staging: u64,
    /// Tasks in TASK_STARTING.
    pub starting: u64,
    /// Tasks in TASK_RUNNING.
    pub running: u64,
    /// Tasks in TASK_KILLING.
    pub killing: u64,
    /// Executors that have not registered.
    pub executors_registering: u64,
    /// Executors that run.
    pub executors_running: u64,
    /// Executors that were told to end.
    pub executors_terminating: u64,
    /// Frameworks that have anything here.
    pub frameworks_active: u64,
}

impl Agent {
    /// The agent's id, once it registered.
    pub fn id(&self) -> Option<&AgentId> {
        self.book.agent.as_ref()
    }

    /// Whether the control plane has answered the registration on the present link.
    pub fn is_registered(&self) -> bool {
        self.link.is_registered()
    }

    /// Whether executors still have time to subscribe again after a restart.
    pub fn is_recovering(&self) -> bool {
        self.window.is_some()
    }

    /// When the daemon started.
    pub fn started(&self) -> Now {
        self.started
    }

    /// The highest term seen.
    pub fn term(&self) -> Term {
        self.book.term
    }

    /// What the operator decided.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What was counted since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Every framework that has something here or had it lately; [`Framework::is_active`] tells
    /// the two apart (`frameworks` and `completed_frameworks` of `/state`).
    pub fn frameworks(&self) -> impl Iterator<Item = &Framework> {
        self.book.frameworks.values()
    }

    /// One framework.
    pub fn framework(&self, id: &FrameworkId) -> Option<&Framework> {
        self.book.frameworks.get(id)
    }

    /// One run, while its sandbox exists.
    pub fn run(&self, id: &ContainerId) -> Option<&Run> {
        self.book.runs.get(id)
    }

    /// Every run whose sandbox exists, those of former frameworks too.
    pub fn runs(&self) -> impl Iterator<Item = (&ContainerId, &Run)> {
        self.book.runs.iter()
    }

    /// Runs that are not over: what is measured and looked at for open ports.
    pub fn live_runs(&self) -> impl Iterator<Item = (&ContainerId, &Run)> {
        self.runs().filter(|(_, run)| run.exit.is_none())
    }

    /// The executor and framework of a run that is not over, or whose tasks have unacknowledged
    /// updates.
    pub fn owner(&self, run: &ContainerId) -> Option<(&Framework, &Executor)> {
        self.book.owner(run)
    }

    /// How an executor's run ended, when it is over and its sandbox exists.
    pub fn exit_of(&self, executor: &Executor) -> Option<&Exit> {
        self.book.runs.get(&executor.run)?.exit.as_ref().map(|(exit, _)| exit)
    }

    /// How many sandboxes wait for their removal (`gc/path_removals_pending`).
    pub fn garbage_count(&self) -> usize {
        self.book.garbage.len()
    }

    /// Counts what there is; takes as long as there are tasks.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for framework in self.frameworks().filter(|framework| framework.is_active()) {
            census.frameworks_active += 1;
            for task in framework.tasks.values() {
                match task.state {
                    TaskState::Staging => census.staging += 1,
                    TaskState::Starting => census.starting += 1,
                    TaskState::Running => census.running += 1,
                    TaskState::Killing => census.killing += 1,
                    _ => {}
                }
            }
            for run in framework.executors.values().filter_map(|one| self.run(&one.run)) {
                match run.phase {
                    Phase::Preparing | Phase::Launching | Phase::Registering => {
                        census.executors_registering += 1;
                    }
                    Phase::Running => census.executors_running += 1,
                    Phase::Terminating => census.executors_terminating += 1,
                    Phase::Over => {}
                }
            }
        }
        census
    }
}

impl Framework {
    /// Where one of [`Framework::tasks`] is.
    pub fn place(&self, task: &Task) -> Place {
        let alone = self.executors.get(&task.executor).is_some_and(|one| !one.is_custom());
        if task.is_terminal() {
            Place::Terminated
        } else if task.delivered || (alone && task.state != TaskState::Staging) {
            Place::Launched
        } else {
            Place::Queued
        }
    }

    /// Tasks that are terminal and acknowledged, as far as they are remembered.
    pub fn completed_tasks(&self) -> impl Iterator<Item = &Task> {
        let shelved = self.completed.iter();
        shelved.chain(self.executors.values()).flat_map(|executor| &executor.completed_tasks)
    }
}
