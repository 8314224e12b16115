//! What connected agents say, and the loss of their links.

use std::collections::BTreeMap;
use std::sync::Arc;

use tepui_link::Report;
use tepui_types::{AgentId, ExecutorId, FrameworkId, LinkId, TaskState};
use tepui_wire::v1::{self, scheduler, task_status::Reason};

use crate::counters::judge;
use crate::machine::Batch;
use crate::tasks::Verdict;
use crate::view::{wire_agent, wire_executor};
use crate::{Cluster, Effect, Record, Standing};

impl Cluster {
    /// An agent says something. Whoever speaks before registering loses the link.
    pub(crate) fn report(&mut self, link: LinkId, report: Report, batch: &mut Batch<'_>) {
        if let Report::Register(registration) = report {
            self.register(link, *registration, batch);
            return;
        }
        let Some(agent_id) = self.links.get(&link).cloned() else {
            batch.push(Effect::CloseLink { link });
            return;
        };
        let Some(agent) = self.agents.get_mut(&agent_id) else { return };
        agent.last_heard = batch.mono();
        if agent.doomed.take().is_some() {
            self.counters.agents.unreachable_canceled += 1;
        }
        match report {
            // Handled above.
            Report::Register(_) => {}
            Report::Heartbeat { seen, executors, leftovers } => {
                self.note_departures(&agent_id, seen, &leftovers, batch);
                self.heartbeat(&agent_id, seen, executors, batch);
            }
            Report::Update { framework, status, latest_state } => {
                self.update(&agent_id, &framework, *status, latest_state, batch);
            }
            Report::ExecutorMessage { framework, executor, data } => {
                self.executor_message(&agent_id, &framework, &executor, data, batch);
            }
            Report::ExecutorExited { framework, executor, status } => {
                self.executor_exited(&agent_id, &framework, &executor, status, batch);
            }
            Report::Unregister => self.unregister(&agent_id, batch),
        }
    }

    /// An agent that lags behind its directives for too long, knows ones that were never sent, or
    /// has other executors than the books say, loses its link and registers again: then both sides
    /// know the same.
    fn heartbeat(&mut self, agent_id: &AgentId, seen: u64, executors: u64, batch: &mut Batch<'_>) {
        let patience = self.config.directive_patience;
        let now = batch.mono();
        let Some(agent) = self.agents.get_mut(agent_id) else { return };
        let booked: usize = agent.executors.values().map(BTreeMap::len).sum();
        let Some(link) = &mut agent.link else { return };
        // News that is on its way explains a difference, for a while.
        let differs = seen == link.sent && executors != booked as u64;
        link.differs = differs.then(|| link.differs.unwrap_or(now));
        let differs = link.differs.is_some_and(|since| now.since(since) > patience);
        let lags = match link.unconfirmed {
            _ if seen > link.sent => true,
            _ if seen == link.sent => {
                link.unconfirmed = None;
                false
            }
            Some((generation, since)) if seen < generation => now.since(since) > patience,
            _ => {
                link.unconfirmed = Some((link.sent, now));
                false
            }
        };
        if lags || differs {
            self.counters.agents.lagging_links += 1;
            self.cut_link(agent_id, batch);
        }
    }

    fn executor_message(
        &mut self,
        agent: &AgentId,
        framework_id: &FrameworkId,
        executor: &ExecutorId,
        data: Vec<u8>,
        batch: &mut Batch<'_>,
    ) {
        self.counters.messages.executor_to_framework += 1;
        let framework = self.frameworks.get_mut(framework_id).filter(|f| f.is_connected());
        let validity = &mut self.counters.validity.executor_to_framework_messages;
        judge(validity, framework.is_some());
        let Some(framework) = framework else { return };
        batch.send(
            framework,
            scheduler::Event {
                r#type: Some(scheduler::event::Type::Message.into()),
                message: Some(scheduler::event::Message {
                    agent_id: wire_agent(agent),
                    executor_id: wire_executor(executor),
                    data,
                }),
                ..scheduler::Event::default()
            },
        );
    }

    fn executor_exited(
        &mut self,
        agent_id: &AgentId,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        status: i32,
        batch: &mut Batch<'_>,
    ) {
        self.counters.messages.exited_executor += 1;
        self.forget_executor(agent_id, framework_id, executor_id, batch);
        // Told also of one that is not in the books any more: it ended before it ever subscribed,
        // and the last words of its tasks came first.
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        batch.send(
            framework,
            scheduler::Event {
                r#type: Some(scheduler::event::Type::Failure.into()),
                failure: Some(scheduler::event::Failure {
                    agent_id: Some(wire_agent(agent_id)),
                    executor_id: Some(wire_executor(executor_id)),
                    status: Some(status),
                }),
                ..scheduler::Event::default()
            },
        );
    }

    /// Takes an executor out of the books; what it held is free.
    pub(crate) fn forget_executor(
        &mut self,
        agent_id: &AgentId,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        batch: &mut Batch<'_>,
    ) {
        let Some(agent) = self.agents.get_mut(agent_id) else { return };
        let Some(executors) = agent.executors.get_mut(framework_id) else { return };
        let Some(executor) = executors.remove(executor_id) else { return };
        if executors.is_empty() {
            agent.executors.remove(framework_id);
        }
        self.release_used(agent_id, framework_id, &executor.role, &executor.resources, batch);
    }

    /// An agent's link is gone.
    pub(crate) fn link_closed(&mut self, link: LinkId, batch: &mut Batch<'_>) {
        if let Some(agent) = self.links.remove(&link) {
            self.disconnect_agent(&agent, batch);
        }
    }

    /// Ends an agent's link from this side.
    pub(crate) fn cut_link(&mut self, agent_id: &AgentId, batch: &mut Batch<'_>) {
        let link = self.agents.get(agent_id).and_then(|agent| agent.link);
        if let Some(link) = link {
            self.links.remove(&link.id);
            batch.push(Effect::CloseLink { link: link.id });
            self.disconnect_agent(agent_id, batch);
        }
    }

    /// An agent without a link is offered to nobody. Tasks of frameworks that do not checkpoint
    /// end with it; the others wait for its return.
    fn disconnect_agent(&mut self, agent_id: &AgentId, batch: &mut Batch<'_>) {
        let Some(agent) = self.agents.get_mut(agent_id) else { return };
        agent.link = None;
        let tasks = agent.tasks.clone();
        let owners: Vec<FrameworkId> = agent.executors.keys().cloned().collect();
        self.tell_agent_changed(agent_id, false, batch);
        self.rescind_agent_offers(agent_id, batch);
        let fleeting = |cluster: &Self, id: &FrameworkId| {
            cluster.frameworks.get(id).is_some_and(|one| !one.is_checkpointing())
        };
        for (framework, tasks) in tasks {
            if !fleeting(self, &framework) {
                continue;
            }
            for task in tasks {
                let verdict =
                    Verdict::new(TaskState::Lost, Reason::AgentDisconnected, "Agent disconnected");
                self.end_task(&framework, &task, verdict, batch);
            }
        }
        for framework in owners {
            if fleeting(self, &framework) {
                self.end_framework_executors(agent_id, &framework, batch);
            }
        }
    }

    /// Tells every connected framework that an agent is lost.
    pub(crate) fn announce_failure(&mut self, agent_id: &AgentId, batch: &mut Batch<'_>) {
        for framework in self.frameworks.values_mut() {
            batch.send(
                framework,
                scheduler::Event {
                    r#type: Some(scheduler::event::Type::Failure.into()),
                    failure: Some(scheduler::event::Failure {
                        agent_id: Some(wire_agent(agent_id)),
                        ..scheduler::event::Failure::default()
                    }),
                    ..scheduler::Event::default()
                },
            );
        }
    }

    /// What is durable of an agent, in whichever list it is: what it said, whether it is
    /// deactivated, where it stands.
    pub(crate) fn standing(&self, id: &AgentId) -> Option<(&Arc<v1::AgentInfo>, bool, Standing)> {
        Some(if let Some(agent) = self.agents.get(id) {
            (&agent.info, agent.deactivated, Standing::Admitted)
        } else if let Some(agent) = self.recovered.get(id) {
            (&agent.info, agent.deactivated, Standing::Admitted)
        } else if let Some(agent) = self.unreachable.get(id) {
            (&agent.info, agent.deactivated, Standing::Unreachable { since: agent.since })
        } else {
            let agent = self.gone.get(id)?;
            (&agent.info, agent.deactivated, Standing::Gone { since: agent.since })
        })
    }

    /// The same as a record.
    pub(crate) fn agent_record(&self, id: &AgentId) -> Option<Record> {
        let (info, deactivated, standing) = self.standing(id)?;
        Some(Record::Agent {
            agent: id.clone(),
            info: Box::new((**info).clone()),
            standing,
            deactivated,
        })
    }
}
