//! `tepui apply`.

use anyhow::Context;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::apply::{self, Conflict, Definition, Live, OWNER_LABEL, Plan, PruneRefusal, Pruning};
use crate::args::{Apply, Change};
use crate::client::{Api, Client};
use crate::deploy::Watch;
use crate::fault::{CHANGES, DONE, Fault, USAGE_OR_PLACEMENT};
use crate::model::DeploymentResult;
use crate::output::{self, Format, Tone, colour, paint};

pub(crate) async fn run(client: &Client, format: Format, words: Apply) -> anyhow::Result<u8> {
    let definitions = apply::read(&words.paths)?;
    if words.check {
        eprintln!("{} apps, all as the cluster takes them", definitions.len());
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
    let mut code = write(client, &definitions, &live, &plan, owner, words.change).await?;
    for id in &plan.remove {
        if code != DONE {
            break;
        }
        let watch = Watch::begin(client, Format::Table, words.change).await;
        let path = format!("/v2/apps{id}?force={}", words.change.force);
        let answer: Value = client.call(Api::Marathon, Method::DELETE, &path, None).await?;
        code = follow(watch, &answer, words.change, &[id.to_string()]).await?;
    }
    Ok(code)
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
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_diff() {
        let id = |id| tepui_marathon::AppId::parse(id).unwrap();
        let difference =
            apply::Difference { path: "cpus".into(), from: Some(json!(0.5)), to: Some(json!(1)) };
        let plan = Plan {
            create: vec![id("/new")],
            change: [(id("/web"), vec![difference])].into(),
            remove: vec![id("/old")],
            unchanged: vec![id("/a"), id("/b")],
        };
        assert_eq!(
            render(&plan, false),
            "+ /new\n~ /web\n    cpus: 0.5 -> 1\n- /old\n= 2 unchanged\n"
        );
    }

    #[test]
    fn a_refusal_to_prune_says_the_way_out() {
        let refused = PruneRefusal::TooMany { would: 3, of: 4, may: 2 };
        let shown = crate::fault::show(&explain(&Conflict::Prune(refused), "node1").into());
        assert!(shown.contains("3 of the 4 apps of node1, and 2 may go at once"), "{shown}");
        assert!(shown.contains("--prune-limit"), "{shown}");
        let shown =
            crate::fault::show(&explain(&Conflict::Prune(PruneRefusal::Empty(4)), "node1").into());
        assert!(shown.contains("never done"), "{shown}");
    }
}
