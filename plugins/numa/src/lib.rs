//! `numa`: each task runs on the processors of one memory node, the one with most room.
//!
//! Memory is not bound: the kernel takes it from the node that the task runs on as long as there is
//! some, and from another one before anybody has to end.

mod topology;

use std::collections::BTreeMap;
use std::path::PathBuf;

use tepui_plugin_sdk::serde::{self, Deserialize};
use tepui_plugin_sdk::{Host, Isolate, Setting, Start, Wanted};

use topology::{Node, nodes};

/// What the operator may say under `[plugins.numa.settings]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(crate = "serde", default, deny_unknown_fields)]
pub struct Settings {
    /// Hosts with a single node are refused; without it nothing is set on them.
    pub strict: bool,
    /// Where the kernel shows its nodes.
    pub sysfs: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self { strict: false, sysfs: "/sys/devices/system/node".into() }
    }
}

/// The isolator.
#[derive(Debug)]
pub struct Numa {
    settings: Settings,
    nodes: Vec<Node>,
    /// Where each run is, and its share of processors in thousandths.
    placed: BTreeMap<String, (usize, u64)>,
}

/// Share of a run that names none: systemd's and the kernel's default is one processor's weight.
const DEFAULT_MILLI: u64 = 1000;

impl Numa {
    /// An isolator that knows nothing of its host yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, nodes: Vec::new(), placed: BTreeMap::new() }
    }

    /// The node with most room for its processors; one that is large enough before one that is not.
    fn roomiest(&self, milli: u64) -> Option<usize> {
        let mut used = vec![0_u64; self.nodes.len()];
        for (node, milli) in self.placed.values() {
            if let Some(used) = used.get_mut(*node) {
                *used = used.saturating_add(*milli);
            }
        }
        let room = |at: &usize| {
            let size = self.nodes[*at].processors.saturating_mul(1000);
            let free = size.saturating_sub(used[*at]);
            (size >= milli, free, std::cmp::Reverse(*at))
        };
        (0..self.nodes.len()).max_by_key(room)
    }
}

impl Isolate for Numa {
    fn probe(&mut self, host: &Host) -> Result<(), String> {
        if !host.controllers.iter().any(|one| one == "cpuset") {
            return Err("control groups of tasks have no controller 'cpuset' on this host".into());
        }
        let folder = self.settings.sysfs.display();
        let nodes = nodes(&self.settings.sysfs)
            .map_err(|error| format!("the kernel's nodes cannot be read in {folder}: {error}"))?;
        match nodes.len() {
            0 => return Err(format!("{folder} shows no node with processors")),
            1 if self.settings.strict => {
                return Err("this host has one memory node only, and strict = true".into());
            }
            _ => self.nodes = nodes,
        }
        Ok(())
    }

    fn prepare(&mut self, wanted: &Wanted) -> Setting {
        // Whoever asks for processors knows why; with one node there is nothing to choose.
        if wanted.processors.is_some() || self.nodes.len() < 2 {
            return Setting::default();
        }
        let milli = wanted.cpu_milli.unwrap_or(DEFAULT_MILLI);
        let before = self.placed.get(&wanted.run).map(|(node, _)| *node);
        let Some(node) = before.or_else(|| self.roomiest(milli)) else {
            return Setting::default();
        };
        self.placed.insert(wanted.run.clone(), (node, milli));
        // A task that is larger than any node is left to the kernel.
        let fits = self.nodes[node].processors.saturating_mul(1000) >= milli;
        let processors = fits.then(|| self.nodes[node].list.clone());
        Setting { processors, ..Setting::default() }
    }

    fn clean_up(&mut self, run: &str) {
        self.placed.remove(run);
    }
}

fn open(start: &Start) -> Result<Numa, String> {
    Ok(Numa::new(start.settings()?))
}

tepui_plugin_sdk::export_isolator!(name: "numa", open: open);
