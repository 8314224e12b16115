//! Events for operators (`spec/mesos-http.md` 3.2). Nothing is built while nobody listens.

use tepui_types::{AgentId, FrameworkId, TaskId, TaskState};
use tepui_wire::v1::{self, master, master::event};

use crate::Cluster;
use crate::machine::Batch;
use crate::view::{wire_agent, wire_framework};

impl Cluster {
    pub(crate) fn publish_task_added(
        &self,
        framework: &FrameworkId,
        task: &TaskId,
        batch: &mut Batch<'_>,
    ) {
        if !self.watched {
            return;
        }
        let Some(task) = self.task(framework, task) else { return };
        self.publish(batch, || master::Event {
            r#type: Some(event::Type::TaskAdded.into()),
            task_added: Some(event::TaskAdded { task: task.to_wire() }),
            ..master::Event::default()
        });
    }

    pub(crate) fn publish_task_updated(
        &self,
        framework: &FrameworkId,
        status: &v1::TaskStatus,
        state: TaskState,
        batch: &mut Batch<'_>,
    ) {
        self.publish(batch, || master::Event {
            r#type: Some(event::Type::TaskUpdated.into()),
            task_updated: Some(event::TaskUpdated {
                framework_id: wire_framework(framework),
                status: v1::TaskStatus { data: None, ..status.clone() },
                state: tepui_link::codec::wire_state(state).into(),
            }),
            ..master::Event::default()
        });
    }

    pub(crate) fn publish_agent_added(&self, agent: &AgentId, batch: &mut Batch<'_>) {
        let Some(agent) = self.agents.get(agent) else { return };
        self.publish(batch, || master::Event {
            r#type: Some(event::Type::AgentAdded.into()),
            agent_added: Some(event::AgentAdded { agent: self.agent_to_wire(agent) }),
            ..master::Event::default()
        });
    }

    pub(crate) fn publish_agent_removed(&self, agent: &AgentId, batch: &mut Batch<'_>) {
        self.publish(batch, || master::Event {
            r#type: Some(event::Type::AgentRemoved.into()),
            agent_removed: Some(event::AgentRemoved { agent_id: wire_agent(agent) }),
            ..master::Event::default()
        });
    }

    pub(crate) fn publish_framework(
        &self,
        framework: &FrameworkId,
        added: bool,
        batch: &mut Batch<'_>,
    ) {
        let Some(framework) = self.frameworks.get(framework).filter(|_| self.watched) else {
            return;
        };
        let sums = self.sums_of(framework);
        let framework = self.framework_to_wire(framework, &sums);
        let event = if added {
            master::Event {
                r#type: Some(event::Type::FrameworkAdded.into()),
                framework_added: Some(event::FrameworkAdded { framework }),
                ..master::Event::default()
            }
        } else {
            master::Event {
                r#type: Some(event::Type::FrameworkUpdated.into()),
                framework_updated: Some(event::FrameworkUpdated { framework }),
                ..master::Event::default()
            }
        };
        self.publish(batch, || event);
    }

    pub(crate) fn publish_framework_removed(
        &self,
        info: &v1::FrameworkInfo,
        batch: &mut Batch<'_>,
    ) {
        self.publish(batch, || master::Event {
            r#type: Some(event::Type::FrameworkRemoved.into()),
            framework_removed: Some(event::FrameworkRemoved { framework_info: info.clone() }),
            ..master::Event::default()
        });
    }
}
