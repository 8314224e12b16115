//! Every call but SUBSCRIBE: the checks of `spec/mesos-http.md` 1.2 in their order, then the call.

use std::collections::BTreeSet;

use tepui_allocator::Input;
use tepui_link::Order;
use tepui_types::{AgentId, ExecutorId, FrameworkId, RequestId, Role, StreamId, TaskId, UpdateId};
use tepui_wire::v1;
use tepui_wire::v1::scheduler::{self, call::Type};

use crate::counters::judge;
use crate::machine::Batch;
use crate::{Cluster, Refusal, RefusalKind, Response};

/// A call whose shape is right.
enum Checked {
    Teardown,
    Accept(Box<scheduler::call::Accept>),
    Decline(scheduler::call::Decline),
    Revive(scheduler::call::Revive),
    Suppress(scheduler::call::Suppress),
    Kill(scheduler::call::Kill),
    Shutdown(scheduler::call::Shutdown),
    Acknowledge(scheduler::call::Acknowledge, UpdateId),
    Reconcile(scheduler::call::Reconcile),
    ReconcileOperations(scheduler::call::ReconcileOperations),
    Message(scheduler::call::Message),
    Request,
    InverseOffers,
    AcknowledgeOperation,
    UpdateFramework(Box<scheduler::call::UpdateFramework>),
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal { kind: RefusalKind::Invalid, message: message.into() }
}

fn forbidden(message: impl Into<String>) -> Refusal {
    Refusal { kind: RefusalKind::Forbidden, message: message.into() }
}

fn expect<T>(part: Option<T>, name: &str) -> Result<T, Refusal> {
    part.ok_or_else(|| invalid(format!("Expecting '{name}' to be present")))
}

fn check_uuid(bytes: &[u8]) -> Result<UpdateId, Refusal> {
    UpdateId::from_slice(bytes).ok_or_else(|| invalid("'uuid' must have 16 bytes"))
}

fn check_shape(kind: Type, call: scheduler::Call) -> Result<Checked, Refusal> {
    Ok(match kind {
        Type::Unknown => {
            let message = "The call type UNKNOWN is not implemented".to_owned();
            return Err(Refusal { kind: RefusalKind::NotSupported, message });
        }
        Type::Subscribe => return Err(invalid("SUBSCRIBE is not expected here")),
        Type::Teardown => Checked::Teardown,
        Type::Accept => Checked::Accept(Box::new(expect(call.accept, "accept")?)),
        Type::Decline => Checked::Decline(expect(call.decline, "decline")?),
        Type::Revive => Checked::Revive(call.revive.unwrap_or_default()),
        Type::Suppress => Checked::Suppress(call.suppress.unwrap_or_default()),
        Type::Kill => Checked::Kill(expect(call.kill, "kill")?),
        Type::Shutdown => Checked::Shutdown(expect(call.shutdown, "shutdown")?),
        Type::Acknowledge => {
            let acknowledge = expect(call.acknowledge, "acknowledge")?;
            let update = check_uuid(&acknowledge.uuid)?;
            Checked::Acknowledge(acknowledge, update)
        }
        Type::AcknowledgeOperationStatus => {
            let part = expect(call.acknowledge_operation_status, "acknowledge_operation_status")?;
            check_uuid(&part.uuid)?;
            expect(part.agent_id, "acknowledge_operation_status.agent_id")?;
            Checked::AcknowledgeOperation
        }
        Type::Reconcile => Checked::Reconcile(expect(call.reconcile, "reconcile")?),
        Type::ReconcileOperations => {
            Checked::ReconcileOperations(expect(call.reconcile_operations, "reconcile_operations")?)
        }
        Type::Message => Checked::Message(expect(call.message, "message")?),
        Type::Request => {
            expect(call.request, "request")?;
            Checked::Request
        }
        Type::AcceptInverseOffers => {
            expect(call.accept_inverse_offers, "accept_inverse_offers")?;
            Checked::InverseOffers
        }
        Type::DeclineInverseOffers => {
            expect(call.decline_inverse_offers, "decline_inverse_offers")?;
            Checked::InverseOffers
        }
        Type::UpdateFramework => {
            let update = expect(call.update_framework, "update_framework")?;
            let inner = update.framework_info.id.as_ref();
            let inner = expect(inner, "update_framework.framework_info.id")?;
            if Some(&inner.value) != call.framework_id.as_ref().map(|id| &id.value) {
                return Err(invalid(
                    "'framework_id' differs from 'update_framework.framework_info.id'",
                ));
            }
            Checked::UpdateFramework(Box::new(update))
        }
    })
}

impl Cluster {
    /// Answers any call but SUBSCRIBE.
    pub(crate) fn call(
        &mut self,
        request: RequestId,
        stream: Option<StreamId>,
        call: scheduler::Call,
        principal: Option<&str>,
        batch: &mut Batch<'_>,
    ) {
        match self.check_call(stream, call, principal) {
            Ok((framework, call)) => self.dispatch(request, &framework, call, batch),
            Err(refusal) => batch.respond(request, Response::Refused(refusal)),
        }
    }

    fn check_call(
        &mut self,
        stream: Option<StreamId>,
        call: scheduler::Call,
        principal: Option<&str>,
    ) -> Result<(FrameworkId, Checked), Refusal> {
        let id = expect(call.framework_id.clone(), "framework_id")?.value;
        let kind = call.r#type();
        let checked = check_shape(kind, call)?;
        let framework =
            self.frameworks.get_mut(&*id).ok_or_else(|| invalid("Framework cannot be found"))?;
        if let Some(principal) = principal
            && framework.info.principal.as_deref() != Some(principal)
        {
            return Err(invalid(format!(
                "Authenticated principal '{principal}' does not match the framework's principal \
                 '{}'",
                framework.info.principal(),
            )));
        }
        let current = framework.stream().ok_or_else(|| forbidden("Framework is not subscribed"))?;
        let stream = stream.ok_or_else(|| {
            invalid("All non-subscribe calls should include the 'Mesos-Stream-Id' header")
        })?;
        if stream != current {
            return Err(invalid(format!(
                "The stream ID '{stream}' included in this request didn't match the stream ID \
                 currently associated with framework ID '{id}'"
            )));
        }
        framework.counters.call(kind);
        Ok((framework.id.clone(), checked))
    }

    fn dispatch(
        &mut self,
        request: RequestId,
        framework: &FrameworkId,
        call: Checked,
        batch: &mut Batch<'_>,
    ) {
        if let Checked::UpdateFramework(update) = call {
            self.update_framework(request, framework, *update, batch);
            return;
        }
        batch.respond(request, Response::Accepted);
        match call {
            Checked::Teardown => {
                self.counters.messages.unregister_framework += 1;
                self.remove_framework(framework, batch);
            }
            Checked::Accept(accept) => self.accept(framework, *accept, batch),
            Checked::Decline(decline) => self.decline(framework, &decline, batch),
            Checked::Revive(revive) => self.revive(framework, &revive.roles, batch),
            Checked::Suppress(suppress) => self.suppress(framework, &suppress.roles, batch),
            Checked::Kill(kill) => self.kill(framework, &kill, batch),
            Checked::Shutdown(shutdown) => self.shut_down_executor(framework, &shutdown, batch),
            Checked::Acknowledge(acknowledge, update) => {
                self.acknowledge(framework, &acknowledge, update, batch);
            }
            Checked::Reconcile(reconcile) => self.reconcile(framework, &reconcile, batch),
            Checked::ReconcileOperations(reconcile) => {
                self.reconcile_operations(framework, &reconcile, batch);
            }
            Checked::Message(message) => self.message(framework, message, batch),
            Checked::Request => self.counters.messages.resource_request += 1,
            Checked::AcknowledgeOperation => {
                // No operation is ever known here, so there is none to acknowledge.
                self.counters.messages.operation_status_update_acknowledgement += 1;
                judge(&mut self.counters.validity.operation_status_update_acknowledgements, false);
            }
            // Maintenance makes no inverse offers yet, so an answer to one has no effect.
            Checked::InverseOffers | Checked::UpdateFramework(_) => {}
        }
    }

    /// The named roles of a framework, all of them when none is named; `None` when one is not a
    /// role that it subscribes to.
    fn named_roles(&self, framework: &FrameworkId, names: &[String]) -> Option<BTreeSet<Role>> {
        let framework = self.frameworks.get(framework)?;
        if names.is_empty() {
            return Some(framework.roles.clone());
        }
        names.iter().map(|name| framework.roles.get(&**name).cloned()).collect()
    }

    fn revive(&mut self, framework_id: &FrameworkId, names: &[String], batch: &mut Batch<'_>) {
        self.counters.messages.revive_offers += 1;
        let Some(roles) = self.named_roles(framework_id, names) else {
            self.counters.messages.dropped += 1;
            return;
        };
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        framework.suppressed.retain(|role| !roles.contains(role));
        batch.tell_allocator(Input::Revived { framework: framework_id.clone(), roles });
    }

    fn suppress(&mut self, framework_id: &FrameworkId, names: &[String], batch: &mut Batch<'_>) {
        self.counters.messages.suppress_offers += 1;
        let Some(roles) = self.named_roles(framework_id, names) else {
            self.counters.messages.dropped += 1;
            return;
        };
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        framework.suppressed.extend(roles.iter().cloned());
        batch.tell_allocator(Input::Suppressed { framework: framework_id.clone(), roles });
    }

    /// KILL (`spec/mesos-http.md` 1.6).
    fn kill(
        &mut self,
        framework_id: &FrameworkId,
        call: &scheduler::call::Kill,
        batch: &mut Batch<'_>,
    ) {
        self.counters.messages.kill_task += 1;
        let task_id = TaskId::parse(&call.task_id.value).ok();
        let tracked = task_id.and_then(|id| self.task(framework_id, &id));
        let Some(task) = tracked else {
            let asked = scheduler::call::reconcile::Task {
                task_id: call.task_id.clone(),
                agent_id: call.agent_id.clone(),
            };
            self.reconcile_one(framework_id, &asked, batch);
            return;
        };
        let (task_id, agent_id) = (task.id.clone(), task.agent.clone());
        let elsewhere = call.agent_id.as_ref().is_some_and(|id| id.value != agent_id.as_str());
        if elsewhere || !self.agents.contains_key(&agent_id) {
            self.counters.messages.dropped += 1;
            return;
        }
        self.order_kill(&agent_id, framework_id, task_id, call.kill_policy, batch);
    }

    /// Has an agent kill a task, now or once it is back.
    pub(crate) fn order_kill(
        &mut self,
        agent_id: &AgentId,
        framework: &FrameworkId,
        task: TaskId,
        kill_policy: Option<v1::KillPolicy>,
        batch: &mut Batch<'_>,
    ) {
        let Some(agent) = self.agents.get_mut(agent_id) else { return };
        let framework = framework.clone();
        if agent.is_connected() {
            batch.direct(self.term, agent, Order::Kill { framework, task, kill_policy });
        } else {
            agent.pending_kills.insert((framework, task), kill_policy);
        }
    }

    /// SHUTDOWN: to the agent, or nowhere.
    fn shut_down_executor(
        &mut self,
        framework: &FrameworkId,
        call: &scheduler::call::Shutdown,
        batch: &mut Batch<'_>,
    ) {
        let executor = ExecutorId::parse(&call.executor_id.value).ok();
        let agent = self.agents.get_mut(&*call.agent_id.value).filter(|a| a.is_connected());
        let (Some(executor), Some(agent)) = (executor, agent) else {
            self.counters.messages.dropped += 1;
            return;
        };
        let framework = framework.clone();
        batch.direct(self.term, agent, Order::ShutdownExecutor { framework, executor });
    }

    /// MESSAGE: best effort to an executor.
    fn message(
        &mut self,
        framework: &FrameworkId,
        call: scheduler::call::Message,
        batch: &mut Batch<'_>,
    ) {
        self.counters.messages.framework_to_executor += 1;
        let executor = ExecutorId::parse(&call.executor_id.value).ok();
        let agent = self.agents.get_mut(&*call.agent_id.value).filter(|a| a.is_connected());
        let valid = executor.is_some() && agent.is_some();
        judge(&mut self.counters.validity.framework_to_executor_messages, valid);
        if let (Some(executor), Some(agent)) = (executor, agent) {
            let (framework, data) = (framework.clone(), call.data);
            batch.direct(self.term, agent, Order::Message { framework, executor, data });
        }
    }
}
