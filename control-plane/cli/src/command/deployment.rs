//! `tepui deployment …`.

use anyhow::Context;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::args::{Change, Deployment as Verb};
use crate::client::{Api, Client};
use crate::deploy::Watch;
use crate::fault::DONE;
use crate::model::{Deployment, DeploymentResult};
use crate::output::{self, Format, Table};
use crate::pick;

pub(crate) async fn run(client: &Client, format: Format, verb: Verb) -> anyhow::Result<u8> {
    match verb {
        Verb::List => list(client, format).await,
        Verb::Cancel { deployment, force, detach, timeout } => {
            cancel(client, format, &deployment, Change { force, detach, timeout }).await
        }
    }
}

async fn list(client: &Client, format: Format) -> anyhow::Result<u8> {
    let answer: Value = client.get(Api::Marathon, "/v2/deployments").await?;
    match format {
        Format::Json | Format::Jsonl => output::print_json(format, &answer)?,
        Format::Table => output::print_table(&table(&serde_json::from_value::<Vec<_>>(answer)?))?,
    }
    Ok(DONE)
}

fn table(deployments: &[Deployment]) -> Table {
    let mut table = Table::new(&["ID", "APPS", "STEP", "NOW"]);
    for deployment in deployments {
        let now: Vec<String> = deployment
            .current_actions
            .iter()
            .map(|action| format!("{} {}", action.action, action.app))
            .collect();
        table.row([
            deployment.id.as_str().into(),
            deployment.affected_apps.join(",").into(),
            format!("{}/{}", deployment.current_step, deployment.total_steps).into(),
            now.join(", ").into(),
        ]);
    }
    table
}

async fn cancel(
    client: &Client,
    format: Format,
    given: &str,
    change: Change,
) -> anyhow::Result<u8> {
    let running: Vec<Deployment> = client.get(Api::Marathon, "/v2/deployments").await?;
    let id = pick::by_prefix("deployment", given, running.iter().map(|found| found.id.as_str()))?;
    let apps = running
        .iter()
        .find(|found| found.id == id)
        .map(|found| found.affected_apps.clone())
        .unwrap_or_default();
    let path = format!("/v2/deployments/{id}?force={}", change.force);
    if change.force {
        client.send(Api::Marathon, Method::DELETE, &path, None).await?;
        eprintln!("deployment {id} is stopped; what it had done stays");
        return Ok(DONE);
    }
    let watch = Watch::begin(client, format, change).await;
    let answer: Value = client.call(Api::Marathon, Method::DELETE, &path, None).await?;
    let undo = DeploymentResult::deserialize(&answer)
        .context("failed to read which deployment was started")?;
    watch.answered(&answer, &undo.deployment_id, &apps).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn deployments_show_their_step_and_what_is_done_now() {
        let list: Vec<Deployment> = serde_json::from_value(json!([{
            "id": "7f0c", "version": "2030-01-02T03:04:05.678Z", "affectedApps": ["/t/web", "/t/db"],
            "affectedPods": [], "steps": [],
            "currentActions": [{"action": "ScaleApplication", "app": "/t/web", "readinessCheckResults": []}],
            "currentStep": 2, "totalSteps": 3}]))
        .unwrap();
        assert_eq!(
            table(&list).render(false),
            "ID    APPS          STEP  NOW\n7f0c  /t/web,/t/db  2/3   ScaleApplication /t/web\n"
        );
    }
}
