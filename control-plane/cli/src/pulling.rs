//! Instances that wait for their image: how far it is, as their agents tell it
//! (`GET /tepui/v1/images`).

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::Value;

use crate::client::Client;
use crate::command::task::agent_url;
use crate::logs::executor_containers;
use crate::model::{Agent, App, Task};

/// An agent that does not answer at once is left out: this is talk beside the answer.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Images {
    pulls: Vec<Pull>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pull {
    image: String,
    progress: String,
    seconds: f64,
    /// Containers that wait for it.
    waiting: Vec<String>,
}

/// A sentence for each instance that waits for its image, by the task's id.
pub(crate) async fn pulling(
    client: &Client,
    app: &App,
    agents: &[Agent],
) -> BTreeMap<String, String> {
    let mut by_agent: BTreeMap<String, Vec<&Task>> = BTreeMap::new();
    for task in app.tasks.iter().filter(|task| task.state == "TASK_STAGING") {
        if let Some(url) = agent_url(agents, task.slave_id.as_deref()) {
            by_agent.entry(url).or_default().push(task);
        }
    }
    let asking = by_agent.iter().map(async |(url, tasks)| {
        let asked = tokio::time::timeout(PATIENCE, ask(client, url, tasks)).await;
        asked.ok().and_then(Result::ok).unwrap_or_default()
    });
    join_all(asking).await.into_iter().flatten().collect()
}

async fn ask(
    client: &Client,
    agent: &str,
    tasks: &[&Task],
) -> anyhow::Result<Vec<(String, String)>> {
    let Images { pulls } = client.get_from_agent(agent, "/tepui/v1/images", &[]).await?;
    if pulls.is_empty() {
        return Ok(Vec::new());
    }
    let state: Value = client.get_from_agent(agent, "/state", &[]).await?;
    Ok(matching(&pulls, &executor_containers(&state), tasks))
}

/// The tasks whose container, or one of whose pod, waits for one of these pulls.
fn matching(
    pulls: &[Pull],
    containers: &BTreeMap<String, String>,
    tasks: &[&Task],
) -> Vec<(String, String)> {
    let found = tasks.iter().filter_map(|task| {
        let container = containers.get(&task.id)?;
        let is_below = |one: &String| {
            one.strip_prefix(container.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let pull = pulls.iter().find(|pull| pull.waiting.iter().any(is_below))?;
        Some((task.id.clone(), pull.sentence(&task.host)))
    });
    found.collect()
}

impl Pull {
    fn sentence(&self, host: &str) -> String {
        format!(
            "pulling {} on {host}: {} ({:.0} s so far)",
            self.image, self.progress, self.seconds
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_task_that_waits_for_its_image_says_how_far_it_is() {
        let Images { pulls } = serde_json::from_value(json!({"pulls": [{
            "image": "docker.io/library/web:1", "progress": "2 of 5 layers, 34.0 of 120.4 MB",
            "bytes": 34, "total_bytes": 120, "seconds": 12.3, "waiting": ["c1", "pod.c2"]
        }]}))
        .unwrap();
        let state = json!({"frameworks": [{"executors": [
            {"id": "t1", "container": "c1", "queued_tasks": [{"id": "t1"}]},
            {"id": "p", "container": "pod", "tasks": [{"id": "t2"}]},
            {"id": "t3", "container": "c12", "tasks": [{"id": "t3"}]}
        ]}]});
        let task = |id: &str| Task { id: id.into(), host: "node1".into(), ..Task::default() };
        let (one, two, three) = (task("t1"), task("t2"), task("t3"));
        let found = matching(&pulls, &executor_containers(&state), &[&one, &two, &three]);
        let sentence = "pulling docker.io/library/web:1 on node1: 2 of 5 layers, 34.0 of 120.4 MB \
                        (12 s so far)";
        let expected = ["t1", "t2"].map(|task| (task.to_owned(), sentence.to_owned()));
        assert_eq!(found, expected);
    }
}
