//! Status updates of tasks (`marathon-behaviour.md` section 2).

use tepui_marathon::{
    CheckResult, EventPayload, InstanceId, IpAddress, IpProtocol, TaskFailure, TaskId,
};
use tepui_types::{Span, TaskState};
use tepui_wire::v1::scheduler::call;
use tepui_wire::v1::task_status::Reason;
use tepui_wire::v1::{TaskStatus, check_info, network_info};

use crate::machine::Apps;
use crate::out::Out;
use crate::session::framework_id;
use crate::{Alarm, Condition};

impl Apps {
    pub(crate) fn update(&mut self, status: &TaskStatus, out: &mut Out<'_>) {
        let state = task_state(status);
        *self.counters.task_updates.entry(state).or_default() += 1;
        match TaskId::parse(&status.task_id.value) {
            Ok(task) if self.instances.of_task(&task).is_some() => {
                self.update_known(&task, state, status, out);
            }
            Ok(task) => self.update_unknown(&task, state, status, out),
            Err(_) => self.kill_stray(&status.task_id.value, state, status, out),
        }
        self.acknowledge(status, out);
    }

    /// Acknowledged after what it changed is saved: the driver keeps that order.
    fn acknowledge(&self, status: &TaskStatus, out: &mut Out<'_>) {
        let (Some(uuid), Some(agent_id)) = (&status.uuid, &status.agent_id) else { return };
        if uuid.is_empty() {
            return;
        }
        let framework = self.session.framework.as_ref().map(framework_id);
        out.call(call::Type::Acknowledge, |call| {
            call.framework_id = framework;
            call.acknowledge = Some(call::Acknowledge {
                agent_id: agent_id.clone(),
                task_id: status.task_id.clone(),
                uuid: uuid.clone(),
            });
        });
    }

    fn update_unknown(
        &mut self,
        task: &TaskId,
        state: TaskState,
        status: &TaskStatus,
        out: &mut Out<'_>,
    ) {
        if condition_of(state, status).is_terminal() {
            self.given_up.remove(task);
            if self.instances.get(task.instance()).is_none() {
                out.publish(EventPayload::UnknownInstanceTerminated {
                    instance_id: task.instance().clone(),
                    run_spec_id: task.app().clone(),
                    condition: condition_of(state, status).name().to_owned(),
                });
            }
            return;
        }
        self.kill_stray(task.as_str(), state, status, out);
    }

    /// Kills a live task that belongs to no instance. What was given up on purpose goes without
    /// limit; of the rest only so many per reconciliation, for a store that lost its instances looks
    /// just like a cluster full of strays (invariant I-33).
    fn kill_stray(&mut self, task: &str, state: TaskState, status: &TaskStatus, out: &mut Out<'_>) {
        if condition_of(state, status).is_terminal() || state == TaskState::Unreachable {
            return;
        }
        let parsed = TaskId::parse(task).ok();
        let agent = status.agent_id.as_ref().map(|id| id.value.clone());
        // A later or earlier launch of an instance we know: its current task is the only one.
        let known = parsed.as_ref().is_some_and(|task| {
            self.given_up.contains(task) || self.instances.get(task.instance()).is_some()
        });
        if known {
            self.send_kill_of(task, agent, out);
            return;
        }
        if out.mono().since(self.stray_window) >= self.config.reconciliation_interval {
            self.stray_window = out.mono();
            self.stray_kills = 0;
            self.stray_alarmed = false;
        }
        let protected = parsed.is_some_and(|task| self.protected.contains(task.instance()));
        let budget = self.config.unknown_task_kills.max(self.instances.len() / 10);
        if protected || self.stray_kills >= budget {
            self.counters.unknown_tasks_spared += 1;
            if !std::mem::replace(&mut self.stray_alarmed, true) {
                let tasks = self.counters.unknown_tasks_spared;
                out.alarm(Alarm::UnknownTasksSpared { tasks });
            }
            return;
        }
        self.stray_kills += 1;
        self.send_kill_of(task, agent, out);
    }

    fn update_known(
        &mut self,
        task: &TaskId,
        state: TaskState,
        status: &TaskStatus,
        out: &mut Out<'_>,
    ) {
        let id = task.instance().clone();
        let condition = condition_of(state, status);
        let Some(instance) = self.instances.get_mut(&id) else { return };
        if !std::mem::replace(&mut instance.confirmed, true) {
            // Its agent was not back yet when an earlier kill went out.
            self.kills.forget_sent_of(task);
        }
        let before = instance.condition();
        let Some(record) = instance.record.task.as_mut() else { return };
        let changed = record.state != state;
        record.state = state;
        let addresses = ip_addresses(status);
        if !addresses.is_empty() {
            record.ip_addresses = addresses;
        }
        let dead = condition.is_terminal();
        if let Some(result) = check_result(status) {
            instance.check_result = Some(result);
        }
        self.dirty.insert(id.run_spec().clone());
        if changed || dead {
            self.publish_status(&id, state, status, out);
        }
        if dead {
            self.terminated(&id, condition, state, status, out);
            return;
        }
        match condition {
            Condition::Unreachable if !before.is_unreachable() => {
                self.mark_unreachable(&id, status, out);
                self.set_condition(&id, condition, out);
                self.became_unreachable(&id, Span::ZERO, out);
            }
            Condition::Unreachable => {}
            Condition::Running => self.is_running(&id, before, status, out),
            // A launch only goes forward; a late word of an earlier stage changes nothing.
            Condition::Staging | Condition::Starting
                if !matches!(
                    before,
                    Condition::Provisioned
                        | Condition::Staging
                        | Condition::Unreachable
                        | Condition::UnreachableInactive
                ) => {}
            _ if before != condition => self.set_condition(&id, condition, out),
            _ => {}
        }
    }

    fn publish_status(
        &self,
        id: &InstanceId,
        state: TaskState,
        status: &TaskStatus,
        out: &mut Out<'_>,
    ) {
        let Some(instance) = self.instances.get(id) else { return };
        let Some(task) = instance.task() else { return };
        out.publish(EventPayload::StatusUpdate {
            slave_id: task.agent_id.clone(),
            task_id: task.id.clone(),
            task_status: state,
            message: status.message.clone().unwrap_or_default(),
            app_id: instance.app_id().clone(),
            host: task.hostname.clone(),
            ip_addresses: task.ip_addresses.clone(),
            ports: task.host_ports.clone(),
            version: instance.version(),
        });
    }

    fn mark_unreachable(&mut self, id: &InstanceId, status: &TaskStatus, out: &Out<'_>) {
        let reported = status.unreachable_time.as_ref().map(|time| time.nanoseconds / 1_000_000);
        let Some(instance) = self.instances.get_mut(id) else { return };
        if let Some(task) = instance.record.task.as_mut() {
            let since = reported.map(tepui_marathon::Version::from_millis);
            task.unreachable_since = Some(since.unwrap_or_else(|| out.stamp()));
        }
    }

    fn is_running(
        &mut self,
        id: &InstanceId,
        before: Condition,
        status: &TaskStatus,
        out: &mut Out<'_>,
    ) {
        let locked = self.locks.contains_key(id.run_spec());
        let Some(instance) = self.instances.get_mut(id) else { return };
        instance.unreachable_deadlines = None;
        let first = instance.running.is_none();
        if first {
            instance.running = Some(out.mono());
            instance.ready |= !locked;
        }
        if let Some(task) = instance.record.task.as_mut() {
            task.unreachable_since = None;
            task.started_at.get_or_insert_with(|| out.stamp());
        }
        if before != Condition::Running {
            self.set_condition(id, Condition::Running, out);
        }
        if before == Condition::UnreachableInactive {
            self.rescale.insert(id.run_spec().clone());
        }
        if first {
            self.begin_checks(id, out);
            self.return_token(id, before);
        }
        if let Some(healthy) = status.healthy {
            self.agent_says(id, healthy, status, out);
        }
    }

    /// One launch token comes back for each task that gets running.
    fn return_token(&mut self, id: &InstanceId, before: Condition) {
        if !before.is_launching() || self.session.tokens >= self.config.launch_tokens {
            return;
        }
        self.session.tokens += 1;
        if self.session.tokens == 1 {
            self.session.wish(id.run_spec());
        }
    }

    fn terminated(
        &mut self,
        id: &InstanceId,
        condition: Condition,
        state: TaskState,
        status: &TaskStatus,
        out: &mut Out<'_>,
    ) {
        let Some(instance) = self.instances.get(id) else { return };
        let Some(task) = instance.task() else { return };
        let app = instance.app.clone();
        let counted = self.counters.apps.entry(app.id.clone()).or_default();
        *counted.exits.entry((state, status.reason)).or_default() += 1;
        let asked_for = instance.killing || !instance.wants_to_run();
        let told = !instance.killed_for_health
            && matches!(
                condition,
                Condition::Failed
                    | Condition::Error
                    | Condition::Gone
                    | Condition::Dropped
                    | Condition::Unknown
            );
        let failure = told.then(|| TaskFailure {
            app_id: instance.app_id().clone(),
            host: task.hostname.clone(),
            message: status.message.clone().unwrap_or_default(),
            state,
            task_id: task.id.clone(),
            timestamp: out.stamp(),
            version: instance.version(),
            slave_id: Some(task.agent_id.clone()),
        });
        if let Some(failure) = failure {
            self.record_failure(failure, out);
        }
        if condition == Condition::Killed && status.healthy == Some(false) && !asked_for {
            self.killed_by_agent(id, status, out);
        }
        if is_failure(condition) && !asked_for && !is_infrastructure(status) {
            self.count_failure(&app, out);
        }
        self.end_task(id, condition, out);
    }
}

/// Conditions that make the next launch wait.
fn is_failure(condition: Condition) -> bool {
    matches!(
        condition,
        Condition::Failed
            | Condition::Error
            | Condition::Dropped
            | Condition::Gone
            | Condition::Finished
    )
}

/// The app did not fail; what it ran on did, or the launch lost a race.
fn is_infrastructure(status: &TaskStatus) -> bool {
    status.reason.is_some()
        && matches!(
            status.reason(),
            Reason::AgentDraining
                | Reason::AgentRemoved
                | Reason::AgentRemovedByOperator
                | Reason::AgentRestarted
                | Reason::AgentReregistered
                | Reason::AgentDisconnected
                | Reason::AgentUnknown
                | Reason::MasterDisconnected
                | Reason::Reconciliation
                | Reason::InvalidOffers
        )
}

pub(crate) fn task_state(status: &TaskStatus) -> TaskState {
    use tepui_wire::v1::TaskState as Wire;
    match status.state() {
        Wire::TaskStaging => TaskState::Staging,
        Wire::TaskStarting => TaskState::Starting,
        Wire::TaskRunning => TaskState::Running,
        Wire::TaskKilling => TaskState::Killing,
        Wire::TaskFinished => TaskState::Finished,
        Wire::TaskFailed => TaskState::Failed,
        Wire::TaskKilled => TaskState::Killed,
        Wire::TaskError => TaskState::Error,
        Wire::TaskLost => TaskState::Lost,
        Wire::TaskDropped => TaskState::Dropped,
        Wire::TaskUnreachable => TaskState::Unreachable,
        Wire::TaskGone => TaskState::Gone,
        Wire::TaskGoneByOperator => TaskState::GoneByOperator,
        Wire::TaskUnknown => TaskState::Unknown,
    }
}

fn condition_of(state: TaskState, status: &TaskStatus) -> Condition {
    match state {
        TaskState::Staging => Condition::Staging,
        TaskState::Starting => Condition::Starting,
        TaskState::Running => Condition::Running,
        TaskState::Killing => Condition::Killing,
        TaskState::Finished => Condition::Finished,
        TaskState::Failed => Condition::Failed,
        TaskState::Killed => Condition::Killed,
        TaskState::Error => Condition::Error,
        TaskState::Dropped => Condition::Dropped,
        TaskState::Unreachable => Condition::Unreachable,
        TaskState::Gone | TaskState::GoneByOperator => Condition::Gone,
        TaskState::Unknown => Condition::Unknown,
        TaskState::Lost => lost(status),
    }
}

/// TASK_LOST of clusters that do not tell partitions from losses.
fn lost(status: &TaskStatus) -> Condition {
    let message = status.message.as_deref().unwrap_or_default();
    let unknown = message.contains("Reconciliation: Task is unknown");
    match status.reason {
        _ if unknown => Condition::Unknown,
        None => Condition::Gone,
        Some(_) => match status.reason() {
            Reason::TaskUnknown => Condition::Unknown,
            Reason::Reconciliation | Reason::AgentDisconnected | Reason::AgentRemoved => {
                Condition::Unreachable
            }
            _ => Condition::Gone,
        },
    }
}

fn ip_addresses(status: &TaskStatus) -> Vec<IpAddress> {
    let infos = status.container_status.iter().flat_map(|container| &container.network_infos);
    infos
        .flat_map(|info| &info.ip_addresses)
        .filter_map(|address| {
            Some(IpAddress {
                ip_address: address.ip_address.clone()?,
                protocol: match address.protocol() {
                    network_info::Protocol::IPv4 => IpProtocol::V4,
                    network_info::Protocol::IPv6 => IpProtocol::V6,
                },
            })
        })
        .collect()
}

fn check_result(status: &TaskStatus) -> Option<CheckResult> {
    let check = status.check_status.as_ref()?;
    match check.r#type() {
        check_info::Type::Http => {
            Some(CheckResult::Http { status_code: check.http.as_ref()?.status_code? })
        }
        check_info::Type::Tcp => {
            Some(CheckResult::Tcp { succeeded: check.tcp.as_ref()?.succeeded? })
        }
        check_info::Type::Command => {
            Some(CheckResult::Command { exit_code: check.command.as_ref()?.exit_code? })
        }
        check_info::Type::Unknown => None,
    }
}
