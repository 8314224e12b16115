//! Everything that clients can change, and the answers.

use std::sync::Arc;

use tepui_marathon::{
    App, AppId, AppUpdate, DeploymentResult, DryRun, GroupId, GroupUpdate, Task, TaskId, Version,
};
use tepui_types::Uuid;

/// A change that a client asks for (`marathon-api.md` sections 2 to 7). Bodies are decoded but
/// not yet completed: that needs the current definitions, so it happens here.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// `POST /v2/apps`: a new app. Answered with [`Reply::AppCreated`].
    CreateApp {
        /// The definition, with id.
        update: AppUpdate,
        /// Cancel deployments in the way.
        force: bool,
    },
    /// `PUT` or `PATCH /v2/apps/{id}`, also the rollback to a version. Answered with
    /// [`Reply::AppUpdated`].
    UpdateApp {
        /// The app of the path.
        id: AppId,
        /// What to change; its id is ignored.
        update: AppUpdate,
        /// Absent fields are kept (`true`) or get their defaults.
        partial: bool,
        /// Create the app if it is missing (PUT), or refuse (PATCH).
        create: bool,
        /// Cancel deployments in the way.
        force: bool,
    },
    /// `PUT` or `PATCH /v2/apps`. Answered with [`Reply::Deployed`].
    UpdateApps {
        /// What to change, each with id.
        updates: Vec<AppUpdate>,
        /// Absent fields are kept (`true`) or get their defaults.
        partial: bool,
        /// Create missing apps (PUT), or refuse (PATCH).
        create: bool,
        /// Cancel deployments in the way.
        force: bool,
    },
    /// `POST /v2/apps/{id}/restart`. Answered with [`Reply::Deployed`].
    RestartApp {
        /// Which.
        id: AppId,
        /// Cancel deployments in the way.
        force: bool,
    },
    /// `DELETE /v2/apps/{id}`. Answered with [`Reply::Deployed`].
    DeleteApp {
        /// Which.
        id: AppId,
        /// Cancel deployments in the way; the API's default is true.
        force: bool,
    },
    /// Kills tasks. Answered with [`Reply::Killed`], or [`Reply::Deployed`] with `scale`.
    KillTasks {
        /// Which.
        tasks: KillTarget,
        /// Lower `instances` by the number of tasks killed.
        scale: bool,
        /// Do not relaunch under the same instance id; destroys volumes.
        wipe: bool,
        /// With `scale`: cancel deployments in the way.
        force: bool,
    },
    /// `POST /v2/groups/…`. Answered with [`Reply::Deployed`].
    CreateGroup {
        /// The group of the path.
        id: GroupId,
        /// What it holds.
        update: GroupUpdate,
        /// Cancel deployments in the way.
        force: bool,
    },
    /// `PUT /v2/groups/…`, with `scaleBy` and `version` inside. Answered with [`Reply::Deployed`],
    /// or [`Reply::Planned`] for a dry run.
    UpdateGroup {
        /// The group of the path.
        id: GroupId,
        /// What to change.
        update: GroupUpdate,
        /// Only say what would be done.
        dry_run: bool,
        /// Cancel deployments in the way.
        force: bool,
    },
    /// `PATCH /v2/groups/{id}`. Answered with [`Reply::Done`].
    EnforceRole {
        /// A top-level group.
        id: GroupId,
        /// The new policy.
        enforce: bool,
    },
    /// `DELETE /v2/groups/…`. Answered with [`Reply::Deployed`].
    DeleteGroup {
        /// Which.
        id: GroupId,
        /// Cancel deployments in the way.
        force: bool,
    },
    /// `DELETE /v2/deployments/{id}`. Answered with [`Reply::Deployed`], or [`Reply::Done`] (202)
    /// when forced.
    CancelDeployment {
        /// Which.
        id: Uuid,
        /// Stop without a rollback.
        force: bool,
    },
    /// `DELETE /v2/queue/{id}/delay`. Answered with [`Reply::Done`] (204).
    ResetDelay {
        /// Which app.
        id: AppId,
    },
}

/// Which tasks to kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KillTarget {
    /// `POST /v2/tasks/delete`: these; what does not run is skipped.
    Tasks(Vec<TaskId>),
    /// `DELETE /v2/apps/{id}/tasks/{taskId}`: this one of the app, or 404.
    TaskOf(AppId, TaskId),
    /// `DELETE /v2/apps/{id}/tasks`: all of the app, or those on one host.
    App {
        /// Which app.
        app: AppId,
        /// Only on this host.
        host: Option<String>,
    },
}

/// The answer to a command that was carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A deployment was started (or ended at once, when nothing differs).
    Deployed(DeploymentResult),
    /// An app was created.
    AppCreated {
        /// With service ports and versions.
        app: Arc<App>,
        /// The deployment that starts it.
        result: DeploymentResult,
    },
    /// An app was changed or created by PUT.
    AppUpdated {
        /// The app that was written.
        id: AppId,
        /// It did not exist before: 201.
        created: bool,
        /// The deployment.
        result: DeploymentResult,
    },
    /// These tasks are being killed.
    Killed(Vec<Task>),
    /// What a dry run would do.
    Planned(DryRun),
    /// Done, nothing to say.
    Done,
}

impl Reply {
    /// The deployment that was started, for the `Marathon-Deployment-Id` header.
    #[must_use]
    pub fn deployment(&self) -> Option<Uuid> {
        match self {
            Self::Deployed(result)
            | Self::AppCreated { result, .. }
            | Self::AppUpdated { result, .. } => Some(result.deployment_id),
            Self::Killed(_) | Self::Planned(_) | Self::Done => None,
        }
    }

    /// The version of the root group that the write made.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        match self {
            Self::Deployed(result)
            | Self::AppCreated { result, .. }
            | Self::AppUpdated { result, .. } => Some(result.version),
            Self::Killed(_) | Self::Planned(_) | Self::Done => None,
        }
    }
}
