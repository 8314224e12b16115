//! What `tepui run` does with each event of the scheduler API (`mesos-http.md` 1). Pure: calls to
//! make and lines to print come out.

use std::collections::BTreeMap;

use tepui_wire::v1;
use tepui_wire::v1::scheduler::{Call, Event, call, event};

use super::exit;
use super::fit::{self, Lack};
use crate::fault::{DONE, FAILED, INTERRUPTED};
use crate::output::number;

/// A scheduler that lost its connection has so long to come back before its task is killed.
pub(crate) const FAILOVER_SECONDS: f64 = 60.0;
/// How long an offer that does not fit stays away.
const REFUSE_SECONDS: f64 = 5.0;
/// Launches that never started (an offer was taken back meanwhile) before giving up.
const MOST_LAUNCHES: u32 = 5;

/// What is to run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) command: String,
    pub(crate) cpus: f64,
    pub(crate) mem: f64,
    pub(crate) disk: f64,
    pub(crate) gpus: f64,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) role: String,
    pub(crate) user: String,
    pub(crate) kill_grace_nanos: Option<i64>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Make a call.
    Call(Box<Call>),
    /// Print a line on stderr.
    Say(String),
    /// Tear the framework down and end with this code.
    End(u8),
}

/// The scheduler.
#[derive(Debug)]
pub(crate) struct Launcher {
    job: Job,
    framework: Option<v1::FrameworkId>,
    stage: Stage,
    launches: u32,
    interrupted: bool,
    /// What the latest offer of each host lacked.
    refused: BTreeMap<String, Vec<Lack>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Stage {
    Waiting,
    Launched { agent: v1::AgentId },
}

impl Launcher {
    pub(crate) fn new(job: Job) -> Self {
        Self {
            job,
            framework: None,
            stage: Stage::Waiting,
            launches: 0,
            interrupted: false,
            refused: BTreeMap::new(),
        }
    }

    /// The call that opens the stream, the first time or again.
    pub(crate) fn subscribe(&self) -> Call {
        use v1::framework_info::Capability;
        use v1::framework_info::capability::Type;
        let mut capabilities =
            vec![Type::MultiRole, Type::ReservationRefinement, Type::PartitionAware];
        capabilities.push(Type::TaskKillingState);
        if self.job.gpus > 0.0 {
            capabilities.push(Type::GpuResources);
        }
        let framework_info = v1::FrameworkInfo {
            user: self.job.user.clone(),
            name: format!("tepui run {}", self.job.name),
            id: self.framework.clone(),
            failover_timeout: Some(FAILOVER_SECONDS),
            checkpoint: Some(true),
            roles: vec![self.job.role.clone()],
            capabilities: capabilities
                .into_iter()
                .map(|kind| Capability { r#type: Some(kind.into()) })
                .collect(),
            ..v1::FrameworkInfo::default()
        };
        let subscribe = call::Subscribe { framework_info, ..call::Subscribe::default() };
        Call { subscribe: Some(subscribe), ..self.call(call::Type::Subscribe) }
    }

    /// The call that ends everything.
    pub(crate) fn teardown(&self) -> Option<Call> {
        self.framework.as_ref().map(|_| self.call(call::Type::Teardown))
    }

    /// Handles an event of the stream.
    pub(crate) fn handle(&mut self, event: Event) -> Vec<Step> {
        let kind = event.r#type.and_then(|kind| event::Type::try_from(kind).ok());
        match kind {
            Some(event::Type::Subscribed) => self.subscribed(event.subscribed),
            Some(event::Type::Offers) => {
                let offers = event.offers.map(|offers| offers.offers).unwrap_or_default();
                offers.into_iter().flat_map(|offer| self.offered(offer)).collect()
            }
            Some(event::Type::Update) => {
                event.update.map(|update| self.updated(update.status)).unwrap_or_default()
            }
            Some(event::Type::Failure) => self.failed(event.failure.as_ref()),
            Some(event::Type::Error) => {
                let text = event.error.map(|error| error.message).unwrap_or_default();
                vec![Step::Say(format!("The cluster refused: {text}")), Step::End(FAILED)]
            }
            _ => Vec::new(),
        }
    }

    /// Ctrl-C: kills the task, or ends at once when there is none; the second time too.
    pub(crate) fn interrupt(&mut self) -> Vec<Step> {
        let Stage::Launched { agent } = &self.stage else { return vec![Step::End(INTERRUPTED)] };
        if self.interrupted {
            return vec![Step::End(INTERRUPTED)];
        }
        let kill = call::Kill {
            task_id: self.task_id(),
            agent_id: Some(agent.clone()),
            kill_policy: None,
        };
        self.interrupted = true;
        vec![
            Step::Say(format!("Killing task '{}'; press Ctrl-C again not to wait", self.job.name)),
            Step::Call(Box::new(Call { kill: Some(kill), ..self.call(call::Type::Kill) })),
        ]
    }

    /// Whether the task is still without a place.
    pub(crate) fn is_waiting(&self) -> bool {
        self.stage == Stage::Waiting
    }

    /// The id under which the cluster knows it.
    pub(crate) fn framework_id(&self) -> Option<&str> {
        self.framework.as_ref().map(|id| id.value.as_str())
    }

    /// Whether an offer was looked at that did not fit.
    pub(crate) fn saw_offers(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Why nothing was launched yet: "needs 10000 cpus, best offer has 2 on node1".
    pub(crate) fn why_waiting(&self) -> String {
        if self.framework.is_none() {
            return "not subscribed yet".to_owned();
        }
        if self.refused.is_empty() {
            return format!(
                "no offer has come yet: no agent has free resources for role {}",
                self.job.role
            );
        }
        let mut texts = Vec::new();
        for (name, unit) in
            [("cpus", "cpus"), ("mem", "MiB of memory"), ("disk", "MiB of disk"), ("gpus", "gpus")]
        {
            let of_name = self.refused.iter().flat_map(|(host, lacks)| {
                lacks.iter().filter(|lack| lack.name == name).map(move |lack| (host, lack))
            });
            if let Some((host, lack)) =
                of_name.max_by(|(_, a), (_, b)| a.offered.total_cmp(&b.offered))
            {
                let (wanted, offered) = (number(lack.wanted), number(lack.offered));
                texts.push(format!("needs {wanted} {unit}, best offer has {offered} on {host}"));
            }
        }
        let agents = match self.refused.len() {
            1 => "1 agent".to_owned(),
            many => format!("{many} agents"),
        };
        format!("{} ({agents} offered)", texts.join("; "))
    }

    fn subscribed(&mut self, subscribed: Option<event::Subscribed>) -> Vec<Step> {
        let Some(subscribed) = subscribed else { return Vec::new() };
        let again = self.framework.is_some();
        let id = subscribed.framework_id.value.clone();
        self.framework = Some(subscribed.framework_id);
        let Stage::Launched { agent } = &self.stage else {
            return vec![Step::Say(format!("Subscribed with ID {id}"))];
        };
        if !again {
            return Vec::new();
        }
        // What happened meanwhile is asked for.
        let task = call::reconcile::Task { task_id: self.task_id(), agent_id: Some(agent.clone()) };
        let reconcile = call::Reconcile { tasks: vec![task] };
        vec![
            Step::Say("Subscribed again".to_owned()),
            Step::Call(Box::new(Call {
                reconcile: Some(reconcile),
                ..self.call(call::Type::Reconcile)
            })),
        ]
    }

    fn offered(&mut self, offer: v1::Offer) -> Vec<Step> {
        if self.stage != Stage::Waiting {
            return vec![self.decline(offer.id)];
        }
        let wanted = [
            ("cpus", self.job.cpus),
            ("mem", self.job.mem),
            ("disk", self.job.disk),
            ("gpus", self.job.gpus),
        ];
        let resources = match fit::take(&offer, &wanted) {
            Ok(resources) => resources,
            Err(lacks) => {
                self.refused.insert(offer.hostname, lacks);
                return vec![self.decline(offer.id)];
            }
        };
        let task = self.task(&offer.agent_id, resources);
        let operation = v1::offer::Operation {
            r#type: Some(v1::offer::operation::Type::Launch.into()),
            launch: Some(v1::offer::operation::Launch { task_infos: vec![task] }),
            ..v1::offer::Operation::default()
        };
        let accept = call::Accept {
            offer_ids: vec![offer.id],
            operations: vec![operation],
            ..call::Accept::default()
        };
        self.launches += 1;
        self.stage = Stage::Launched { agent: offer.agent_id.clone() };
        vec![
            Step::Call(Box::new(Call { accept: Some(accept), ..self.call(call::Type::Accept) })),
            Step::Call(Box::new(Call {
                suppress: Some(call::Suppress::default()),
                ..self.call(call::Type::Suppress)
            })),
            Step::Say(format!(
                "Submitted task '{}' to agent '{}' on {}",
                self.job.name, offer.agent_id.value, offer.hostname
            )),
        ]
    }

    fn updated(&mut self, status: v1::TaskStatus) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Some(acknowledge) = self.acknowledge(&status) {
            steps.push(acknowledge);
        }
        if status.task_id.value != self.job.name || self.stage == Stage::Waiting {
            return steps;
        }
        let state = v1::TaskState::try_from(status.state).unwrap_or(v1::TaskState::TaskUnknown);
        steps.extend(describe(&self.job.name, state, &status).into_iter().map(Step::Say));
        use v1::TaskState as S;
        let message = status.message.as_deref().unwrap_or_default();
        match state {
            S::TaskFinished if self.interrupted => steps.push(Step::End(INTERRUPTED)),
            S::TaskFinished => steps.push(Step::End(DONE)),
            S::TaskKilled if self.interrupted => steps.push(Step::End(INTERRUPTED)),
            S::TaskFailed | S::TaskKilled => {
                // A failure is not a success, whatever status the command had.
                let code = exit::code(message).filter(|code| *code != DONE);
                steps.push(Step::End(code.unwrap_or(FAILED)));
            }
            S::TaskDropped if self.launches < MOST_LAUNCHES && !self.interrupted => {
                self.stage = Stage::Waiting;
                steps.push(Step::Call(Box::new(Call {
                    revive: Some(call::Revive::default()),
                    ..self.call(call::Type::Revive)
                })));
            }
            S::TaskDropped | S::TaskLost | S::TaskError | S::TaskGone | S::TaskGoneByOperator => {
                steps.push(Step::End(FAILED));
            }
            S::TaskUnknown => steps.push(Step::End(FAILED)),
            S::TaskStaging
            | S::TaskStarting
            | S::TaskRunning
            | S::TaskKilling
            | S::TaskUnreachable => {}
        }
        steps
    }

    fn failed(&self, failure: Option<&event::Failure>) -> Vec<Step> {
        let agent = failure.and_then(|failure| failure.agent_id.as_ref());
        match (&self.stage, agent) {
            (Stage::Launched { agent: ours }, Some(agent)) if ours == agent => {
                vec![Step::Say(format!("Agent '{}' does not answer", agent.value))]
            }
            _ => Vec::new(),
        }
    }

    fn acknowledge(&self, status: &v1::TaskStatus) -> Option<Step> {
        let acknowledge = call::Acknowledge {
            agent_id: status.agent_id.clone()?,
            task_id: status.task_id.clone(),
            uuid: status.uuid.clone()?,
        };
        Some(Step::Call(Box::new(Call {
            acknowledge: Some(acknowledge),
            ..self.call(call::Type::Acknowledge)
        })))
    }

    fn decline(&self, offer: v1::OfferId) -> Step {
        let decline = call::Decline {
            offer_ids: vec![offer],
            filters: Some(v1::Filters { refuse_seconds: Some(REFUSE_SECONDS) }),
        };
        Step::Call(Box::new(Call { decline: Some(decline), ..self.call(call::Type::Decline) }))
    }

    fn task(&self, agent: &v1::AgentId, resources: Vec<v1::Resource>) -> v1::TaskInfo {
        let variables = self.job.env.iter().map(|(name, value)| v1::environment::Variable {
            name: name.clone(),
            value: Some(value.clone()),
            ..v1::environment::Variable::default()
        });
        let command = v1::CommandInfo {
            shell: Some(true),
            value: Some(self.job.command.clone()),
            environment: (!self.job.env.is_empty())
                .then(|| v1::Environment { variables: variables.collect() }),
            user: Some(self.job.user.clone()),
            ..v1::CommandInfo::default()
        };
        v1::TaskInfo {
            name: self.job.name.clone(),
            task_id: self.task_id(),
            agent_id: agent.clone(),
            resources,
            command: Some(command),
            kill_policy: self.job.kill_grace_nanos.map(|nanoseconds| v1::KillPolicy {
                grace_period: Some(v1::DurationInfo { nanoseconds }),
            }),
            ..v1::TaskInfo::default()
        }
    }

    fn task_id(&self) -> v1::TaskId {
        v1::TaskId { value: self.job.name.clone() }
    }

    fn call(&self, kind: call::Type) -> Call {
        Call { framework_id: self.framework.clone(), r#type: Some(kind.into()), ..Call::default() }
    }
}

/// The lines that `mesos-execute` prints for a status.
fn describe(name: &str, state: v1::TaskState, status: &v1::TaskStatus) -> Vec<String> {
    let mut lines =
        vec![format!("Received status update {} for task '{name}'", state.as_str_name())];
    if let Some(message) = status.message.as_deref().filter(|message| !message.is_empty()) {
        lines.push(format!("  message: '{message}'"));
    }
    let source = status.source.and_then(|s| v1::task_status::Source::try_from(s).ok());
    if let Some(source) = source {
        lines.push(format!("  source: {}", source.as_str_name()));
    }
    let reason = status.reason.and_then(|r| v1::task_status::Reason::try_from(r).ok());
    if let Some(reason) = reason {
        lines.push(format!("  reason: {}", reason.as_str_name()));
    }
    lines
}

#[cfg(test)]
mod tests;
