//! Whose output: instances of an app, those that are over, or one task of any framework.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::client::{Api, Client};
use crate::command::task::agent_url;
use crate::explain;
use crate::fault::{Fault, USAGE_OR_PLACEMENT};
use crate::model::{Agent, App};
use crate::pick;

/// A task, and where it is or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instance {
    pub(super) task: String,
    /// `http://ip:port` of its agent, while that is registered.
    pub(super) agent: Option<String>,
}

#[derive(Deserialize)]
struct MesosTasks {
    tasks: Vec<MesosTask>,
}

/// A task as the control plane or an agent tells it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MesosTask {
    pub(super) id: String,
    slave_id: String,
    pub(super) state: String,
    statuses: Vec<Status>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    timestamp: f64,
}

impl MesosTask {
    pub(super) fn has_ended(&self) -> bool {
        const GOING: [&str; 5] =
            ["TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_UNREACHABLE"];
        !GOING.contains(&self.state.as_str())
    }

    pub(super) fn instance(&self, agents: &[Agent]) -> Instance {
        let agent = agent_url(agents, Some(&self.slave_id));
        Instance { task: self.id.clone(), agent }
    }

    fn last_told(&self) -> f64 {
        self.statuses.iter().map(|status| status.timestamp).fold(0.0, f64::max)
    }
}

/// The instances that an app has, or one of them.
pub(super) fn current(
    app: &App,
    number: Option<usize>,
    agents: &[Agent],
) -> Result<Vec<Instance>, Fault> {
    let all: Vec<Instance> = app
        .tasks
        .iter()
        .map(|task| Instance {
            task: task.id.clone(),
            agent: agent_url(agents, task.slave_id.as_deref()),
        })
        .collect();
    match number {
        None => Ok(all),
        Some(number) => match all.get(number - 1) {
            Some(one) => Ok(vec![one.clone()]),
            None => Err(no_such(app, number, all.len())),
        },
    }
}

fn no_such(app: &App, number: usize, count: usize) -> Fault {
    let have = match count {
        1 => "1 instance".to_owned(),
        _ => format!("{count} instances"),
    };
    Fault::new(format!("{} has {have}, and there is no number {number}", app.id))
        .fix(format!("`tepui app show {}` lists them", app.id))
        .code(USAGE_OR_PLACEMENT)
}

/// Why an app has no instance, in a sentence.
pub(super) async fn why_none(client: &Client, app: &App) -> String {
    let (Ok(queue), agents) = (client.queue().await, client.agents().await.ok()) else {
        return "it is not known why".to_owned();
    };
    let item = queue.queue.iter().find(|item| item.app.as_ref().is_some_and(|a| a.id == app.id));
    explain::explain(app, item, agents.as_deref()).verdict
}

/// The error for an app without instances.
pub(super) async fn none(client: &Client, app: &App) -> Fault {
    let why = why_none(client, app).await;
    Fault::new(format!("{} has no instance whose output there would be: {why}", app.id)).fix(
        format!(
            "`tepui logs {0} --previous` shows the last one that ended, `tepui logs {0} -f` waits \
             for the next one",
            app.id
        ),
    )
}

/// The instance of an app that ended last, or the one `number - 1` before it.
pub(super) async fn previous(
    client: &Client,
    app: &App,
    number: Option<usize>,
    agents: &[Agent],
) -> anyhow::Result<(Instance, MesosTask)> {
    let MesosTasks { tasks } = client.get(Api::Mesos, "/tasks?limit=100000").await?;
    let mut ended = ended_of(&app.id, tasks);
    if ended.is_empty() {
        // A control plane that has just begun does not know what ended before; agents do.
        for agent in agents {
            if let Ok(state) = client.get_from_agent::<Value>(&agent.url(), "/state", &[]).await {
                ended.extend(ended_of(&app.id, tasks_of_agent(&state)));
            }
        }
    }
    ended.sort_by(|a, b| b.last_told().total_cmp(&a.last_told()));
    let count = ended.len();
    let wanted = number.unwrap_or(1);
    let Some(task) = ended.into_iter().nth(wanted - 1) else {
        let what = match count {
            0 => format!("no instance of {} is known to have ended", app.id),
            _ => format!("only {count} instances of {} are known to have ended", app.id),
        };
        return Err(Fault::new(what)
            .fix("agents forget ended tasks after a while")
            .code(USAGE_OR_PLACEMENT)
            .into());
    };
    Ok((task.instance(agents), task))
}

/// Ended tasks that were instances of this app, by Marathon's form of their ids
/// (`marathon-behaviour.md`): the app's id with `_` between its parts, a dot, the instance.
fn ended_of(app: &str, tasks: Vec<MesosTask>) -> Vec<MesosTask> {
    let beginning = format!("{}.", app.trim_start_matches('/').replace('/', "_"));
    let is_instance = |rest: &str| {
        let rest = rest.strip_prefix("instance-").unwrap_or(rest);
        rest.len() >= 36 && rest.as_bytes()[8] == b'-' && rest.as_bytes()[13] == b'-'
    };
    let is_of_app = |task: &MesosTask| task.id.strip_prefix(&beginning).is_some_and(is_instance);
    tasks.into_iter().filter(|task| is_of_app(task) && task.has_ended()).collect()
}

/// Every task in an agent's `/state`.
fn tasks_of_agent(state: &Value) -> Vec<MesosTask> {
    let mut all = Vec::new();
    for executor in executors(state) {
        for list in ["tasks", "completed_tasks"] {
            for task in array(executor, list) {
                all.extend(MesosTask::deserialize(task).ok());
            }
        }
    }
    all
}

/// A task of any framework by the beginning of its id.
pub(super) async fn task(
    client: &Client,
    given: &str,
    agents: &[Agent],
) -> anyhow::Result<Instance> {
    // The list is sorted by time: the latest task of an id that was used again comes first.
    let MesosTasks { tasks } = client.get(Api::Mesos, "/tasks?limit=100000").await?;
    let mut ids: Vec<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    let id = pick::by_prefix("task", given, ids)?.to_owned();
    let agent = tasks.iter().find(|task| task.id == id).map(|task| task.slave_id.as_str());
    Ok(Instance { agent: agent_url(agents, agent), task: id })
}

/// What the control plane knows of a task.
pub(super) async fn look_up(client: &Client, id: &str) -> anyhow::Result<Option<MesosTask>> {
    let query = reqwest::Url::parse_with_params("http://h/", [("task_id", id)])?;
    let path = format!("/tasks?{}", query.query().unwrap_or_default());
    let MesosTasks { tasks } = client.get(Api::Mesos, &path).await?;
    Ok(tasks.into_iter().next())
}

/// The sandbox of a task at its agent; `None` when the agent does not know it (yet, or any more).
pub(super) async fn sandbox(
    client: &Client,
    agent: &str,
    task: &str,
) -> anyhow::Result<Option<String>> {
    let state: Value = client.get_from_agent(agent, "/state", &[]).await?;
    Ok(sandbox_in(&state, task))
}

fn array<'a>(value: &'a Value, name: &str) -> impl DoubleEndedIterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// All executors; the latest run of one comes first.
fn executors(state: &Value) -> impl Iterator<Item = &Value> {
    let frameworks = ["frameworks", "completed_frameworks"];
    let frameworks = frameworks.into_iter().flat_map(|name| array(state, name));
    let lists = ["executors", "completed_executors"];
    frameworks.flat_map(move |one| lists.into_iter().flat_map(|name| array(one, name).rev()))
}

/// The sandbox of a task in an agent's `/state`, also of one that has ended.
pub(super) fn sandbox_in(state: &Value, id: &str) -> Option<String> {
    let is_it = |value: &Value| value.get("id").and_then(Value::as_str) == Some(id);
    for executor in executors(state) {
        let lists = ["tasks", "queued_tasks", "completed_tasks"];
        let task = lists.iter().flat_map(|name| array(executor, name)).find(|task| is_it(task));
        if task.is_none() && !is_it(executor) {
            continue;
        }
        let folder = executor.get("directory")?.as_str()?;
        return Some(match task.and_then(nested_container) {
            Some(container) => format!("{folder}/containers/{container}"),
            None => folder.to_owned(),
        });
    }
    None
}

/// The container of each task's executor in an agent's `/state`, of those that are not over.
pub(crate) fn executor_containers(state: &Value) -> BTreeMap<String, String> {
    let mut containers = BTreeMap::new();
    let executors = array(state, "frameworks").flat_map(|one| array(one, "executors"));
    for executor in executors {
        let Some(container) = executor.get("container").and_then(Value::as_str) else { continue };
        let tasks = ["tasks", "queued_tasks"].into_iter().flat_map(|name| array(executor, name));
        for one in tasks.chain(std::iter::once(executor)) {
            if let Some(id) = one.get("id").and_then(Value::as_str) {
                containers.insert(id.to_owned(), container.to_owned());
            }
        }
    }
    containers
}

/// The container of a task of a pod, whose sandbox is below the pod's.
fn nested_container(task: &Value) -> Option<&str> {
    let ids = array(task, "statuses").rev();
    let mut ids = ids.filter_map(|status| status.pointer("/container_status/container_id"));
    ids.find(|id| id.get("parent").is_some())?.get("value")?.as_str()
}

/// The part of a task id that tells instances of one app apart: the beginning of its uuid.
pub(super) fn label(task: &str) -> &str {
    let instance = task.find(".instance-").map_or(task, |at| &task[at + ".instance-".len()..]);
    instance.get(..8).unwrap_or(instance)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const UUID: &str = "11112222-3333-11ea-8000-0242ac110002";

    #[test]
    fn log_lines_are_labelled_by_the_instance() {
        assert_eq!(label(&format!("t_web.instance-{UUID}._app.1")), "11112222");
        assert_eq!(label("x"), "x");
    }

    #[test]
    fn only_ended_instances_of_the_very_app_are_former_ones() {
        let task = |id: String, state: &str| MesosTask {
            id,
            state: state.to_owned(),
            ..MesosTask::default()
        };
        let all = vec![
            task(format!("t_web.instance-{UUID}._app.1"), "TASK_FAILED"),
            task(format!("t_web.{UUID}"), "TASK_KILLED"),
            task(format!("t_web.instance-{UUID}._app.2"), "TASK_RUNNING"),
            task(format!("t_web_2.instance-{UUID}._app.1"), "TASK_FAILED"),
            task("t_web.other".into(), "TASK_FAILED"),
        ];
        let found = ended_of("/t/web", all);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|task| task.id.starts_with("t_web.")));
    }

    #[test]
    fn the_sandbox_is_found_for_running_and_ended_tasks_and_those_of_pods() {
        let nested =
            json!({"container_status": {"container_id": {"value": "c", "parent": {"value": "p"}}}});
        let state = json!({
            "frameworks": [{"id": "f", "executors": [
                {"id": "t1", "directory": "/w/runs/1", "tasks": [{"id": "t1"}]},
                {"id": "pod", "directory": "/w/runs/p", "tasks": [{"id": "t5", "statuses": [nested]}]}],
                "completed_executors": [
                {"id": "t2", "directory": "/w/runs/2", "completed_tasks": [{"id": "t2"}]},
                {"id": "t2", "directory": "/w/runs/3", "completed_tasks": [{"id": "t2"}]}]}],
            "completed_frameworks": [{"executors": [], "completed_executors": [
                {"id": "e", "directory": "/w/runs/4", "tasks": [], "completed_tasks": [{"id": "t3"}]}]}]
        });
        let sandbox = |task| sandbox_in(&state, task);
        assert_eq!(sandbox("t1").as_deref(), Some("/w/runs/1"));
        assert_eq!(sandbox("t2").as_deref(), Some("/w/runs/3"));
        assert_eq!(sandbox("t3").as_deref(), Some("/w/runs/4"));
        assert_eq!(sandbox("t4"), None);
        assert_eq!(sandbox("t5").as_deref(), Some("/w/runs/p/containers/c"));
        assert_eq!(sandbox_in(&json!({}), "t1"), None);
    }
}
