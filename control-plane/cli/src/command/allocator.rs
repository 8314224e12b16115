//! `tepui allocator …`.

mod contender;

use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tepui_replay::{Comparison, Demand, Outcome};

use crate::args::Allocator as Verb;
use crate::client::{Api, Client};
use crate::fault::DONE;
use crate::output::{self, Format, Table};
use contender::Contender;

/// Largest recording that is read, all of it at once: 4 GiB.
const MAX_RECORDING: u64 = 4 << 30;

pub(crate) async fn run(client: &Client, format: Format, verb: Verb) -> anyhow::Result<u8> {
    match verb {
        Verb::Replay { file, allocators, plugins, settings, seed } => {
            let (plugins, settings) = (plugins.as_deref(), settings.as_deref());
            let allocators = &allocators;
            replay(format, &Play { recording: &file, allocators, plugins, settings, seed })
        }
        Verb::Shadow => shadow(client, format).await,
    }
}

/// What is to be played, and to whom.
struct Play<'a> {
    recording: &'a Path,
    allocators: &'a [String],
    plugins: Option<&'a Path>,
    settings: Option<&'a Path>,
    seed: u64,
}

fn read(recording: &Path) -> anyhow::Result<Demand> {
    let shown = recording.display();
    let failed = || format!("failed to read {shown}");
    let size = std::fs::metadata(recording).with_context(failed)?.len();
    if size > MAX_RECORDING {
        bail!("{shown} has {size} bytes; recordings of at most {MAX_RECORDING} are played");
    }
    let bytes = std::fs::read(recording).with_context(failed)?;
    let recording = tepui_replay::decode(&bytes).with_context(|| shown.to_string())?;
    if recording.cut_short {
        eprintln!("{shown} ends within a step: it is read up to there");
    }
    Ok(Demand::of(&recording))
}

fn replay(format: Format, play: &Play) -> anyhow::Result<u8> {
    let named: Vec<&str> = match play.allocators {
        [] => contender::BUILT_IN.to_vec(),
        named => named.iter().map(String::as_str).collect(),
    };
    let shelf = contender::shelf(play.plugins, play.settings)?;
    let opened = named.into_iter().map(|text| Contender::open(&shelf, text, play.seed));
    let contenders: Vec<Contender> = opened.collect::<Result<_, _>>()?;
    let demand = read(play.recording)?;
    let mut columns = vec![tepui_replay::as_recorded(&demand)];
    let mut failures = Vec::new();
    for contender in contenders {
        match contender.play(&demand) {
            Ok(outcome) => columns.push(outcome),
            Err(why) => failures.push(why),
        }
    }
    match format {
        Format::Json | Format::Jsonl => {
            let rows: Vec<Value> = columns.iter().map(as_json).collect();
            output::print_json(format, &rows)?;
        }
        Format::Table => {
            let length = demand.end.since(demand.begin).as_secs_f64();
            let tasks = demand.items.len();
            let table = Comparison { columns };
            output::print(&format!("{length:.0} s recorded, {tasks} tasks\n\n{table}"))?;
        }
    }
    if failures.is_empty() {
        return Ok(DONE);
    }
    bail!("{}", failures.join("; "))
}

fn as_json(one: &Outcome) -> Value {
    json!({
        "allocator": one.name,
        "tasks_placed": one.placed,
        "tasks_left_waiting": one.unplaced,
        "wait_p50_seconds": one.wait_p50.as_secs_f64(),
        "wait_p99_seconds": one.wait_p99.as_secs_f64(),
        "wait_max_seconds": one.wait_max.as_secs_f64(),
        "cpus_in_use": one.cpus,
        "memory_in_use": one.memory,
        "agents_with_nothing": one.idle_agents,
        "jain_index": one.jain,
        "share_gap_mean": one.gap,
        "share_gap_max": one.gap_max,
        "offers": one.offers,
        "offers_declined": one.declined,
        "offers_taken_back": one.rescinded,
        "tasks_preempted": one.preempted,
        "wrong_proposals": one.misfits,
        "rounds": one.rounds,
        "pairs": one.pairs,
    })
}

async fn shadow(client: &Client, format: Format) -> anyhow::Result<u8> {
    let view: Value = client.get(Api::Mesos, "/tepui/v1/allocator/shadow").await?;
    match format {
        Format::Json | Format::Jsonl => output::print_json(format, &[view])?,
        Format::Table => {
            let mut table = Table::new(&["WHAT", "VALUE"]);
            for (name, value) in view.as_object().into_iter().flatten() {
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Array(all) => format!("{} (--output json shows them)", all.len()),
                    other => other.to_string(),
                };
                table.row([name.as_str().into(), text.into()]);
            }
            output::print_table(&table)?;
        }
    }
    Ok(DONE)
}
