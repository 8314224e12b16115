//! `tepui app show APP`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::client::{Api, Client};
use crate::command::task;
use crate::fault::DONE;
use crate::model::App;
use crate::output::{self, Format, colour, number};
use crate::pulling::pulling;

pub(super) async fn run(client: &Client, format: Format, given: &str) -> anyhow::Result<u8> {
    let id = client.app_id(given).await?;
    let answer: Value = client.get(Api::Marathon, &format!("/v2/apps{id}")).await?;
    let app = answer.get("app").cloned().unwrap_or_default();
    match format {
        Format::Json | Format::Jsonl => output::print_json(format, &app)?,
        Format::Table => {
            let app: App = serde_json::from_value(app)?;
            // Without the agents the rest is still worth something.
            let agents = client.agents().await.unwrap_or_default();
            let pulling = pulling(client, &app, &agents).await;
            output::print(&render(&app, &pulling, colour()))?;
        }
    }
    Ok(DONE)
}

fn render(app: &App, pulling: &BTreeMap<String, String>, colour: bool) -> String {
    let mut lines = vec![("id", app.id.clone()), ("version", app.version.clone())];
    if let Some(cmd) = &app.cmd {
        lines.push(("cmd", cmd.clone()));
    } else if !app.args.is_empty() {
        lines.push(("args", app.args.join(" ")));
    }
    let mut instances = format!("{} of {} running", app.tasks_running, app.instances);
    if app.tasks_staged > 0 {
        instances.push_str(&format!(", {} starting", app.tasks_staged));
    }
    if !app.health_checks.is_empty() {
        instances.push_str(&format!(
            ", {} healthy, {} unhealthy",
            app.tasks_healthy, app.tasks_unhealthy
        ));
    }
    lines.push(("instances", instances));
    for sentence in pulling.values() {
        lines.push(("starting", sentence.clone()));
    }
    let (cpus, mem) = (number(app.cpus), number(app.mem));
    let (disk, gpus) = (number(app.disk), number(app.gpus));
    lines.push(("each", format!("{cpus} cpus, {mem} MiB memory, {disk} MiB disk, {gpus} gpus")));
    for constraint in &app.constraints {
        lines.push(("constraint", constraint.join(" ")));
    }
    for deployment in &app.deployments {
        lines.push(("deployment", deployment.id.clone()));
    }
    if let Some(failure) = &app.last_task_failure {
        let state = failure.state.strip_prefix("TASK_").unwrap_or(&failure.state).to_lowercase();
        let (at, host, task) = (&failure.timestamp, &failure.host, &failure.task_id);
        lines.push(("last failure", format!("{state} at {at} on {host}: {}", failure.message)));
        lines.push(("failed task", task.clone()));
    }
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in lines {
        let mut name = name;
        for line in value.trim_end().split('\n') {
            text.push_str(&format!("{name:<width$}  {line}\n"));
            // Further lines of a value are below its first.
            name = "";
        }
    }
    if !app.tasks.is_empty() {
        text.push('\n');
        text.push_str(&task::table(&app.tasks).render(colour));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_app_is_shown_with_its_tasks_and_last_failure() {
        let app = serde_json::from_value(json!({
            "id": "/t/web", "cmd": "sleep 1", "instances": 2, "tasksRunning": 1, "tasksStaged": 1,
            "cpus": 0.5, "mem": 128, "disk": 0, "gpus": 0, "version": "2030-01-02T03:04:05.678Z",
            "constraints": [["hostname", "UNIQUE"]], "deployments": [{"id": "7f"}],
            "lastTaskFailure": {"appId": "/t/web", "host": "node1", "message": "Command exited with status 7\nlast error output:\n  no such file",
                "state": "TASK_FAILED", "taskId": "t.1", "timestamp": "2030-01-02T03:04:06.000Z", "version": "v"},
            "tasks": [{"id": "t.2", "appId": "/t/web", "host": "node1", "ports": [31000], "state": "TASK_RUNNING"}]
        }))
        .unwrap();
        let sentence = "pulling web:1 on node1: 2 of 5 layers, 34.0 of 120.4 MB (12 s so far)";
        let pulling = BTreeMap::from([("t.3".to_owned(), sentence.to_owned())]);
        assert_eq!(
            render(&app, &pulling, false),
            "id            /t/web
version       2030-01-02T03:04:05.678Z
cmd           sleep 1
instances     1 of 2 running, 1 starting
starting      pulling web:1 on node1: 2 of 5 layers, 34.0 of 120.4 MB (12 s so far)
each          0.5 cpus, 128 MiB memory, 0 MiB disk, 0 gpus
constraint    hostname UNIQUE
deployment    7f
last failure  failed at 2030-01-02T03:04:06.000Z on node1: Command exited with status 7
              last error output:
                no such file
failed task   t.1

ID   APP     HOST   PORTS  STATE    HEALTH  STARTED
t.2  /t/web  node1  31000  running  -       -
"
        );
    }
}
