//! Kills on their way: so many at once, each repeated until the task has ended
//! (`marathon-behaviour.md` section 9.4).

use std::collections::{BTreeMap, VecDeque};

use tepui_marathon::TaskId;
use tepui_types::Mono;
use tepui_wire::v1;
use tepui_wire::v1::scheduler::call;

use crate::machine::Apps;
use crate::out::Out;
use crate::session::framework_id;
use crate::timers::Timer;

/// Kills that wait, and kills that were sent and are not confirmed.
#[derive(Debug, Default)]
pub(crate) struct Kills {
    waiting: VecDeque<TaskId>,
    sent: BTreeMap<TaskId, Sent>,
    pub(crate) timer: Option<Mono>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    /// When; `None` when the stream broke since.
    at: Option<Mono>,
    attempts: u32,
}

impl Kills {
    /// Asks for the end of a task, once per task.
    pub(crate) fn request(&mut self, task: &TaskId) {
        self.waiting.push_back(task.clone());
    }

    /// The task has ended.
    pub(crate) fn done(&mut self, task: &TaskId) {
        if self.sent.remove(task).is_none() {
            self.waiting.retain(|waiting| waiting != task);
        }
    }

    /// The stream broke: what was sent may be lost.
    pub(crate) fn forget_sent(&mut self) {
        self.sent.values_mut().for_each(|sent| sent.at = None);
    }

    /// The task was not known to live when its kill was sent: that one is sent again.
    pub(crate) fn forget_sent_of(&mut self, task: &TaskId) {
        if let Some(sent) = self.sent.get_mut(task) {
            sent.at = None;
        }
    }

    /// Kills sent and not confirmed.
    pub(crate) fn in_flight(&self) -> usize {
        self.sent.len()
    }

    /// Attempts at the kills in flight.
    pub(crate) fn attempts(&self) -> u64 {
        self.sent.values().map(|sent| u64::from(sent.attempts)).sum()
    }
}

impl Apps {
    /// Sends what may be sent and repeats what was not confirmed in time.
    pub(crate) fn pump_kills(&mut self, out: &mut Out<'_>) {
        if !self.session.connected {
            return;
        }
        let retry = self.config.kill_retry;
        let now = out.mono();
        let mut due: Vec<TaskId> = self
            .kills
            .sent
            .iter()
            .filter(|(_, sent)| sent.at.is_none_or(|at| at + retry <= now))
            .map(|(task, _)| task.clone())
            .collect();
        while self.kills.sent.len() < self.config.kill_chunk_size {
            let Some(task) = self.kills.waiting.pop_front() else { break };
            self.kills.sent.insert(task.clone(), Sent { at: None, attempts: 0 });
            due.push(task);
        }
        for task in due {
            let Some(sent) = self.kills.sent.get_mut(&task) else { continue };
            sent.at = Some(now);
            sent.attempts += 1;
            let repeated = sent.attempts > 1;
            let agent = self.instances.of_task(&task).and_then(|instance| instance.task());
            let agent = agent.map(|task| task.agent_id.clone());
            self.send_kill(&task, agent.clone(), out);
            if repeated {
                // The cluster may not know the task at all; then only a question gets an answer.
                let question = call::reconcile::Task {
                    task_id: v1::TaskId { value: task.to_string() },
                    agent_id: agent.map(|value| v1::AgentId { value }),
                };
                self.reconcile_tasks(vec![question], out);
            }
        }
        let next = self.kills.sent.values().filter_map(|sent| sent.at).min().map(|at| at + retry);
        if let Some(next) = next.filter(|next| self.kills.timer.is_none_or(|set| set > *next)) {
            self.kills.timer = Some(next);
            self.timers.set(next, Timer::Kills);
        }
    }

    pub(crate) fn send_kill(&self, task: &TaskId, agent: Option<String>, out: &mut Out<'_>) {
        self.send_kill_of(task.as_str(), agent, out);
    }

    pub(crate) fn send_kill_of(&self, task: &str, agent: Option<String>, out: &mut Out<'_>) {
        let framework = self.session.framework.as_ref().map(framework_id);
        out.call(call::Type::Kill, |call| {
            call.framework_id = framework;
            call.kill = Some(call::Kill {
                task_id: v1::TaskId { value: task.to_owned() },
                agent_id: agent.map(|value| v1::AgentId { value }),
                kill_policy: None,
            });
        });
    }
}
