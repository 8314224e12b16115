//! `tepui plugin …`.

use serde::Deserialize;
use serde_json::Value;

use crate::args::Plugin as Verb;
use crate::client::{Api, Client};
use crate::fault::DONE;
use crate::model::Agent;
use crate::output::{self, Cell, Format, Table, Tone};
use crate::pick;

const PATH: &str = "/tepui/v1/plugins";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Plugin {
    kind: String,
    name: String,
    version: String,
    path: String,
    sha256: String,
    pinned: bool,
    state: String,
    reason: String,
    instead: String,
}

pub(crate) async fn run(client: &Client, format: Format, verb: Verb) -> anyhow::Result<u8> {
    let Verb::List { agent } = verb;
    let answer: Value = match agent {
        Some(given) => {
            let agents = client.agents().await?;
            let names = agents.iter().flat_map(|agent| [agent.id.as_str(), &agent.hostname]);
            let name = pick::by_prefix("agent", &given, names)?.to_owned();
            let is_it = |agent: &&Agent| agent.id == name || agent.hostname == name;
            let url = agents.iter().find(is_it).map(Agent::url).unwrap_or_default();
            client.get_from_agent(&url, PATH, &[]).await?
        }
        None => client.get(Api::Mesos, PATH).await?,
    };
    let list = answer.get("plugins").cloned().unwrap_or_default();
    match format {
        Format::Json | Format::Jsonl => output::print_json(format, &list)?,
        Format::Table => {
            output::print_table(&table(&serde_json::from_value::<Vec<Plugin>>(list)?))?
        }
    }
    Ok(DONE)
}

fn table(plugins: &[Plugin]) -> Table {
    let mut table = Table::new(&["KIND", "NAME", "VERSION", "STATUS", "FILE", "HASH", "WHY"]);
    for plugin in plugins {
        let (status, tone) = match plugin.state.as_str() {
            "in_use" => ("in use".to_owned(), Tone::Good),
            "failed" => (format!("failed, {} instead", plugin.instead), Tone::Bad),
            "refused" => ("refused".to_owned(), Tone::Bad),
            other => (other.replace('_', " "), Tone::Plain),
        };
        let hash: String = plugin.sha256.chars().take(12).collect();
        let hash = match plugin.pinned || hash.is_empty() {
            true => hash,
            false => format!("{hash} (any)"),
        };
        table.row([
            plugin.kind.as_str().into(),
            plugin.name.as_str().into(),
            plugin.version.as_str().into(),
            Cell::toned(status, tone),
            plugin.path.as_str().into(),
            hash.into(),
            plugin.reason.as_str().into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plugin_that_failed_says_why_and_who_does_its_work() {
        let plugins: Vec<Plugin> = serde_json::from_value(json!([
            {"kind": "allocator", "name": "drf", "version": "0.1.0", "sdk": "0.1.0",
             "path": "built in", "sha256": "", "pinned": true, "state": "in_use"},
            {"kind": "allocator", "name": "mine", "version": "1.2.3", "sdk": "0.1.0",
             "path": "/p/mine.so", "sha256": "0123456789abcdef", "pinned": false,
             "state": "failed", "reason": "round took longer than its 50 ms", "instead": "drf"}
        ]))
        .unwrap();
        let shown = table(&plugins).render(false);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].starts_with("allocator  drf   0.1.0    in use "), "{shown}");
        assert!(lines[2].contains(" failed, drf instead  /p/mine.so  0123456789ab (any)  "));
        assert!(lines[2].ends_with("round took longer than its 50 ms"));
    }
}
