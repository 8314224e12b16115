//! What the tool reads of the APIs' answers; everything else in them is passed by.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// An app (`marathon-api.md` section 2).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct App {
    pub(crate) id: String,
    pub(crate) cmd: Option<String>,
    pub(crate) args: Vec<String>,
    pub(crate) instances: u32,
    pub(crate) cpus: f64,
    pub(crate) mem: f64,
    pub(crate) disk: f64,
    pub(crate) gpus: f64,
    pub(crate) constraints: Vec<Vec<String>>,
    pub(crate) health_checks: Vec<Value>,
    pub(crate) port_definitions: Vec<Port>,
    pub(crate) require_ports: bool,
    pub(crate) role: Option<String>,
    pub(crate) accepted_resource_roles: Option<Vec<String>>,
    pub(crate) version: String,
    pub(crate) tasks_staged: u32,
    pub(crate) tasks_running: u32,
    pub(crate) tasks_healthy: u32,
    pub(crate) tasks_unhealthy: u32,
    pub(crate) deployments: Vec<Named>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) last_task_failure: Option<Failure>,
}

/// A wanted port.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Port {
    pub(crate) port: u16,
}

/// An object with an id.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Named {
    pub(crate) id: String,
}

/// The last failure of an app.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Failure {
    pub(crate) host: String,
    pub(crate) message: String,
    pub(crate) state: String,
    pub(crate) task_id: String,
    pub(crate) timestamp: String,
}

/// A task of an app (`marathon-api.md` section 3).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) app_id: String,
    pub(crate) host: String,
    pub(crate) slave_id: Option<String>,
    pub(crate) ports: Vec<u16>,
    pub(crate) state: String,
    pub(crate) started_at: Option<String>,
    pub(crate) health_check_results: Vec<Health>,
}

/// The verdict of one health check.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Health {
    pub(crate) alive: bool,
}

/// A deployment under way (`marathon-api.md` section 5).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Deployment {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) affected_apps: Vec<String>,
    pub(crate) current_actions: Vec<Action>,
    pub(crate) current_step: u32,
    pub(crate) total_steps: u32,
}

/// What is being done to one app.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Action {
    pub(crate) action: String,
    pub(crate) app: String,
}

/// The answer to a write.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeploymentResult {
    pub(crate) deployment_id: String,
}

/// The launch queue (`marathon-api.md` section 7).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Queue {
    pub(crate) queue: Vec<QueueItem>,
}

/// A waiting app.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct QueueItem {
    pub(crate) count: u32,
    pub(crate) since: String,
    pub(crate) delay: Delay,
    pub(crate) processed_offers_summary: Summary,
    pub(crate) last_unused_offers: Vec<UnusedOffer>,
    pub(crate) app: Option<App>,
}

/// Its back-off.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Delay {
    pub(crate) time_left_seconds: u64,
    pub(crate) overdue: bool,
}

impl Default for Delay {
    fn default() -> Self {
        Self { time_left_seconds: 0, overdue: true }
    }
}

/// What happened to the offers it saw.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Summary {
    pub(crate) processed_offers_count: u64,
    pub(crate) reject_summary_last_offers: Vec<Rejects>,
    pub(crate) reject_summary_launch_attempt: Vec<Rejects>,
}

/// One step of the funnel.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, serde::Serialize)]
#[serde(default)]
pub(crate) struct Rejects {
    pub(crate) reason: String,
    pub(crate) declined: u64,
    pub(crate) processed: u64,
}

/// The latest offer of one agent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct UnusedOffer {
    pub(crate) offer: Offer,
    pub(crate) reason: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Offer {
    pub(crate) hostname: String,
    pub(crate) agent_id: String,
    pub(crate) resources: Vec<OfferedResource>,
    pub(crate) attributes: Vec<OfferedAttribute>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct OfferedResource {
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) scalar: Option<f64>,
    pub(crate) ranges: Option<Vec<NumberRange>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct NumberRange {
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct OfferedAttribute {
    pub(crate) name: String,
    pub(crate) text: Option<String>,
    pub(crate) scalar: Option<f64>,
}

/// An agent in `/slaves` (`mesos-http.md` 4.3).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) hostname: String,
    pub(crate) port: u16,
    /// `slave(1)@ip:port`.
    pub(crate) pid: String,
    pub(crate) active: bool,
    pub(crate) deactivated: bool,
    pub(crate) drain_info: Option<DrainInfo>,
    pub(crate) version: String,
    pub(crate) attributes: BTreeMap<String, Value>,
    pub(crate) resources: Amounts,
    pub(crate) used_resources: Amounts,
    pub(crate) offered_resources: Amounts,
}

/// How far an agent is drained.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct DrainInfo {
    /// `DRAINING` or `DRAINED`.
    pub(crate) state: String,
}

impl Agent {
    /// `http://ip:port` of its own endpoints.
    pub(crate) fn url(&self) -> String {
        match self.pid.rsplit_once('@') {
            Some((_, address)) if !address.is_empty() => format!("http://{address}"),
            _ => format!("http://{}:{}", self.hostname, self.port),
        }
    }
}

/// The numbers of a resources object; ranges and sets are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Amounts {
    pub(crate) cpus: f64,
    pub(crate) mem: f64,
    pub(crate) disk: f64,
    pub(crate) gpus: f64,
}

impl Amounts {
    /// The amount of a resource by its name, 0 for others.
    pub(crate) fn of(&self, name: &str) -> f64 {
        match name {
            "cpus" => self.cpus,
            "mem" => self.mem,
            "disk" => self.disk,
            "gpus" => self.gpus,
            _ => 0.0,
        }
    }
}

/// A framework in `/frameworks` (`mesos-http.md` 4.3).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Framework {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) user: String,
    pub(crate) active: bool,
    pub(crate) connected: bool,
    pub(crate) recovered: bool,
    pub(crate) role: Option<String>,
    pub(crate) roles: Vec<String>,
    pub(crate) tasks: Vec<Value>,
    pub(crate) used_resources: Amounts,
}
