//! What runs use: from the programs what they count, from files the rest.

use tepui_accounting::{Driver, Feature, Sample, files};
use tepui_cgroup::Leaf;
use tepui_types::ContainerId;
use tracing::debug;

use super::{Kernel, chain};

/// The source of what programs count.
pub(super) const EBPF: &str = "eBPF";

/// Figures, and the feature of programs that tell them; the rest is told by these files.
const FIGURES: &[(&str, Option<Feature>, &str)] = &[
    ("cpu time", Some(Feature::Cpu), "cpu.stat"),
    ("throttling", None, "cpu.stat"),
    ("run queue", Some(Feature::RunQueue), "/proc/PID/schedstat, without histogram"),
    ("memory", None, "memory.stat"),
    ("page faults", Some(Feature::Faults), "memory.stat"),
    ("pressure", None, "*.pressure"),
    ("block i/o", Some(Feature::Block), "io.stat, without latency"),
    ("network", Some(Feature::Network), "/proc/PID/net of tasks with a network of their own"),
    ("dropped packets", Some(Feature::Drops), "/proc/PID/net of tasks with a network of their own"),
    ("tcp connections", Some(Feature::Tcp), "/proc/PID/net of tasks with a network of their own"),
    ("ends of processes", Some(Feature::Exits), "none"),
];

/// Where figures come from.
pub(super) fn sources(driver: Option<&Driver>) -> Vec<(&'static str, String)> {
    let source = |(figure, feature, file): &(&'static str, Option<Feature>, &str)| {
        let counted = feature.is_some_and(|one| driver.is_some_and(|it| it.has_feature(one)));
        (*figure, if counted { EBPF.to_owned() } else { (*file).to_owned() })
    };
    FIGURES.iter().map(source).collect()
}

impl Kernel {
    /// What a run used so far. `group` is for runs that no program knows.
    pub fn sample(&self, run: &ContainerId, group: Option<Leaf>) -> Sample {
        let state = self.shared.state.lock();
        let place = state.book.place_of(run);
        let counted = match (&state.driver, &place) {
            (Some(driver), Some((id, _))) => driver.read(*id).unwrap_or_else(|error| {
                debug!(%run, error = chain(&error), "counters not read, files tell");
                Sample::default()
            }),
            _ => Sample::default(),
        };
        drop(state);
        let Some(leaf) = place.map(|(_, leaf)| leaf).or(group) else { return counted };
        match files::read(&leaf) {
            Ok(read) => counted.or(read),
            Err(error) => {
                // It ended just now.
                debug!(%run, error = chain(&error), "files of a run not read");
                counted
            }
        }
    }
}
