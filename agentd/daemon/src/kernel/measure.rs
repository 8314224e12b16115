//! What runs use: from the programs what they count, from files the rest.

use std::time::Duration;

use tepui_accounting::{
    Cost, Driver, Endings, Feature, Figure, Histogram, Operation, Sample, Source, files,
};
use tepui_agent_api::{Block, Durations, Flow, KernelReport, Memory, Tcp, Traffic, Usage};
use tepui_cgroup::Leaf;
use tepui_types::ContainerId;
use tracing::debug;

use super::counting::Counting;
use super::{Enforcement, Kernel, chain};

/// The source of what programs count.
pub(super) const EBPF: &str = "eBPF";

/// What is told of tasks with a network of their own.
const OWN_NETWORK: &str = "/proc/PID/net of tasks with a network of their own";

/// Figures, and the feature of programs that tell them; the rest is told by these files.
const FIGURES: &[(&str, Option<Feature>, &str)] = &[
    ("cpu time", Some(Feature::Cpu), "cpu.stat"),
    ("throttling", None, "cpu.stat"),
    ("run queue", Some(Feature::RunQueue), "/proc/PID/schedstat, without histogram"),
    ("context switches", Some(Feature::RunQueue), "/proc/PID/status"),
    ("preemptions", Some(Feature::RunQueue), "none"),
    ("memory", None, "memory.stat"),
    ("short memory", None, "memory.events"),
    ("page faults", Some(Feature::Faults), "memory.stat"),
    ("pressure", None, "*.pressure"),
    ("block i/o", Some(Feature::Block), "io.stat, without latency"),
    ("network", Some(Feature::Network), OWN_NETWORK),
    ("dropped packets", Some(Feature::Drops), OWN_NETWORK),
    ("tcp connections", Some(Feature::Tcp), OWN_NETWORK),
    ("ends of processes", Some(Feature::Exits), "none"),
    ("refused ports", Some(Feature::Ports), "none"),
];

/// Where figures come from.
pub(super) fn sources(driver: Option<&Driver>, counting: &Counting) -> Vec<(&'static str, String)> {
    let source = |(figure, feature, file): &(&'static str, Option<Feature>, &str)| {
        let counted = feature.is_some_and(|one| driver.is_some_and(|it| it.has_feature(one)));
        let source = match feature {
            _ if counted => EBPF.to_owned(),
            Some(Feature::Network) => counting.add_to("nftables", file),
            Some(Feature::Tcp) => counting.add_to("nftables and sock_diag", file),
            Some(Feature::Drops) => counting.add_to("sock_diag, received only", file),
            _ => (*file).to_owned(),
        };
        (*figure, source)
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
        let former = state.book.former_of(run).unwrap_or_default();
        let counting = state.counting.clone();
        drop(state);
        let Some(leaf) = place.map(|(_, leaf)| leaf).or(group) else { return counted };
        let mut former = former.lock();
        let sample = match files::read(&leaf, &mut former) {
            Ok(read) => counted.or(read),
            Err(error) => {
                // It ended just now.
                debug!(%run, error = chain(&error), "files of a run not read");
                return counted;
            }
        };
        match counting {
            Counting::Rules(rules) => sample.or(rules.read(run, &leaf, &mut former)),
            Counting::Unneeded | Counting::Impossible(_) => sample,
        }
    }
}

impl Kernel {
    /// What of the kernel serves the agent now.
    pub fn report(&self) -> KernelReport {
        let state = self.shared.state.lock();
        let reason = match &state.enforcement {
            Enforcement::None(reason) => Some(reason.clone()),
            Enforcement::Kernel(_) | Enforcement::Unknown => None,
        };
        let sources = state.sources.iter();
        let mut report = KernelReport {
            mode: self.shared.wishes.word().to_owned(),
            enforcement: state.enforcement.word().to_owned(),
            reason,
            sources: sources.map(|(figure, from)| ((*figure).to_owned(), from.clone())).collect(),
            ..KernelReport::default()
        };
        let Some(driver) = &state.driver else { return report };
        let costs = driver.costs().unwrap_or_else(|error| {
            debug!(error = chain(&error), "cost of programs not read");
            Vec::new()
        });
        let cost = |cost: &Cost| (cost.program.to_owned(), cost.run_time.as_secs_f64(), cost.runs);
        report.programs = costs.iter().map(cost).collect();
        report.events_lost = driver.lost_events().unwrap_or(0);
        report.groups = driver.registered().map_or(0, |groups| groups.len() as u64);
        report.maps = driver.entries().unwrap_or_else(|error| {
            debug!(error = chain(&error), "records of maps not counted");
            Vec::new()
        });
        report
    }
}

/// A run's figures as others are shown them. `rough` is what its launcher knows.
pub fn usage(rough: tepui_launch::Usage, sample: &Sample) -> Usage {
    let count = |figure: &Option<Figure<u64>>| figure.as_ref().map(|figure| figure.value);
    let seconds =
        |figure: &Option<Figure<Duration>>| figure.as_ref().map(|one| one.value.as_secs_f64());
    let rough_seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    let waits = sample.waits.as_ref().zip(sample.wait.as_ref());
    Usage {
        cpu_seconds: seconds(&sample.cpu).unwrap_or(rough.cpu.as_secs_f64()),
        counted_cpu_seconds: sample
            .cpu
            .as_ref()
            .filter(|figure| figure.source == Source::Bpf)
            .map(|figure| figure.value.as_secs_f64()),
        user_cpu_seconds: seconds(&sample.cpu_user).or_else(|| rough_seconds(rough.user_cpu)),
        system_cpu_seconds: seconds(&sample.cpu_system).or_else(|| rough_seconds(rough.system_cpu)),
        memory_bytes: rough.memory_bytes,
        processes: rough.processes as u64,
        threads: count(&sample.threads),
        periods: count(&sample.periods),
        throttled_periods: count(&sample.throttled_periods),
        throttled_seconds: seconds(&sample.throttled),
        memory: sample.memory.as_ref().map(|figure| memory(&figure.value)),
        page_faults: count(&sample.page_faults),
        major_faults: count(&sample.major_faults),
        oom_kills: count(&sample.oom_kills),
        ends: sample.endings.as_ref().map(|one| {
            let Endings { exits, failures, signalled, .. } = one.value;
            let well = exits.saturating_sub(failures).saturating_sub(signalled);
            [well, failures, signalled]
        }),
        switches: sample.switches.as_ref().map(|one| (one.value.voluntary, one.value.involuntary)),
        preempted: sample
            .preempted
            .as_ref()
            .map(|one| [one.value.by_other_task, one.value.by_system, one.value.by_itself]),
        wait_seconds: seconds(&sample.wait),
        waits: waits.map(|(waits, sum)| durations(&waits.value, sum.value)),
        network: sample.network.as_ref().map(|figure| {
            let apart = figure.source != Source::ProcessFiles;
            [traffic(&figure.value.received, apart), traffic(&figure.value.sent, apart)]
        }),
        drops: sample.drops.as_ref().map(|figure| [Some(figure.value.received), figure.value.sent]),
        tcp: sample.tcp.as_ref().map(|figure| Tcp {
            connected: figure.value.connected,
            accepted: figure.value.accepted,
            ended: figure.value.ended,
            retransmits: figure.value.retransmits,
            round_trips: (figure.source != Source::ProcessFiles)
                .then(|| durations(&figure.value.round_trips, figure.value.round_trip)),
        }),
        block: sample.block.as_ref().map(|figure| Block {
            read: requests(figure.value.read),
            written: requests(figure.value.written),
            other: requests(figure.value.other),
            latencies: (figure.source == Source::Bpf)
                .then(|| durations(&figure.value.latencies, figure.value.latency)),
        }),
        pressure: pressure(sample),
        memory_levels: sample.memory_levels.as_ref().map(|figure| {
            let levels = figure.value;
            [levels.low, levels.medium, levels.critical]
        }),
        denied: sample.denials.as_ref().map(|figure| {
            let of = |operation: Operation| (operation.word(), figure.value.of(operation));
            Operation::ALL.into_iter().map(of).collect()
        }),
    }
}

fn memory(one: &tepui_accounting::Memory) -> Memory {
    Memory {
        anonymous: one.anonymous,
        file: one.file,
        inactive_file: one.inactive_file,
        mapped: one.mapped,
        kernel: one.kernel,
        socket: one.socket,
        unevictable: one.unevictable,
        swap: one.swap,
    }
}

fn pressure(sample: &Sample) -> Vec<(&'static str, f64, f64)> {
    let all = [
        ("cpu", &sample.cpu_pressure),
        ("memory", &sample.memory_pressure),
        ("io", &sample.io_pressure),
    ];
    all.into_iter()
        .filter_map(|(resource, figure)| {
            let pressure = figure.as_ref()?.value;
            Some((resource, pressure.some.as_secs_f64(), pressure.full.as_secs_f64()))
        })
        .collect()
}

/// Files count all protocols together.
fn traffic(traffic: &tepui_accounting::Traffic, apart: bool) -> Traffic {
    let flow = |one: tepui_accounting::Flow| Flow { bytes: one.bytes, count: one.packets };
    if apart {
        let parts = [("tcp", traffic.tcp), ("udp", traffic.udp), ("other", traffic.other)];
        parts.into_iter().map(|(name, one)| (name, flow(one))).collect()
    } else {
        vec![("all", flow(traffic.total()))]
    }
}

fn requests(one: tepui_accounting::BlockFlow) -> Flow {
    Flow { bytes: one.bytes, count: one.requests }
}

fn durations(histogram: &Histogram, sum: Duration) -> Durations {
    let bounded = |(bound, count): (Option<Duration>, u64)| Some((bound?.as_secs_f64(), count));
    let beyond = histogram.buckets().filter(|(bound, _)| bound.is_none()).map(|(_, count)| count);
    Durations {
        sum_seconds: sum.as_secs_f64(),
        buckets: histogram.buckets().filter_map(bounded).collect(),
        beyond: beyond.sum(),
    }
}
