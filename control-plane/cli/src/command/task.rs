//! `tepui task …`.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::args::Task as Verb;
use crate::client::{Api, Client};
use crate::fault::DONE;
use crate::logs;
use crate::model::{Agent, App, Task};
use crate::output::{self, Cell, Format, Table, Tone};
use crate::pick;

#[derive(Deserialize)]
struct Tasks {
    tasks: Vec<Task>,
}

pub(crate) async fn run(client: &Client, format: Format, verb: Verb) -> anyhow::Result<u8> {
    match verb {
        Verb::List { app } => list(client, format, app.as_deref()).await,
        Verb::Kill { tasks, scale, force } => kill(client, format, &tasks, scale, force).await,
        Verb::Logs { task, logs } => logs::of_task(client, format, &task, &logs).await,
    }
}

async fn list(client: &Client, format: Format, app: Option<&str>) -> anyhow::Result<u8> {
    let path = match app {
        Some(given) => format!("/v2/apps{}/tasks", client.app_id(given).await?),
        None => "/v2/tasks".to_owned(),
    };
    let answer: Value = client.get(Api::Marathon, &path).await?;
    match format {
        Format::Json | Format::Jsonl => {
            output::print_json(format, answer.get("tasks").unwrap_or(&Value::Null))?
        }
        Format::Table => {
            let Tasks { tasks } = serde_json::from_value(answer)?;
            output::print_table(&table(&tasks))?;
        }
    }
    Ok(DONE)
}

/// Tasks as rows.
pub(crate) fn table(tasks: &[Task]) -> Table {
    let mut table = Table::new(&["ID", "APP", "HOST", "PORTS", "STATE", "HEALTH", "STARTED"]);
    for task in tasks {
        let state = task.state.strip_prefix("TASK_").unwrap_or(&task.state).to_lowercase();
        let tone = match state.as_str() {
            "running" => Tone::Good,
            "staging" | "starting" | "killing" => Tone::Busy,
            _ => Tone::Bad,
        };
        let health = match task.health_check_results.as_slice() {
            [] => Cell::from("-"),
            all if all.iter().all(|health| health.alive) => Cell::toned("healthy", Tone::Good),
            _ => Cell::toned("unhealthy", Tone::Bad),
        };
        let ports: Vec<String> = task.ports.iter().map(u16::to_string).collect();
        table.row([
            task.id.as_str().into(),
            task.app_id.as_str().into(),
            task.host.as_str().into(),
            ports.join(",").into(),
            Cell::toned(state, tone),
            health,
            task.started_at.as_deref().unwrap_or("-").into(),
        ]);
    }
    table
}

async fn kill(
    client: &Client,
    format: Format,
    given: &[String],
    scale: bool,
    force: bool,
) -> anyhow::Result<u8> {
    let Tasks { tasks } = client.get(Api::Marathon, "/v2/tasks").await?;
    let mut ids = Vec::new();
    for one in given {
        ids.push(pick::by_prefix("task", one, tasks.iter().map(|task| task.id.as_str()))?);
    }
    let path = format!("/v2/tasks/delete?scale={scale}&force={force}");
    let body = json!({"ids": ids});
    let answer: Value = client.call(Api::Marathon, Method::POST, &path, Some(&body)).await?;
    if format.is_json() {
        output::print_json(format, &answer)?;
    }
    for id in ids {
        eprintln!("{id} is being killed");
    }
    Ok(DONE)
}

/// The app of `APP` or `APP/N`, and the number of an instance from 1 on. An app of the very name
/// comes first.
pub(crate) async fn instance(client: &Client, given: &str) -> anyhow::Result<(App, Option<usize>)> {
    let short = given.rsplit_once('/').and_then(|(app, number)| {
        let number = number.parse::<usize>().ok().filter(|number| *number > 0)?;
        (!app.is_empty()).then_some((app, number))
    });
    let whole = client.app(given).await;
    match (whole, short) {
        (Err(_), Some((app, number))) => Ok((client.app(app).await?, Some(number))),
        (whole, _) => Ok((whole?, None)),
    }
}

/// The address of an agent by its id.
pub(crate) fn agent_url(agents: &[Agent], id: Option<&str>) -> Option<String> {
    agents.iter().find(|agent| Some(agent.id.as_str()) == id).map(Agent::url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_show_where_they_run_and_how_they_are() {
        let Tasks { tasks } = serde_json::from_value(json!({"tasks": [
            {"id": "web.1", "appId": "/web", "host": "node1", "slaveId": "S0", "ports": [31000, 31001],
             "state": "TASK_RUNNING", "startedAt": "2030-01-02T03:04:07.200Z",
             "healthCheckResults": [{"alive": true}]},
            {"id": "web.2", "appId": "/web", "host": "node2", "ports": [], "state": "TASK_STAGING"}
        ]}))
        .unwrap();
        assert_eq!(
            table(&tasks).render(false),
            "ID     APP   HOST   PORTS        STATE    HEALTH   STARTED\n\
             web.1  /web  node1  31000,31001  running  healthy  2030-01-02T03:04:07.200Z\n\
             web.2  /web  node2               staging  -        -\n"
        );
    }
}
