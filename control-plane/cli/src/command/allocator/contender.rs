//! An allocator that a recording is played to: built in, or a plugin.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use tepui_plugin_allocators::{binpack, priority};
use tepui_plugin_host::{PluginSettings, Rehearsal, Shelf};
use tepui_plugin_sdk::{Allocate, Drf, Entropy, Start};
use tepui_replay::{Demand, Outcome};

/// The allocators that need no file, and are compared unless others are named.
pub(super) const BUILT_IN: [&str; 3] = ["drf", "priority", "binpack"];

/// Who decides what is offered to whom.
enum Decider {
    BuiltIn(Box<dyn Allocate>),
    Plugin(Box<Rehearsal>),
}

/// An allocator that knows nothing yet, and what its column is called.
pub(super) struct Contender {
    name: String,
    decider: Decider,
}

/// Of a configuration file, what is of interest here.
#[derive(Deserialize)]
struct Tables {
    #[serde(default)]
    plugins: BTreeMap<String, PluginSettings>,
}

/// Where plugins are, and what is said of them.
pub(super) fn shelf(folder: Option<&Path>, settings: Option<&Path>) -> anyhow::Result<Shelf> {
    let mut tables = BTreeMap::new();
    if let Some(file) = settings {
        let failed = || format!("failed to read {}", file.display());
        let text = std::fs::read_to_string(file).with_context(failed)?;
        tables = toml::from_str::<Tables>(&text).with_context(failed)?.plugins;
    }
    let folder = folder.map(std::path::absolute).transpose()?;
    if let Some(folder) = folder.as_ref().filter(|folder| !folder.is_dir()) {
        bail!("--plugins {} is no folder", folder.display());
    }
    Shelf::new(folder, tables).map_err(anyhow::Error::msg)
}

/// A name or file, and the settings behind it. Files may have a `=` in their names.
fn split(text: &str) -> (&str, Option<&str>) {
    if let Some(at) = text.find(".so=") {
        return (&text[..at + 3], Some(&text[at + 4..]));
    }
    if text.ends_with(".so") {
        return (text, None);
    }
    text.split_once('=').map_or((text, None), |(name, json)| (name, Some(json)))
}

fn is_file(named: &str) -> bool {
    named.ends_with(".so") || named.contains('/')
}

impl Contender {
    /// Opens the allocator that is named as `--allocator` names one.
    pub(super) fn open(shelf: &Shelf, text: &str, seed: u64) -> anyhow::Result<Self> {
        let (named, json) = split(text);
        let wrong = |why: String| anyhow!("--allocator {named}: {why}");
        if is_file(named) {
            let found = shelf.clone().with_file(Path::new(named));
            let (shelf, name) = found.map_err(|why| wrong(why.to_string()))?;
            return Self::plugin(shelf, &name, json, seed).map_err(wrong);
        }
        if shelf.has_file(named) {
            return Self::plugin(shelf.clone(), named, json, seed).map_err(wrong);
        }
        let given = shelf.settings_json(named);
        let settings = json.unwrap_or(&given);
        Self::built_in(named, settings, seed).with_context(|| format!("--allocator {named}"))
    }

    fn plugin(mut shelf: Shelf, name: &str, json: Option<&str>, seed: u64) -> Result<Self, String> {
        if let Some(json) = json {
            let table = serde_json::from_str(json);
            let table = table.map_err(|error| format!("its settings: {error}"))?;
            shelf = shelf.with_settings(name, table);
        }
        let plugin = Rehearsal::open(&shelf, name, seed)?;
        Ok(Self { name: format!("{name}.so"), decider: Decider::Plugin(Box::new(plugin)) })
    }

    fn built_in(name: &str, settings: &str, seed: u64) -> anyhow::Result<Self> {
        let start = Start::new(name, settings, seed);
        let allocator: Box<dyn Allocate> = match name {
            "drf" if !settings.is_empty() => bail!("it has no settings"),
            "drf" => Box::new(Drf::new(Entropy::seeded(seed))),
            "priority" => {
                let settings = start.settings().map_err(anyhow::Error::msg)?;
                Box::new(priority::allocator(settings).map_err(anyhow::Error::msg)?)
            }
            "binpack" => {
                let settings = start.settings().map_err(anyhow::Error::msg)?;
                Box::new(binpack::allocator(settings).map_err(anyhow::Error::msg)?)
            }
            _ => bail!(
                "it is none of {}, and no plugin of that name is in a folder that --plugins names; \
                 a plugin's file is named as ./libNAME.so",
                BUILT_IN.join(", ")
            ),
        };
        Ok(Self { name: name.to_owned(), decider: Decider::BuiltIn(allocator) })
    }

    /// What it makes of the demand; or how it failed, and in which round.
    pub(super) fn play(self, demand: &Demand) -> Result<Outcome, String> {
        let Self { name, decider } = self;
        let mut plugin = match decider {
            Decider::BuiltIn(mut allocator) => {
                return Ok(tepui_replay::play(demand, &name, &mut *allocator));
            }
            Decider::Plugin(plugin) => plugin,
        };
        let outcome = tepui_replay::play(demand, &name, &mut *plugin);
        let Some(failure) = plugin.failure() else { return Ok(outcome) };
        let seconds = failure.at.since(demand.begin).as_secs_f64();
        Err(format!(
            "plugin {name} failed in round {}, {seconds:.2} s after the recording's begin: {}",
            failure.round, failure.reason
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str) -> anyhow::Result<Contender> {
        Contender::open(&Shelf::default(), text, 1)
    }

    fn wrong(text: &str) -> String {
        format!("{:#}", open(text).err().unwrap())
    }

    #[test]
    fn allocators_are_opened_by_name_and_with_their_settings() {
        for name in BUILT_IN {
            assert!(open(name).is_ok(), "{name}");
        }
        assert!(open(r#"priority={"priorities": {"prod": 10}}"#).is_ok());
        assert!(wrong(r#"binpack={"offers": 1}"#).contains("unknown field `offers`"));
        assert!(wrong("drf={}").contains("has no settings"));
        let why = wrong("fifo");
        assert!(why.starts_with("--allocator fifo: it is none of drf, priority, binpack"), "{why}");
        assert!(why.ends_with("./libNAME.so"), "{why}");
    }

    #[test]
    fn a_file_is_told_from_a_name_and_both_from_their_settings() {
        assert_eq!(split("mine"), ("mine", None));
        assert_eq!(split(r#"mine={"a":"b=c.so"}"#), ("mine", Some(r#"{"a":"b=c.so"}"#)));
        assert_eq!(split("./a=b/libmine.so"), ("./a=b/libmine.so", None));
        assert_eq!(split("./a=b/libmine.so={}"), ("./a=b/libmine.so", Some("{}")));
        assert!(is_file("libmine.so") && is_file("./mine") && !is_file("mine"));
    }

    #[test]
    fn a_file_that_is_no_plugin_is_refused_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libmine.so");
        std::fs::write(&file, "text").unwrap();
        let why = wrong(file.to_str().unwrap());
        assert!(why.ends_with("its file is no library at all (no ELF)"), "{why}");
        let shelf = shelf(Some(folder.path()), None).unwrap();
        let why = Contender::open(&shelf, "mine", 1).err().unwrap().to_string();
        assert_eq!(why, "--allocator mine: plugin mine: its file is no library at all (no ELF)");
    }

    #[test]
    fn what_a_configuration_says_of_plugins_is_taken_and_nothing_else_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("control-plane.toml");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            shelf(None, Some(&file))
        };
        let read_priority =
            |text: &str| read(text).and_then(|shelf| Contender::open(&shelf, "priority", 1));
        let settings = "listen = '0.0.0.0:1'\n[plugins.priority.settings]\npreempt = ";
        assert!(read_priority(&format!("{settings}false")).is_ok());
        assert!(read_priority(&format!("{settings}'never'")).is_err());
        assert!(read("[plugins.priority]\nhash = ''").is_err());
        assert!(shelf(Some(&file), None).unwrap_err().to_string().ends_with("is no folder"));
    }
}
