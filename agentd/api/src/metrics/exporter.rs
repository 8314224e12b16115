//! `GET /metrics/mesos`: what `mesos_exporter` makes of an agent, without it: names, labels and units
//! are its own.

use std::fmt::Write;

use tepui_process::exporter::{Family, exported, type_line};
use tepui_wire::v1::ResourceStatistics;

use super::Metrics;
use crate::legacy::Container;

const FAMILIES: [Family; 16] = [
    Family {
        name: "mesos_slave_cpus",
        rises: false,
        label: "type",
        values: &[
            ("total", "slave/cpus_total", ""),
            ("used", "slave/cpus_used", ""),
            ("free", "slave/cpus_total", "slave/cpus_used"),
            ("percent", "slave/cpus_percent", ""),
        ],
    },
    Family {
        name: "mesos_slave_cpus_revocable",
        rises: false,
        label: "type",
        values: &[
            ("total", "slave/cpus_revocable_total", ""),
            ("used", "slave/cpus_revocable_used", ""),
            ("free", "slave/cpus_revocable_total", "slave/cpus_revocable_used"),
            ("percent", "slave/cpus_revocable_percent", ""),
        ],
    },
    Family {
        name: "mesos_slave_gpus",
        rises: false,
        label: "type",
        values: &[
            ("total", "slave/gpus_total", ""),
            ("used", "slave/gpus_used", ""),
            ("free", "slave/gpus_total", "slave/gpus_used"),
            ("percent", "slave/gpus_percent", ""),
        ],
    },
    Family {
        name: "mesos_slave_gpus_revocable",
        rises: false,
        label: "type",
        values: &[
            ("total", "slave/gpus_revocable_total", ""),
            ("used", "slave/gpus_revocable_used", ""),
            ("free", "slave/gpus_revocable_total", "slave/gpus_revocable_used"),
            ("percent", "slave/gpus_revocable_percent", ""),
        ],
    },
    Family {
        name: "mesos_slave_mem",
        rises: false,
        label: "type",
        values: &[
            ("total", "slave/mem_total", ""),
            ("used", "slave/mem_used", ""),
            ("free", "slave/mem_total", "slave/mem_used"),
            ("percent", "slave/mem_percent", ""),
        ],
    },
    Family {
        name: "mesos_slave_mem_revocable",
        rises: false,
        label: "type",
        values: &[
            ("total", "slave/mem_revocable_total", ""),
            ("used", "slave/mem_revocable_used", ""),
            ("free", "slave/mem_revocable_total", "slave/mem_revocable_used"),
            ("percent", "slave/mem_revocable_percent", ""),
        ],
    },
    Family {
        name: "mesos_slave_disk",
        rises: false,
        label: "type",
        values: &[
            ("total", "slave/disk_total", ""),
            ("used", "slave/disk_used", ""),
            ("free", "slave/disk_total", "slave/disk_used"),
            ("percent", "slave/disk_percent", ""),
        ],
    },
    Family {
        name: "mesos_slave_disk_revocable",
        rises: false,
        label: "type",
        values: &[
            ("total", "slave/disk_revocable_total", ""),
            ("used", "slave/disk_revocable_used", ""),
            ("free", "slave/disk_revocable_total", "slave/disk_revocable_used"),
            ("percent", "slave/disk_revocable_percent", ""),
        ],
    },
    Family {
        name: "mesos_slave_registered",
        rises: false,
        label: "",
        values: &[("", "slave/registered", "")],
    },
    Family {
        name: "mesos_slave_uptime_seconds",
        rises: false,
        label: "",
        values: &[("", "slave/uptime_secs", "")],
    },
    Family {
        name: "mesos_slave_executor_state",
        rises: false,
        label: "state",
        values: &[
            ("registering", "slave/executors_registering", ""),
            ("running", "slave/executors_running", ""),
            ("terminating", "slave/executors_terminating", ""),
        ],
    },
    Family {
        name: "mesos_slave_frameworks_active",
        rises: false,
        label: "",
        values: &[("", "slave/frameworks_active", "")],
    },
    Family {
        name: "mesos_slave_executors_terminated",
        rises: true,
        label: "",
        values: &[("", "slave/executors_terminated", "")],
    },
    Family {
        name: "mesos_slave_executors_preempted",
        rises: true,
        label: "",
        values: &[("", "slave/executors_preempted", "")],
    },
    Family {
        name: "mesos_slave_task_states_exit_total",
        rises: true,
        label: "state",
        values: &[
            ("failed", "slave/tasks_failed", ""),
            ("finished", "slave/tasks_finished", ""),
            ("killed", "slave/tasks_killed", ""),
            ("lost", "slave/tasks_lost", ""),
            ("gone", "slave/tasks_gone", ""),
        ],
    },
    Family {
        name: "mesos_slave_task_states_current",
        rises: false,
        label: "state",
        values: &[
            ("running", "slave/tasks_running", ""),
            ("staging", "slave/tasks_staging", ""),
            ("starting", "slave/tasks_starting", ""),
            ("killing", "slave/tasks_killing", ""),
        ],
    },
];

/// A figure of a container; none where the host does not tell it.
type Figure = fn(&ResourceStatistics) -> Option<f64>;

#[rustfmt::skip]
const OF_TASKS: [(&str, &str, Figure); 26] = [
    ("processes", "gauge", |s| s.processes.map(f64::from)),
    ("threads", "gauge", |s| s.threads.map(f64::from)),
    ("cpus_limit", "gauge", |s| s.cpus_limit),
    ("cpu_system_seconds_total", "counter", |s| s.cpus_system_time_secs),
    ("cpu_user_seconds_total", "counter", |s| s.cpus_user_time_secs),
    ("cpu_throttled_seconds_total", "counter", |s| s.cpus_throttled_time_secs),
    ("cpu_nr_periods_total", "counter", |s| s.cpus_nr_periods.map(f64::from)),
    ("cpu_nr_throttled_total", "counter", |s| s.cpus_nr_throttled.map(f64::from)),
    ("mem_limit_bytes", "gauge", |s| number(s.mem_limit_bytes)),
    ("mem_rss_bytes", "gauge", |s| number(s.mem_rss_bytes)),
    ("mem_total_bytes", "gauge", |s| number(s.mem_total_bytes)),
    ("mem_cache_bytes", "gauge", |s| number(s.mem_cache_bytes)),
    ("mem_swap_bytes", "gauge", |s| number(s.mem_swap_bytes)),
    ("disk_limit_bytes", "gauge", |s| number(s.disk_limit_bytes)),
    ("disk_used_bytes", "gauge", |s| number(s.disk_used_bytes)),
    ("network_receive_bytes_total", "counter", |s| number(s.net_rx_bytes)),
    ("network_receive_dropped_total", "counter", |s| number(s.net_rx_dropped)),
    ("network_receive_errors_total", "counter", |s| number(s.net_rx_errors)),
    ("network_receive_packets_total", "counter", |s| number(s.net_rx_packets)),
    ("network_transmit_bytes_total", "counter", |s| number(s.net_tx_bytes)),
    ("network_transmit_dropped_total", "counter", |s| number(s.net_tx_dropped)),
    ("network_transmit_errors_total", "counter", |s| number(s.net_tx_errors)),
    ("network_transmit_packets_total", "counter", |s| number(s.net_tx_packets)),
    ("mem_anon_bytes", "gauge", |s| number(s.mem_anon_bytes)),
    ("mem_file_bytes", "gauge", |s| number(s.mem_file_bytes)),
    ("mem_mapped_file_bytes", "gauge", |s| number(s.mem_mapped_file_bytes)),
];

fn number(count: Option<u64>) -> Option<f64> {
    count.map(super::number)
}

/// The text.
pub(super) fn text(figures: &Metrics, containers: &[Container]) -> String {
    let mut text = exported(&FAMILIES, figures);
    let measured: Vec<_> =
        containers.iter().filter_map(|one| Some((one.owner.as_ref()?, one.statistics()))).collect();
    for (name, kind, figure) in OF_TASKS {
        let name = format!("mesos_agent_{name}");
        let mut head = false;
        for (owner, statistics) in &measured {
            let Some(value) = figure(statistics) else { continue };
            if !std::mem::replace(&mut head, true) {
                type_line(&mut text, &name, kind);
            }
            // Ids have no quotation marks; a source is whatever a framework says.
            let source = owner.source.escape_default();
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{name}{{id=\"{}\",framework_id=\"{}\",source=\"{source}\"}} {value}",
                owner.executor, owner.framework
            );
        }
    }
    text
}
