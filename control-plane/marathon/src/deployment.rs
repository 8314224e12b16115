//! Deployments as clients see them (`marathon-api.md` section 5).

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use tepui_types::Uuid;

use crate::ids::TaskId;
use crate::number;
use crate::path::AppId;
use crate::version::Version;

/// The answer to every write that started a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentResult {
    /// Version of the new root group.
    pub version: Version,
    /// The deployment.
    #[serde(serialize_with = "number::display")]
    pub deployment_id: Uuid,
}

/// What a step does to one app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum ActionKind {
    /// Bookkeeping of a new app.
    StartApplication,
    /// All instances end and the app is gone.
    StopApplication,
    /// The number of instances changes.
    ScaleApplication,
    /// Instances are replaced by ones of the new definition.
    RestartApplication,
}

impl ActionKind {
    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StartApplication => "StartApplication",
            Self::StopApplication => "StopApplication",
            Self::ScaleApplication => "ScaleApplication",
            Self::RestartApplication => "RestartApplication",
        }
    }

    /// Reads [`ActionKind::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::StartApplication,
            Self::StopApplication,
            Self::ScaleApplication,
            Self::RestartApplication,
        ]
        .into_iter()
        .find(|kind| kind.name() == name)
    }
}

/// One action of a step.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Action {
    /// What is done.
    pub action: ActionKind,
    /// To which app.
    pub app: AppId,
}

/// Actions that run in parallel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Step {
    /// The actions.
    pub actions: Vec<Action>,
}

/// A plan as dry runs and events show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Id of the deployment.
    #[serde(serialize_with = "number::display")]
    pub id: Uuid,
    /// Its steps, run one after the other.
    pub steps: Vec<Step>,
    /// Version of the target root group.
    pub version: Version,
}

/// The answer to `PUT /v2/groups/…?dryRun=true`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DryRun {
    /// What a real run would do.
    pub steps: Vec<Step>,
}

/// One running deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Its id.
    pub id: Uuid,
    /// Version of the target root group.
    pub version: Version,
    /// Apps it touches.
    pub affected_apps: Vec<AppId>,
    /// All steps.
    pub steps: Vec<Step>,
    /// What is being done now.
    pub current_actions: Vec<CurrentAction>,
    /// 1-based number of the running step; 0 before the first.
    pub current_step: u32,
}

impl Serialize for Deployment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id.to_string())?;
        map.serialize_entry("version", &self.version)?;
        map.serialize_entry("affectedApps", &self.affected_apps)?;
        map.serialize_entry("affectedPods", &[(); 0])?;
        map.serialize_entry("steps", &self.steps)?;
        map.serialize_entry("currentActions", &self.current_actions)?;
        map.serialize_entry("currentStep", &self.current_step)?;
        map.serialize_entry("totalSteps", &self.steps.len())?;
        map.end()
    }
}

/// One action of the running step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CurrentAction {
    /// What is done.
    pub action: ActionKind,
    /// To which app.
    pub app: AppId,
    /// Results of its readiness checks.
    pub readiness_check_results: Vec<ReadinessCheckResult>,
}

/// What a readiness check says of one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessCheckResult {
    /// Name of the check.
    pub name: String,
    /// The task.
    pub task_id: TaskId,
    /// Verdict.
    pub ready: bool,
    /// Last response, when the check preserves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_response: Option<HttpResponse>,
}

/// A kept response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Content type.
    pub content_type: String,
    /// Beginning of the body.
    pub body: String,
}
