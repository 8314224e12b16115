//! Operations on resources, and what operators ask for.

use tepui_allocator::{Input, Weight};
use tepui_types::{AgentId, FrameworkId, RequestId, Role};
use tepui_wire::v1::{self, scheduler};

use crate::machine::Batch;
use crate::offers::Ending;
use crate::state::OfferNumber;
use crate::{Cluster, Effect, Operation, Record, RefusalKind, Response};

impl Cluster {
    /// Refuses a framework's operation. Without an id there is nobody to tell, as in Mesos.
    pub(crate) fn refuse_operation(
        &mut self,
        framework: &FrameworkId,
        operation: v1::offer::Operation,
        fault: &str,
        batch: &mut Batch<'_>,
    ) {
        *self.counters.refused_operations.entry(operation.r#type()).or_default() += 1;
        let id = operation.id;
        if id.is_none() {
            return;
        }
        let status = v1::OperationStatus {
            operation_id: id,
            state: v1::OperationState::OperationError.into(),
            message: Some(fault.to_owned()),
            ..v1::OperationStatus::default()
        };
        self.tell_operation(framework, status, batch);
    }

    pub(crate) fn tell_operation(
        &mut self,
        framework: &FrameworkId,
        status: v1::OperationStatus,
        batch: &mut Batch<'_>,
    ) {
        let Some(framework) = self.frameworks.get_mut(framework) else { return };
        batch.send(
            framework,
            scheduler::Event {
                r#type: Some(scheduler::event::Type::UpdateOperationStatus.into()),
                update_operation_status: Some(scheduler::event::UpdateOperationStatus { status }),
                ..scheduler::Event::default()
            },
        );
    }

    /// Does what an operator asks for, or says why not.
    pub(crate) fn operate(
        &mut self,
        request: RequestId,
        operation: Operation,
        batch: &mut Batch<'_>,
    ) {
        let outcome = match operation {
            Operation::Teardown { framework } => {
                if self.frameworks.contains_key(&framework) {
                    self.remove_framework(&framework, batch);
                    Ok(())
                } else {
                    let message = format!("No framework found with ID {framework}");
                    Err((RefusalKind::Invalid, message))
                }
            }
            Operation::MarkAgentGone { agent } => self.mark_agent_gone(&agent, batch),
            Operation::SetAgentActive { agent, active: true } => self
                .end_drain(&agent, batch)
                .and_then(|()| self.set_agent_active(&agent, true, batch)),
            Operation::SetAgentActive { agent, active } => {
                self.set_agent_active(&agent, active, batch)
            }
            Operation::DrainAgent { agent, max_grace, mark_gone } => {
                self.drain_agent(&agent, max_grace, mark_gone, batch)
            }
            Operation::UpdateWeights { weights } => self.update_weights(weights, batch),
        };
        match outcome {
            Ok(()) => batch.respond(request, Response::Done),
            Err((kind, message)) => batch.refuse(request, kind, message),
        }
    }

    pub(crate) fn set_agent_active(
        &mut self,
        id: &AgentId,
        active: bool,
        batch: &mut Batch<'_>,
    ) -> Result<(), (RefusalKind, String)> {
        let deactivated = !active;
        let was = if let Some(agent) = self.agents.get_mut(id) {
            std::mem::replace(&mut agent.deactivated, deactivated)
        } else if let Some(agent) = self.recovered.get_mut(id) {
            std::mem::replace(&mut agent.deactivated, deactivated)
        } else if let Some(agent) = self.unreachable.get_mut(id) {
            std::mem::replace(&mut agent.deactivated, deactivated)
        } else {
            return Err((RefusalKind::Invalid, format!("Unknown agent {id}")));
        };
        if active && !was {
            return Err((RefusalKind::Invalid, format!("Agent {id} is not deactivated")));
        }
        if was == deactivated {
            return Ok(());
        }
        if let Some(record) = self.agent_record(id) {
            batch.push(Effect::Save(record));
        }
        if self.agents.contains_key(id) {
            self.tell_agent_changed(id, false, batch);
            if deactivated {
                self.rescind_agent_offers(id, batch);
            }
        }
        Ok(())
    }

    fn update_weights(
        &mut self,
        weights: Vec<(Role, u64)>,
        batch: &mut Batch<'_>,
    ) -> Result<(), (RefusalKind, String)> {
        for (role, weight) in &weights {
            if *weight == 0 {
                let message = format!("Invalid weight for role '{role}': it must be positive");
                return Err((RefusalKind::Invalid, message));
            }
            if self.config.roles.as_ref().is_some_and(|roles| !roles.contains(role)) {
                let message = format!("Unknown role '{role}'");
                return Err((RefusalKind::Invalid, message));
            }
        }
        let mut wanted = false;
        for (role, weight) in &weights {
            batch.push(Effect::Save(Record::Weight { role: role.clone(), weight: *weight }));
            self.weights.insert(role.clone(), *weight);
            wanted |= self.frameworks.values().any(|one| one.roles.contains(role));
        }
        let weights = weights.into_iter().map(|(role, weight)| (role, Weight(weight))).collect();
        batch.tell_allocator(Input::Weights(weights));
        if wanted {
            let offers: Vec<OfferNumber> = self.offers.keys().copied().collect();
            for number in offers {
                self.end_offer(number, None, Ending::Rescinded, batch);
            }
        }
        Ok(())
    }
}
