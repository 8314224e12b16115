//! `tepui apply`.

use anyhow::Context;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tepui_marathon::AppId;

use crate::apply::{
    self, Conflict, Definition, Live, OWNER_LABEL, Obstacle, Plan, PruneRefusal, Pruning,
};
use crate::args::{Apply, Change};
use crate::client::{Api, Client};
use crate::deploy::Watch;
use crate::fault::{self, CHANGES, DONE, Fault, USAGE_OR_PLACEMENT};
use crate::model::DeploymentResult;
use crate::output::{self, Format, Tone, colour, paint};

pub(crate) async fn run(client: &Client, format: Format, words: Apply) -> anyhow::Result<u8> {
    apply(client, format, words).await.map_err(|error| match fault::status(&error) {
        Some(status) if lasts(status) => fault::with_code(error, USAGE_OR_PLACEMENT),
        _ => error,
    })
}

/// Whether an answer stays the same however often is asked. What may pass by itself: nobody leads, a
/// deployment is in the way (409), or so many are under way that there is no place for another (403).
fn lasts(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 403 | 408 | 409 | 425 | 429)
}

async fn apply(client: &Client, format: Format, words: Apply) -> anyhow::Result<u8> {
    let definitions = apply::read(&words.paths)?;
    if words.check {
        eprintln!("{}", checked(definitions.len()));
        return Ok(DONE);
    }
    let owner = words.owner.as_deref().unwrap_or_default();
    let live = live(client).await?;
    let pruning = if words.prune { Pruning::Percent(words.prune_limit) } else { Pruning::Off };
    let plan = apply::plan(&definitions, &live, owner, pruning, words.adopt)
        .map_err(|conflict| explain(&conflict, owner))?;
    show(format, &plan)?;
    if words.dry_run {
        return Ok(if plan.is_empty() { DONE } else { CHANGES });
    }
    // The plan is what there is to read; what follows talks on stderr.
    let (before, after) = plan.removals();
    let mut code = remove(client, &before, words.change).await?;
    if code == DONE {
        code = write(client, &definitions, &live, &plan, owner, words.change).await?;
    }
    if code == DONE {
        code = remove(client, &after, words.change).await?;
    }
    Ok(code)
}

/// Somebody else was faster to remove an app.
const NOT_FOUND: u16 = 404;

/// One after the other, up to the first that does not end well.
async fn remove(client: &Client, ids: &[&AppId], change: Change) -> anyhow::Result<u8> {
    for id in ids {
        let watch = Watch::begin(client, Format::Table, change).await;
        let path = format!("/v2/apps{id}?force={}", change.force);
        let answer = client.call::<Value>(Api::Marathon, Method::DELETE, &path, None).await;
        if answer.as_ref().is_err_and(|error| fault::status(error) == Some(NOT_FOUND)) {
            continue;
        }
        let code = follow(watch, &answer?, change, &[id.to_string()]).await?;
        if code != DONE {
            return Ok(code);
        }
    }
    Ok(DONE)
}

/// Everything new and changed, as one deployment: the cluster sees to the order.
async fn write(
    client: &Client,
    definitions: &[Definition],
    live: &[Live],
    plan: &Plan,
    owner: &str,
    change: Change,
) -> anyhow::Result<u8> {
    let mut bodies = Vec::new();
    let mut ids = Vec::new();
    for definition in definitions {
        let id = &definition.id;
        if plan.create.contains(id) || plan.change.contains_key(id) {
            let before = live.iter().find(|live| live.0.id == *id).map(|live| &live.0);
            bodies.push(definition.request(owner, before));
            ids.push(id.to_string());
        }
    }
    if bodies.is_empty() {
        return Ok(DONE);
    }
    let watch = Watch::begin(client, Format::Table, change).await;
    let path = format!("/v2/apps?partialUpdate=false&force={}", change.force);
    let answer: Value =
        client.call(Api::Marathon, Method::PUT, &path, Some(&json!(bodies))).await?;
    follow(watch, &answer, change, &ids).await
}

async fn follow(
    watch: Watch,
    answer: &Value,
    change: Change,
    ids: &[String],
) -> anyhow::Result<u8> {
    let result = DeploymentResult::deserialize(answer)
        .context("failed to read which deployment was started")?;
    if change.detach {
        eprintln!("deployment {} is under way", result.deployment_id);
        return Ok(DONE);
    }
    watch.finish(&result.deployment_id, ids).await
}

async fn live(client: &Client) -> anyhow::Result<Vec<Live>> {
    let answer: Value = client.get(Api::Marathon, "/v2/apps").await?;
    let apps = answer.get("apps").and_then(Value::as_array).context("the answer has no apps")?;
    let parse = |app: &Value| {
        Live::parse(app).map_err(|why| {
            let id = app.get("id").and_then(Value::as_str).unwrap_or("without an id");
            anyhow::anyhow!("failed to understand the app {id} of the cluster: {why}")
        })
    };
    apps.iter().map(parse).collect()
}

fn explain(conflict: &Conflict, owner: &str) -> Fault {
    let fault = match conflict {
        Conflict::Foreign(apps) => {
            let named: Vec<String> = apps
                .iter()
                .map(|(id, other)| match other {
                    Some(other) => format!("{id} is {other}'s"),
                    None => format!("{id} is nobody's"),
                })
                .collect();
            Fault::new(format!("not {owner}'s to change: {}", named.join(", "))).fix(format!(
                "--adopt takes apps that are nobody's; another's become nobody's without their \
                 label {OWNER_LABEL}"
            ))
        }
        Conflict::InTheWay(obstacles) => {
            let named: Vec<String> = obstacles.iter().map(obstacle).collect();
            Fault::new(named.join("; ")).fix(format!(
                "an app and a group cannot have the same path: call one of the two otherwise, or \
                 remove what is there (--prune removes what is {owner}'s and no longer declared)"
            ))
        }
        Conflict::Prune(PruneRefusal::Empty(would)) => Fault::new(format!(
            "nothing is declared, and --prune would remove all {would} apps of {owner}: that is \
             never done"
        ))
        .fix(
            "if they shall go, `tepui app delete` removes each; else look why nothing is declared",
        ),
        Conflict::Prune(PruneRefusal::TooMany { would, of, may }) => Fault::new(format!(
            "--prune would remove {would} of the {of} apps of {owner}, and {may} may go at once"
        ))
        .fix("if they shall go, give a higher --prune-limit; `--dry-run` shows which, without it"),
        Conflict::Refused(id, why) => Fault::new(format!("{id} is refused: {why}")),
    };
    fault.code(USAGE_OR_PLACEMENT)
}

fn obstacle(Obstacle { new, there, owner }: &Obstacle) -> String {
    let whose = owner.as_ref().map_or_else(|| "nobody's".to_owned(), |owner| format!("{owner}'s"));
    format!("{new} cannot be made beside {there}, which is {whose}")
}

fn checked(apps: usize) -> String {
    match apps {
        1 => "1 app, as the cluster takes it".to_owned(),
        apps => format!("{apps} apps, all as the cluster takes them"),
    }
}

fn show(format: Format, plan: &Plan) -> anyhow::Result<()> {
    match format {
        Format::Json | Format::Jsonl => output::print_json(format, plan),
        Format::Table => Ok(output::print(&render(plan, colour()))?),
    }
}

fn render(plan: &Plan, colour: bool) -> String {
    let mut text = String::new();
    let mut line = |sign: &str, tone, what: &dyn std::fmt::Display| {
        text.push_str(&paint(&format!("{sign} {what}"), tone, colour));
        text.push('\n');
    };
    for id in &plan.create {
        line("+", Tone::Good, id);
    }
    for (id, differences) in &plan.change {
        line("~", Tone::Busy, id);
        for difference in differences {
            line("   ", Tone::Plain, difference);
        }
    }
    for id in &plan.remove {
        line("-", Tone::Bad, id);
    }
    line("=", Tone::Plain, &format_args!("{} unchanged", plan.unchanged.len()));
    text
}

#[cfg(test)]
mod tests;
