//! `tepui allocator …`.

use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tepui_plugin_allocators::{binpack, priority};
use tepui_plugin_sdk::{Allocate, Drf, Entropy, Start};
use tepui_replay::{Comparison, Demand, Outcome};

use crate::args::Allocator as Verb;
use crate::client::{Api, Client};
use crate::fault::DONE;
use crate::output::{self, Format, Table};

/// The allocators that are compared unless others are named.
const ALL: [&str; 3] = ["drf", "priority", "binpack"];

/// Largest recording that is read, all of it at once: 4 GiB.
const MAX_RECORDING: u64 = 4 << 30;

pub(crate) async fn run(client: &Client, format: Format, verb: Verb) -> anyhow::Result<u8> {
    match verb {
        Verb::Replay { file, allocators, seed } => replay(format, &file, &allocators, seed),
        Verb::Shadow => shadow(client, format).await,
    }
}

/// A fresh allocator of this name, and its settings as JSON.
fn open(name: &str, settings: &str, seed: u64) -> anyhow::Result<Box<dyn Allocate>> {
    let start = Start::new(name, settings, seed);
    let wrong = |why: String| anyhow::anyhow!("--allocator {name}: {why}");
    Ok(match name {
        "drf" if !settings.is_empty() => bail!("--allocator drf has no settings"),
        "drf" => Box::new(Drf::new(Entropy::seeded(seed))),
        "priority" => {
            let settings = start.settings().map_err(wrong)?;
            Box::new(priority::allocator(settings).map_err(wrong)?)
        }
        "binpack" => {
            let settings = start.settings().map_err(wrong)?;
            Box::new(binpack::allocator(settings).map_err(wrong)?)
        }
        other => bail!("--allocator {other} is none of {}", ALL.join(", ")),
    })
}

fn replay(format: Format, file: &Path, named: &[String], seed: u64) -> anyhow::Result<u8> {
    let named: Vec<&str> = match named {
        [] => ALL.to_vec(),
        named => named.iter().map(String::as_str).collect(),
    };
    let mut allocators = Vec::new();
    for text in named {
        let (name, settings) = text.split_once('=').unwrap_or((text, ""));
        allocators.push((name, open(name, settings, seed)?));
    }
    let shown = file.display();
    let failed = || format!("failed to read {shown}");
    let size = std::fs::metadata(file).with_context(failed)?.len();
    if size > MAX_RECORDING {
        bail!("{shown} has {size} bytes; recordings of at most {MAX_RECORDING} are played");
    }
    let bytes = std::fs::read(file).with_context(failed)?;
    let recording = tepui_replay::decode(&bytes).with_context(|| shown.to_string())?;
    if recording.cut_short {
        eprintln!("{shown} ends within a step: it is read up to there");
    }
    let demand = Demand::of(&recording);
    let mut columns = vec![tepui_replay::as_recorded(&demand)];
    for (name, mut allocator) in allocators {
        columns.push(tepui_replay::play(&demand, name, &mut *allocator));
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
    Ok(DONE)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocators_are_opened_by_name_and_with_their_settings() {
        for name in ALL {
            assert!(open(name, "", 1).is_ok(), "{name}");
        }
        assert!(open("priority", r#"{"priorities": {"prod": 10}}"#, 1).is_ok());
        let wrong = |name, settings| open(name, settings, 1).err().unwrap().to_string();
        assert!(wrong("binpack", r#"{"offers": 1}"#).contains("unknown field `offers`"));
        assert!(wrong("drf", "{}").contains("has no settings"));
        assert!(wrong("fifo", "").contains("drf, priority, binpack"));
    }
}
