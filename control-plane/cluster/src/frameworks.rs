//! Frameworks that are known: changes, disconnection, and the failover timeout.

use std::collections::BTreeSet;

use tepui_allocator::{FrameworkFacts, Input};
use tepui_link::Order;
use tepui_types::{AgentId, FrameworkId, RequestId, StreamId};
use tepui_wire::v1::scheduler;

use crate::machine::Batch;
use crate::offers::Ending;
use crate::state::{Attachment, Framework};
use crate::timers::Timer;
use crate::validate::Fault;
use crate::validate::framework::{FrameworkTerms, read_framework};
use crate::{Cluster, Effect, Record, RefusalKind, Response};

impl Framework {
    /// What is durable of it.
    pub(crate) fn record(&self) -> Record {
        Record::Framework {
            framework: self.id.clone(),
            info: Box::new((*self.info).clone()),
            registered: self.registered,
            failover_timeout: self.failover_timeout,
            disconnected: self.disconnected_since(),
        }
    }

    fn facts(&self) -> FrameworkFacts {
        FrameworkFacts {
            roles: self.roles.clone(),
            suppressed: self.suppressed.clone(),
            active: self.is_connected(),
            revocable: self.abilities.revocable_resources,
            gpus: self.abilities.gpu_resources,
            minimum: self.minimum.clone(),
        }
    }
}

impl Cluster {
    /// Tells the allocator what a framework wants now.
    pub(crate) fn tell_framework(&self, id: &FrameworkId, batch: &mut Batch<'_>) {
        let Some(framework) = self.frameworks.get(id) else { return };
        let facts = Box::new(framework.facts());
        batch.tell_allocator(Input::FrameworkUpdated { framework: id.clone(), facts });
    }

    /// The agents that have anything of a framework.
    pub(crate) fn agents_of(&self, framework: &FrameworkId) -> BTreeSet<AgentId> {
        let Some(known) = self.frameworks.get(framework) else { return BTreeSet::new() };
        let mut agents: BTreeSet<AgentId> =
            known.tasks.values().map(|task| task.agent.clone()).collect();
        let with_executors = self.agents.values().filter(|a| a.executors.contains_key(framework));
        agents.extend(with_executors.map(|agent| agent.id.clone()));
        agents
    }

    /// Tells every agent that works for a framework how it describes itself now.
    pub(crate) fn tell_agents_of_framework(&mut self, id: &FrameworkId, batch: &mut Batch<'_>) {
        let Some(info) = self.frameworks.get(id).map(|framework| framework.info.clone()) else {
            return;
        };
        for agent in self.agents_of(id) {
            if let Some(agent) = self.agents.get_mut(&agent) {
                let framework = Box::new((*info).clone());
                batch.direct(self.term, agent, Order::UpdateFramework { framework });
            }
        }
    }

    /// A framework's stream is gone: it is offered nothing and has its failover timeout to come
    /// back.
    pub(crate) fn stream_closed(&mut self, stream: StreamId, batch: &mut Batch<'_>) {
        let Some(id) = self.streams.remove(&stream) else { return };
        let Some(framework) = self.frameworks.get_mut(&id) else { return };
        if framework.stream() != Some(stream) {
            return;
        }
        self.counters.messages.deactivate_framework += 1;
        framework.attachment = Attachment::Disconnected { since: batch.wall() };
        let timeout = framework.failover_timeout;
        if timeout.as_nanos() == 0 {
            self.remove_framework(&id, batch);
            return;
        }
        let due = batch.mono() + timeout;
        framework.removal_due = Some(due);
        batch.push(Effect::Save(framework.record()));
        self.tell_framework(&id, batch);
        self.discard_framework_offers(&id, batch);
        self.set_timer(due, Timer::Framework(id.clone()));
        self.publish_framework(&id, false, batch);
    }

    pub(crate) fn framework_timer(&mut self, id: &FrameworkId, batch: &mut Batch<'_>) {
        let due = self.frameworks.get(id).and_then(|framework| framework.removal_due);
        if due.is_some_and(|due| due <= batch.mono()) {
            self.remove_framework(id, batch);
        }
    }

    /// UPDATE_FRAMEWORK: all or nothing.
    pub(crate) fn update_framework(
        &mut self,
        request: RequestId,
        id: &FrameworkId,
        mut call: scheduler::call::UpdateFramework,
        batch: &mut Batch<'_>,
    ) {
        let terms = match self.check_update(id, &mut call) {
            Ok(terms) => terms,
            Err(fault) => {
                batch.refuse(
                    request,
                    RefusalKind::Invalid,
                    format!("'UpdateFramework.framework_info' is not valid: {fault}"),
                );
                return;
            }
        };
        let scheduler::call::UpdateFramework { framework_info, offer_constraints, .. } = call;
        let constraints = self.frameworks.get(id).and_then(|one| one.offer_constraints.clone());
        let reconsider = constraints != offer_constraints;
        let changed = self.set_terms(id, framework_info, terms, offer_constraints, true);
        let Some(framework) = self.frameworks.get(id) else { return };
        batch.push(Effect::Save(framework.record()));
        batch.respond(request, Response::Done);
        let left: Vec<_> = framework
            .offers
            .iter()
            .filter(|number| {
                self.offers.get(number).is_some_and(|offer| !framework.roles.contains(&offer.role))
            })
            .copied()
            .collect();
        let wanted: BTreeSet<_> =
            framework.roles.difference(&framework.suppressed).cloned().collect();
        self.tell_framework(id, batch);
        if reconsider && !wanted.is_empty() {
            // Agents that the old constraints excluded are refused no more.
            batch.tell_allocator(Input::Revived { framework: id.clone(), roles: wanted });
        }
        for number in left {
            self.end_offer(number, None, Ending::Rescinded, batch);
        }
        self.publish_framework(id, false, batch);
        if changed {
            self.tell_agents_of_framework(id, batch);
        }
    }

    fn check_update(
        &self,
        id: &FrameworkId,
        call: &mut scheduler::call::UpdateFramework,
    ) -> Result<FrameworkTerms, Fault> {
        let known = self.frameworks.get(id).ok_or("Framework cannot be found")?;
        let (old, new) = (&known.info, &mut call.framework_info);
        if new.principal.is_none() {
            new.principal.clone_from(&old.principal);
        }
        if new.principal != old.principal {
            return Err("Changing framework's principal is not allowed".into());
        }
        if new.user != old.user {
            return Err("Updating 'FrameworkInfo.user' is unsupported".into());
        }
        if new.checkpoint() != old.checkpoint() {
            return Err("Updating 'FrameworkInfo.checkpoint' is unsupported".into());
        }
        read_framework(new, &call.suppressed_roles, call.offer_constraints.as_ref(), &self.config)
    }
}
