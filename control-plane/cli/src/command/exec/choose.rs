//! Which task a command is to run beside, where its agent is, and what its container is called.

use serde::Deserialize;
use serde_json::Value;

use crate::args::Exec;
use crate::client::{Api, Client};
use crate::command::task::{agent_url, instance};
use crate::fault::{Fault, USAGE_OR_PLACEMENT};
use crate::pick;

/// A task's container.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    /// `http://ip:port`.
    pub(super) agent: String,
    /// As the agent names it.
    pub(super) container: Value,
}

#[derive(Debug, Deserialize)]
struct MesosTasks {
    tasks: Vec<MesosTask>,
}

#[derive(Debug, Deserialize)]
struct MesosTask {
    id: String,
    #[serde(default)]
    slave_id: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    statuses: Vec<Value>,
}

impl MesosTask {
    fn runs(&self) -> bool {
        matches!(self.state.as_str(), "TASK_RUNNING" | "TASK_KILLING")
    }

    fn container(&self) -> Option<&Value> {
        let ids = self.statuses.iter().rev().map(|one| &one["container_status"]["container_id"]);
        ids.into_iter().find(|id| id.is_object())
    }
}

/// Finds the task through the control plane.
pub(super) async fn target(client: &Client, exec: &Exec) -> anyhow::Result<Target> {
    let MesosTasks { tasks } = client.get(Api::Mesos, "/tasks?limit=100000").await?;
    let id = match &exec.task {
        Some(task) => {
            let mut ids: Vec<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
            ids.sort_unstable();
            ids.dedup();
            pick::by_prefix("task", task, ids)?.to_owned()
        }
        None => of_app(client, &exec.app).await?,
    };
    // The latest comes first.
    let task = tasks.iter().find(|task| task.id == id).ok_or_else(|| {
        Fault::new(format!("the control plane does not know task '{id}' any more"))
            .fix("`tepui task list` shows those that there are")
    })?;
    if !task.runs() {
        let state = task.state.trim_start_matches("TASK_").to_lowercase();
        return Err(Fault::new(format!("task '{id}' does not run: it is {state}"))
            .fix("`tepui task list` shows those that run")
            .into());
    }
    let container = task
        .container()
        .ok_or_else(|| Fault::new(format!("the agent has not told the container of '{id}'")))?;
    let agents = client.agents().await?;
    let agent = agent_url(&agents, Some(task.slave_id.as_str()))
        .ok_or_else(|| Fault::new(format!("the agent of task '{id}' is not registered")))?;
    Ok(Target { agent, container: container.clone() })
}

/// The instance of an app that was named, or its only one.
async fn of_app(client: &Client, given: &str) -> anyhow::Result<String> {
    let (app, number) = instance(client, given).await?;
    let tasks: Vec<&str> = app.tasks.iter().map(|task| task.id.as_str()).collect();
    match (number, tasks.as_slice()) {
        (_, []) => Err(Fault::new(format!("{} has no tasks", app.id))
            .fix(format!("`tepui explain {}` tells why none runs", app.id))
            .into()),
        (Some(number), all) => match all.get(number - 1) {
            Some(task) => Ok((*task).to_owned()),
            None => Err(Fault::new(format!(
                "{} has {} instances, and there is no number {number}",
                app.id,
                all.len()
            ))
            .fix(format!("`tepui app show {}` lists them", app.id))
            .code(USAGE_OR_PLACEMENT)
            .into()),
        },
        // Any of several does, as long as it is always the same one.
        (None, [first, ..]) => Ok((*first).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_container_is_that_of_the_newest_status_that_tells_it() {
        let id = json!({"value": "c", "parent": {"value": "p"}});
        let task = MesosTask {
            id: "t".into(),
            slave_id: "s".into(),
            state: "TASK_RUNNING".into(),
            statuses: vec![
                json!({"state": "TASK_STARTING", "container_status": {"container_id": {"value": "x"}}}),
                json!({"state": "TASK_RUNNING", "container_status": {"container_id": id}}),
                json!({"state": "TASK_RUNNING"}),
            ],
        };
        assert_eq!(task.container(), Some(&id));
        assert!(task.runs());
    }
}
