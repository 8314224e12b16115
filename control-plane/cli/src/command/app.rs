//! `tepui app …`.

mod change;
mod show;

use serde_json::Value;

use crate::args::App as Verb;
use crate::client::{Api, Client};
use crate::fault::DONE;
use crate::logs;
use crate::model::{App, Queue};
use crate::output::{self, Cell, Format, Table, Tone, number};

pub(crate) async fn run(client: &Client, format: Format, verb: Verb) -> anyhow::Result<u8> {
    match verb {
        Verb::List { label } => list(client, format, label.as_deref()).await,
        Verb::Show { app } => show::run(client, format, &app).await,
        Verb::Create { file, change } => change::create(client, format, &file, change).await,
        Verb::Update { file, replace, change } => {
            change::update(client, format, &file, replace, change).await
        }
        Verb::Scale { app, instances, change } => {
            change::scale(client, format, &app, instances, change).await
        }
        Verb::Restart { app, change } => change::restart(client, format, &app, change).await,
        Verb::Delete { app, change } => change::delete(client, format, &app, change).await,
        Verb::Logs(asked) => logs::of_app(client, format, &asked).await,
    }
}

async fn list(client: &Client, format: Format, label: Option<&str>) -> anyhow::Result<u8> {
    let mut path = "/v2/apps".to_owned();
    if let Some(label) = label {
        let url = reqwest::Url::parse_with_params("http://h/", [("label", label)])?;
        path = format!("{path}?{}", url.query().unwrap_or_default());
    }
    let answer: Value = client.get(Api::Marathon, &path).await?;
    let apps = answer.get("apps").cloned().unwrap_or_default();
    match format {
        Format::Json | Format::Jsonl => output::print_json(format, &apps)?,
        Format::Table => {
            let queue = client.queue().await?;
            output::print_table(&table(&serde_json::from_value::<Vec<App>>(apps)?, &queue))?;
        }
    }
    Ok(DONE)
}

fn table(apps: &[App], queue: &Queue) -> Table {
    let mut table = Table::new(&["ID", "STATUS", "INSTANCES", "HEALTHY", "CPUS", "MEM MiB"]);
    for app in apps {
        let healthy = match app.health_checks.is_empty() {
            true => "-".to_owned(),
            false => format!("{}/{}", app.tasks_healthy, app.instances),
        };
        table.row([
            app.id.as_str().into(),
            status(app, queue),
            format!("{}/{}", app.tasks_running, app.instances).into(),
            healthy.into(),
            number(app.cpus).into(),
            number(app.mem).into(),
        ]);
    }
    table
}

/// Marathon's five words (`marathon-behaviour.md` section 15 and `conventions.md` 1.4).
fn status(app: &App, queue: &Queue) -> Cell {
    let item = queue.queue.iter().find(|item| item.app.as_ref().is_some_and(|a| a.id == app.id));
    match item {
        Some(item) if !item.delay.overdue => Cell::toned("Delayed", Tone::Bad),
        Some(item) if item.count > 0 => Cell::toned("Waiting", Tone::Busy),
        _ if !app.deployments.is_empty() => Cell::toned("Deploying", Tone::Busy),
        _ if app.instances == 0 && app.tasks_running == 0 => Cell::toned("Suspended", Tone::Plain),
        _ => Cell::toned("Running", Tone::Good),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_app_has_one_of_five_words() {
        let apps: Vec<App> = serde_json::from_value(json!([
            {"id": "/running", "instances": 2, "tasksRunning": 2, "tasksHealthy": 2, "cpus": 0.1,
             "mem": 10, "healthChecks": [{}]},
            {"id": "/deploying", "instances": 2, "tasksRunning": 1, "deployments": [{"id": "d"}]},
            {"id": "/waiting", "instances": 1, "deployments": [{"id": "d"}], "cpus": 10000},
            {"id": "/delayed", "instances": 1},
            {"id": "/suspended", "instances": 0}
        ]))
        .unwrap();
        let queue: Queue = serde_json::from_value(json!({"queue": [
            {"count": 1, "delay": {"timeLeftSeconds": 0, "overdue": true}, "app": {"id": "/waiting"}},
            {"count": 1, "delay": {"timeLeftSeconds": 7, "overdue": false}, "app": {"id": "/delayed"}}
        ]}))
        .unwrap();
        assert_eq!(
            table(&apps, &queue).render(false),
            "ID          STATUS     INSTANCES  HEALTHY  CPUS   MEM MiB\n\
             /running    Running    2/2        2/2      0.1    10\n\
             /deploying  Deploying  1/2        -        0      0\n\
             /waiting    Waiting    0/1        -        10000  0\n\
             /delayed    Delayed    0/1        -        0      0\n\
             /suspended  Suspended  0/0        -        0      0\n"
        );
    }
}
