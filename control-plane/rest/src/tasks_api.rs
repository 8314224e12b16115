//! `/v2/tasks` and the tasks of apps (`marathon-api.md` sections 2 and 3).

use serde_json::json;
use tepui_apps::{Command, KillTarget, Reply};
use tepui_marathon::{Rejection, TaskId, decode_task_ids};
use tepui_types::TaskState;

use crate::answer::{self, Answer};
use crate::apps::Apps;
use crate::apps_api::deployed;
use crate::look;
use crate::request::{Request, known_id, missing};

/// `GET /v2/tasks`.
pub(crate) async fn list<A: Apps>(request: &Request<A>) -> Answer {
    let wanted: Vec<String> = request
        .query
        .all("status")
        .chain(request.query.all("status[]"))
        .filter(|status| matches!(*status, "running" | "staging"))
        .map(str::to_owned)
        .collect();
    let mut tasks = request.shared.apps.read(|apps, _| look::tasks(apps)).await?;
    if !wanted.is_empty() {
        tasks.retain(|task| {
            let status = match task.state {
                TaskState::Running => "running",
                TaskState::Staging | TaskState::Starting => "staging",
                _ => "",
            };
            wanted.iter().any(|wanted| wanted == status)
        });
    }
    answer::ok(&json!({ "tasks": tasks }))
}

/// `GET /v2/apps/{id}/tasks`.
pub(crate) async fn of_app<A: Apps>(request: &Request<A>, id: &str) -> Answer {
    let path = known_id("App", id)?;
    let tasks = request.shared.apps.read(move |apps, _| look::tasks_of(apps, &path)).await?;
    answer::ok(&json!({ "tasks": tasks.ok_or_else(|| missing("App", id))? }))
}

/// `GET /v2/apps/{group}/*/tasks`.
pub(crate) async fn below<A: Apps>(request: &Request<A>, group: &str) -> Answer {
    let path = known_id("Group", group)?;
    let tasks = request.shared.apps.read(move |apps, _| look::tasks_below(apps, &path)).await?;
    answer::ok(&json!({ "tasks": tasks.ok_or_else(|| missing("Group", group))? }))
}

/// `POST /v2/tasks/delete`.
pub(crate) async fn kill<A: Apps>(request: &Request<A>) -> Answer {
    let tasks = KillTarget::Tasks(decode_task_ids(request.json()?)?);
    deployed(&send(request, tasks).await?)
}

/// `DELETE /v2/apps/{id}/tasks`.
pub(crate) async fn kill_of_app<A: Apps>(request: &Request<A>, id: &str) -> Answer {
    let app = known_id("App", id)?;
    let host = request.query.first("host").filter(|host| !host.is_empty()).map(str::to_owned);
    deployed(&send(request, KillTarget::App { app, host }).await?)
}

/// `DELETE /v2/apps/{id}/tasks/{taskId}`.
pub(crate) async fn kill_one<A: Apps>(request: &Request<A>, id: &str, task: &str) -> Answer {
    let app = known_id("App", id)?;
    let task = TaskId::parse(task).map_err(|_| missing("Task", task))?;
    match send(request, KillTarget::TaskOf(app, task.clone())).await? {
        Reply::Killed(killed) => match killed.into_iter().next() {
            Some(killed) => answer::ok(&json!({ "task": killed })),
            None => Err(missing("Task", task.as_str()).into()),
        },
        reply => deployed(&reply),
    }
}

async fn send<A: Apps>(
    request: &Request<A>,
    tasks: KillTarget,
) -> Result<Reply, crate::apps::ServiceError> {
    let scale = request.query.flag("scale", false);
    let wipe = request.query.flag("wipe", false);
    if scale && wipe {
        return Err(Rejection::new(400, "You cannot use scale and wipe at the same time.").into());
    }
    let command = Command::KillTasks { tasks, scale, wipe, force: request.force(false) };
    request.shared.apps.command(command, None).await
}
