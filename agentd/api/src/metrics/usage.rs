//! What each task uses, in our names (`conventions.md` 2.3). A family is there when the host tells it.

use prometheus::proto::MetricFamily;

use super::families::{Families, Label};
use super::number;
use super::tasks::{Known, MEASURED, labels};
use crate::host::NetworkRepairs;
use crate::legacy::Container;
use crate::usage::{Block, KernelReport, Memory, Tcp, Traffic, Usage};

/// The families of what was measured.
pub(super) fn families(known: &Known, containers: &[Container]) -> Vec<MetricFamily> {
    let mut all = Families::default();
    for container in containers {
        let Some(usage) = &container.usage else { continue };
        let values = labels(known, container);
        let whose = std::array::from_fn(|at| (MEASURED[at], values[at].as_str()));
        let mut one = Of { all: &mut all, whose };
        one.processors(usage);
        one.memory(usage);
        one.network(usage);
        one.rest(usage);
        one.disk(container);
    }
    all.into_vec()
}

/// The families of one task.
struct Of<'a> {
    all: &'a mut Families,
    whose: [Label<'a>; MEASURED.len()],
}

impl Of<'_> {
    fn count(&mut self, name: &str, help: &str, more: &[Label<'_>], value: Option<f64>) {
        let Some(value) = value else { return };
        let labels: Vec<Label<'_>> = self.whose.iter().chain(more).copied().collect();
        self.all.count(name, help, &labels, value.max(0.0));
    }

    fn gauge(&mut self, name: &str, help: &str, more: &[Label<'_>], value: Option<f64>) {
        let Some(value) = value else { return };
        let labels: Vec<Label<'_>> = self.whose.iter().chain(more).copied().collect();
        self.all.gauge(name, help, &labels, value);
    }

    fn processors(&mut self, usage: &Usage) {
        let name = "tepui_task_cpu_seconds_total";
        let help =
            "Processor time since its start; mode all where the host does not tell modes apart";
        match (usage.user_cpu_seconds, usage.system_cpu_seconds) {
            (Some(user), Some(system)) => {
                self.count(name, help, &[("mode", "user")], Some(user));
                self.count(name, help, &[("mode", "system")], Some(system));
            }
            _ => self.count(name, help, &[("mode", "all")], Some(usage.cpu_seconds)),
        }
        let help = "Processor time as eBPF programs count it, of both modes";
        self.count("tepui_task_cpu_counted_seconds_total", help, &[], usage.counted_cpu_seconds);
        let periods = [
            ("tepui_task_cpu_periods_total", "Periods of its quota", usage.periods),
            (
                "tepui_task_cpu_throttled_periods_total",
                "Periods of its quota in which it was throttled",
                usage.throttled_periods,
            ),
        ];
        for (name, help, value) in periods {
            self.count(name, help, &[], value.map(number));
        }
        let help = "Time that it was throttled";
        self.count("tepui_task_cpu_throttled_seconds_total", help, &[], usage.throttled_seconds);
        let help = "Time that it waited for a processor";
        self.count("tepui_task_runqueue_seconds_total", help, &[], usage.wait_seconds);
        if let Some(waits) = &usage.waits {
            let help = "Single waits for a processor";
            self.all.histogram("tepui_task_runqueue_latency_seconds", help, &self.whose, waits);
        }
        let help = "Switches, by whether it still wanted to run";
        for (at, kind) in ["voluntary", "involuntary"].iter().enumerate() {
            let value = usage.switches.map(|(own, forced)| number([own, forced][at]));
            self.count("tepui_task_context_switches_total", help, &[("kind", kind)], value);
        }
        let help = "Switches to somebody else while it wanted to run, by who that was";
        for (at, by) in ["other_task", "system", "self"].iter().enumerate() {
            let value = usage.preempted.map(|by| number(by[at]));
            self.count("tepui_task_preempted_total", help, &[("by", by)], value);
        }
    }

    fn memory(&mut self, usage: &Usage) {
        let used = Some(number(usage.memory_bytes));
        self.gauge("tepui_task_memory_used_bytes", "Memory in use", &[], used);
        if let Some(Memory { anonymous, file, inactive_file, kernel, swap, .. }) = usage.memory {
            let help = "Memory in use without files that were not used lately";
            let working = number(usage.memory_bytes.saturating_sub(inactive_file));
            self.gauge("tepui_task_memory_working_set_bytes", help, &[], Some(working));
            let help = "Memory by what it is";
            let kinds = [("anon", Some(anonymous)), ("file", Some(file)), ("kernel", Some(kernel))];
            for (kind, bytes) in kinds.into_iter().chain([("swap", swap)]) {
                let bytes = bytes.map(number);
                self.gauge("tepui_task_memory_bytes", help, &[("kind", kind)], bytes);
            }
        }
        for (at, level) in ["low", "medium", "critical"].iter().enumerate() {
            let help = "How often memory was short; each level counts what the worse ones count";
            let value = usage.memory_levels.map(|levels| number(levels[at]));
            self.count("tepui_task_memory_short_total", help, &[("level", level)], value);
        }
        let counts = [
            ("tepui_task_page_faults_total", "Page faults", usage.page_faults),
            (
                "tepui_task_major_faults_total",
                "Page faults that read from a device",
                usage.major_faults,
            ),
            (
                "tepui_task_oom_kills_total",
                "Processes killed by the kernel for lack of memory",
                usage.oom_kills,
            ),
        ];
        for (name, help, value) in counts {
            self.count(name, help, &[], value.map(number));
        }
    }

    fn network(&mut self, usage: &Usage) {
        const WAYS: [&str; 2] = ["received", "sent"];
        for (at, way) in WAYS.iter().enumerate() {
            if let Some(traffic) = &usage.network {
                self.traffic(way, &traffic[at]);
            }
            let help = "Packets that were thrown away";
            let dropped = usage.drops.and_then(|drops| drops[at]).map(number);
            self.count("tepui_task_network_drops_total", help, &[("direction", way)], dropped);
        }
        let Some(Tcp { connected, accepted, ended, retransmits, round_trips }) = &usage.tcp else {
            return;
        };
        let help = "TCP segments sent again";
        let retransmits = Some(number(*retransmits));
        self.count("tepui_task_network_tcp_retransmits_total", help, &[], retransmits);
        let help = "TCP connections that were opened, by who opened them";
        for (by, value) in [("task", connected), ("peer", accepted)] {
            let value = Some(number(*value));
            self.count("tepui_task_network_connections_opened_total", help, &[("by", by)], value);
        }
        let open = connected.saturating_add(*accepted).saturating_sub(*ended);
        let help = "TCP connections by state";
        let state = [("state", "established")];
        self.gauge("tepui_task_network_connections", help, &state, Some(number(open)));
        if let Some(round_trips) = round_trips {
            let help = "Smoothed round-trip time of TCP connections when they ended";
            let name = "tepui_task_network_tcp_rtt_seconds";
            self.all.histogram(name, help, &self.whose, round_trips);
        }
    }

    fn traffic(&mut self, way: &str, traffic: &Traffic) {
        for (proto, flow) in traffic {
            let labels = [("direction", way), ("proto", *proto)];
            let help = "Bytes from the IP header on";
            self.count("tepui_task_network_bytes_total", help, &labels, Some(number(flow.bytes)));
            let packets = Some(number(flow.count));
            self.count("tepui_task_network_packets_total", "Packets", &labels, packets);
        }
    }

    fn disk(&mut self, container: &Container) {
        let used = container.disk_used.map(number);
        self.gauge("tepui_task_disk_bytes", "What its sandbox holds on disk", &[], used);
        let limit = container.limits.disk().megabytes_as_bytes();
        let help = "What its sandbox may hold; absent without a limit";
        let limit = Some(limit).filter(|limit| *limit > 0).map(number);
        self.gauge("tepui_task_disk_limit_bytes", help, &[], limit);
    }

    fn rest(&mut self, usage: &Usage) {
        let processes = Some(number(usage.processes));
        self.gauge("tepui_task_processes", "Processes", &[], processes);
        self.gauge("tepui_task_threads", "Threads", &[], usage.threads.map(number));
        if let Some(Block { read, written, other, latencies }) = &usage.block {
            for (op, flow) in [("read", read), ("write", written), ("other", other)] {
                let op = [("op", op)];
                let bytes = Some(number(flow.bytes));
                self.count("tepui_task_io_bytes_total", "Bytes of block devices", &op, bytes);
                let help = "Requests to block devices";
                let count = Some(number(flow.count));
                self.count("tepui_task_io_operations_total", help, &op, count);
            }
            if let Some(latencies) = latencies {
                let help = "Time of requests to block devices";
                let name = "tepui_task_block_latency_seconds";
                self.all.histogram(name, help, &self.whose, latencies);
            }
        }
        for (at, how) in ["well", "failure", "signal"].iter().enumerate() {
            let help = "Processes of the task that ended, by how";
            let count = usage.ends.map(|ends| number(ends[at]));
            self.count("tepui_task_process_ends_total", help, &[("how", how)], count);
        }
        for (resource, some, full) in &usage.pressure {
            let help = "Time in which some, or all, of it waited for a resource";
            for (kind, seconds) in [("some", some), ("full", full)] {
                let labels = [("resource", *resource), ("kind", kind)];
                self.count("tepui_task_pressure_seconds_total", help, &labels, Some(*seconds));
            }
        }
        for (op, count) in usage.denied.iter().flatten() {
            let help = "Refused ports by what was tried";
            let count = Some(number(*count));
            self.count("tepui_task_port_denied_total", help, &[("op", op)], count);
        }
    }
}

/// The family of what the whole host lacks.
pub(super) fn of_host(pressure: &[(&str, &str, f64)]) -> Vec<MetricFamily> {
    let mut all = Families::default();
    for (resource, kind, seconds) in pressure {
        let help = "Time in which some, or all, of this host waited for a resource";
        let labels = [("resource", *resource), ("kind", *kind)];
        all.count("tepui_agent_pressure_seconds_total", help, &labels, *seconds);
    }
    all.into_vec()
}

/// The family of what was put back in networks.
pub(super) fn of_networks(repairs: NetworkRepairs) -> Vec<MetricFamily> {
    let mut all = Families::default();
    for (what, count) in [("rules", repairs.rules), ("bridge", repairs.bridge)] {
        let help = "Times that rules or bridge of containers were gone or changed, and put back";
        let name = "tepui_agent_network_repairs_total";
        all.count(name, help, &[("what", what)], number(count));
    }
    all.into_vec()
}

/// The families of the kernel's side itself.
pub(super) fn of_kernel(report: &KernelReport) -> Vec<MetricFamily> {
    let mut all = Families::default();
    let enforced = f64::from(u8::from(report.enforcement == "kernel"));
    let help = "1 while the kernel holds tasks to their ports";
    all.gauge("tepui_agent_port_enforcement", help, &[], enforced);
    for (program, seconds, runs) in &report.programs {
        let labels = [("program", program.as_str())];
        let help = "Processor time of eBPF programs, as the kernel measures it";
        all.count("tepui_ebpf_program_run_seconds_total", help, &labels, *seconds);
        let help = "Runs of eBPF programs while the kernel measured them";
        all.count("tepui_ebpf_program_runs_total", help, &labels, number(*runs));
    }
    let help = "Reports of eBPF programs that found no room; what they are about is counted";
    all.count("tepui_ebpf_events_lost_total", help, &[], number(report.events_lost));
    let help = "Control groups that eBPF programs know as tasks'";
    all.gauge("tepui_ebpf_groups", help, &[], number(report.groups));
    for (map, entries) in &report.maps {
        let help = "Records in the maps of eBPF programs that have one for each task";
        all.gauge("tepui_ebpf_map_entries", help, &[("map", map.as_str())], number(*entries));
    }
    all.into_vec()
}
