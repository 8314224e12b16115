//! `GET /metrics/mesos`: what `mesos_exporter` makes of a master, without it. Names, labels and units
//! are its own; where it guesses (`connected_inactive`), the true number is here.

use tepui_cluster::Cluster;
use tepui_process::exporter::{Family, exported, exported_by_name, sample, type_line};
use tepui_types::{ResourceName, Resources};

use super::Metrics;

const BYTES_PER_MEGABYTE: f64 = 1_048_576.0;

const FAMILIES: [Family; 32] = [
    Family {
        name: "mesos_master_cpus",
        rises: false,
        label: "type",
        values: &[
            ("total", "master/cpus_total", ""),
            ("used", "master/cpus_used", ""),
            ("free", "master/cpus_total", "master/cpus_used"),
            ("percent", "master/cpus_percent", ""),
        ],
    },
    Family {
        name: "mesos_master_cpus_revocable",
        rises: false,
        label: "type",
        values: &[
            ("total", "master/cpus_revocable_total", ""),
            ("used", "master/cpus_revocable_used", ""),
            ("free", "master/cpus_revocable_total", "master/cpus_revocable_used"),
            ("percent", "master/cpus_revocable_percent", ""),
        ],
    },
    Family {
        name: "mesos_master_gpus",
        rises: false,
        label: "type",
        values: &[
            ("total", "master/gpus_total", ""),
            ("used", "master/gpus_used", ""),
            ("free", "master/gpus_total", "master/gpus_used"),
            ("percent", "master/gpus_percent", ""),
        ],
    },
    Family {
        name: "mesos_master_gpus_revocable",
        rises: false,
        label: "type",
        values: &[
            ("total", "master/gpus_revocable_total", ""),
            ("used", "master/gpus_revocable_used", ""),
            ("free", "master/gpus_revocable_total", "master/gpus_revocable_used"),
            ("percent", "master/gpus_revocable_percent", ""),
        ],
    },
    Family {
        name: "mesos_master_mem",
        rises: false,
        label: "type",
        values: &[
            ("total", "master/mem_total", ""),
            ("used", "master/mem_used", ""),
            ("free", "master/mem_total", "master/mem_used"),
            ("percent", "master/mem_percent", ""),
        ],
    },
    Family {
        name: "mesos_master_mem_revocable",
        rises: false,
        label: "type",
        values: &[
            ("total", "master/mem_revocable_total", ""),
            ("used", "master/mem_revocable_used", ""),
            ("free", "master/mem_revocable_total", "master/mem_revocable_used"),
            ("percent", "master/mem_revocable_percent", ""),
        ],
    },
    Family {
        name: "mesos_master_disk",
        rises: false,
        label: "type",
        values: &[
            ("total", "master/disk_total", ""),
            ("used", "master/disk_used", ""),
            ("free", "master/disk_total", "master/disk_used"),
            ("percent", "master/disk_percent", ""),
        ],
    },
    Family {
        name: "mesos_master_disk_revocable",
        rises: false,
        label: "type",
        values: &[
            ("total", "master/disk_revocable_total", ""),
            ("used", "master/disk_revocable_used", ""),
            ("free", "master/disk_revocable_total", "master/disk_revocable_used"),
            ("percent", "master/disk_revocable_percent", ""),
        ],
    },
    Family {
        name: "mesos_master_elected",
        rises: false,
        label: "",
        values: &[("", "master/elected", "")],
    },
    Family {
        name: "mesos_master_uptime_seconds",
        rises: false,
        label: "",
        values: &[("", "master/uptime_secs", "")],
    },
    Family {
        name: "mesos_master_slave_registration_events_total",
        rises: true,
        label: "event",
        values: &[
            ("register", "master/slave_registrations", ""),
            ("reregister", "master/slave_reregistrations", ""),
        ],
    },
    Family {
        name: "mesos_master_slave_removal_events_total",
        rises: true,
        label: "event",
        values: &[
            ("scheduled", "master/slave_shutdowns_scheduled", ""),
            ("canceled", "master/slave_shutdowns_canceled", ""),
            ("completed", "master/slave_shutdowns_completed", ""),
            ("died", "master/slave_removals", "master/slave_shutdowns_completed"),
        ],
    },
    Family {
        name: "mesos_master_slaves_state",
        rises: false,
        label: "state",
        values: &[
            ("connected_active", "master/slaves_active", ""),
            ("connected_inactive", "master/slaves_connected", "master/slaves_active"),
            ("disconnected_inactive", "master/slaves_disconnected", ""),
        ],
    },
    Family {
        name: "mesos_master_frameworks_state",
        rises: false,
        label: "state",
        values: &[
            ("connected_active", "master/frameworks_active", ""),
            ("connected_inactive", "master/frameworks_connected", "master/frameworks_active"),
            ("disconnected_inactive", "master/frameworks_disconnected", ""),
        ],
    },
    Family {
        name: "mesos_master_offers_pending",
        rises: false,
        label: "",
        values: &[("", "master/outstanding_offers", "")],
    },
    Family {
        name: "mesos_master_task_states_exit_total",
        rises: true,
        label: "state",
        values: &[
            ("errored", "master/tasks_error", ""),
            ("failed", "master/tasks_failed", ""),
            ("finished", "master/tasks_finished", ""),
            ("killed", "master/tasks_killed", ""),
            ("lost", "master/tasks_lost", ""),
            ("dropped", "master/tasks_dropped", ""),
            ("gone", "master/tasks_gone", ""),
            ("gone_by_operator", "master/tasks_gone_by_operator", ""),
        ],
    },
    Family {
        name: "mesos_master_task_states_current",
        rises: false,
        label: "state",
        values: &[
            ("running", "master/tasks_running", ""),
            ("staging", "master/tasks_staging", ""),
            ("starting", "master/tasks_starting", ""),
            ("killing", "master/tasks_killing", ""),
            ("unreachable", "master/tasks_unreachable", ""),
        ],
    },
    Family {
        name: "mesos_master_event_queue_length",
        rises: false,
        label: "type",
        values: &[
            ("message", "master/event_queue_messages", ""),
            ("http_request", "master/event_queue_http_requests", ""),
            ("dispatches", "master/event_queue_dispatches", ""),
        ],
    },
    Family {
        name: "mesos_master_event_queue_dispatches",
        rises: false,
        label: "",
        values: &[("", "allocator/mesos/event_queue_dispatches", "")],
    },
    Family {
        name: "mesos_master_allocation_runs",
        rises: true,
        label: "",
        values: &[("", "allocator/mesos/allocation_runs", "")],
    },
    Family {
        name: "mesos_master_allocation_run_ms_count",
        rises: false,
        label: "",
        values: &[("", "allocator/mesos/allocation_runs", "")],
    },
    Family {
        name: "mesos_master_allocation_run_ms",
        rises: false,
        label: "type",
        values: &[
            ("mean", "allocator/mesos/allocation_run_ms", ""),
            ("min", "allocator/mesos/allocation_run_ms/min", ""),
            ("max", "allocator/mesos/allocation_run_ms/max", ""),
            ("p50", "allocator/mesos/allocation_run_ms/p50", ""),
            ("p90", "allocator/mesos/allocation_run_ms/p90", ""),
            ("p95", "allocator/mesos/allocation_run_ms/p95", ""),
            ("p99", "allocator/mesos/allocation_run_ms/p99", ""),
            ("p999", "allocator/mesos/allocation_run_ms/p999", ""),
            ("p9999", "allocator/mesos/allocation_run_ms/p9999", ""),
        ],
    },
    Family {
        name: "mesos_master_allocation_run_latency_ms_count",
        rises: false,
        label: "",
        values: &[("", "allocator/mesos/allocation_runs", "")],
    },
    Family {
        name: "mesos_master_allocation_run_latency_ms",
        rises: false,
        label: "type",
        values: &[
            ("mean", "allocator/mesos/allocation_run_latency_ms", ""),
            ("min", "allocator/mesos/allocation_run_latency_ms/min", ""),
            ("max", "allocator/mesos/allocation_run_latency_ms/max", ""),
            ("p50", "allocator/mesos/allocation_run_latency_ms/p50", ""),
            ("p90", "allocator/mesos/allocation_run_latency_ms/p90", ""),
            ("p95", "allocator/mesos/allocation_run_latency_ms/p95", ""),
            ("p99", "allocator/mesos/allocation_run_latency_ms/p99", ""),
            ("p999", "allocator/mesos/allocation_run_latency_ms/p999", ""),
            ("p9999", "allocator/mesos/allocation_run_latency_ms/p9999", ""),
        ],
    },
    Family {
        name: "mesos_master_allocator_resources_cpus",
        rises: false,
        label: "type",
        values: &[
            ("total", "allocator/mesos/resources/cpus/total", ""),
            ("offered_or_allocated", "allocator/mesos/resources/cpus/offered_or_allocated", ""),
        ],
    },
    Family {
        name: "mesos_master_allocator_resources_mem",
        rises: false,
        label: "type",
        values: &[
            ("total", "allocator/mesos/resources/mem/total", ""),
            ("offered_or_allocated", "allocator/mesos/resources/mem/offered_or_allocated", ""),
        ],
    },
    Family {
        name: "mesos_master_allocator_resources_disk",
        rises: false,
        label: "type",
        values: &[
            ("total", "allocator/mesos/resources/disk/total", ""),
            ("offered_or_allocated", "allocator/mesos/resources/disk/offered_or_allocated", ""),
        ],
    },
    Family {
        name: "mesos_registrar_state_store_ms",
        rises: false,
        label: "type",
        values: &[
            ("mean", "registrar/state_store_ms", ""),
            ("min", "registrar/state_store_ms/min", ""),
            ("max", "registrar/state_store_ms/max", ""),
            ("p50", "registrar/state_store_ms/p50", ""),
            ("p90", "registrar/state_store_ms/p90", ""),
            ("p95", "registrar/state_store_ms/p95", ""),
            ("p99", "registrar/state_store_ms/p99", ""),
            ("p999", "registrar/state_store_ms/p999", ""),
            ("p9999", "registrar/state_store_ms/p9999", ""),
        ],
    },
    Family {
        name: "mesos_registrar_state_fetch_ms",
        rises: false,
        label: "",
        values: &[("", "registrar/state_fetch_ms", "")],
    },
    Family {
        name: "mesos_registrar_log_recovered",
        rises: false,
        label: "",
        values: &[("", "registrar/log/recovered", "")],
    },
    Family {
        name: "mesos_registrar_queued_operations",
        rises: false,
        label: "",
        values: &[("", "registrar/queued_operations", "")],
    },
    Family {
        name: "mesos_registrar_registry_size_bytes",
        rises: false,
        label: "",
        values: &[("", "registrar/registry_size_bytes", "")],
    },
];

/// What an agent has and what is used, as the exporter reads it of `/state`.
#[derive(Clone, Debug)]
pub(crate) struct AgentAmounts {
    id: String,
    total: Resources,
    used: Resources,
}

/// Looks at the agents.
pub(crate) fn agents(cluster: &Cluster) -> Vec<AgentAmounts> {
    let all = cluster.agents().map(|agent| AgentAmounts {
        id: agent.id.to_string(),
        total: agent.total.clone(),
        used: agent.used.clone(),
    });
    all.collect()
}

/// The text.
pub(crate) fn text(figures: &Metrics, agents: &[AgentAmounts]) -> String {
    let mut text = exported(&FAMILIES, figures);
    let messages = ("mesos_master_messages", "counter", "type");
    exported_by_name(&mut text, messages, ("master/messages_", ""), figures);
    let filters = ("mesos_master_allocator_offer_filters_active", "gauge", "role");
    let names = ("allocator/mesos/offer_filters/roles/", "/active");
    exported_by_name(&mut text, filters, names, figures);
    for (name, unit, resource, scale) in [
        ("mesos_slave_cpus", "", ResourceName::Cpus, 1.0),
        ("mesos_slave_mem", "_bytes", ResourceName::Mem, BYTES_PER_MEGABYTE),
        ("mesos_slave_disk", "_bytes", ResourceName::Disk, BYTES_PER_MEGABYTE),
    ] {
        for (part, amounts) in [("", total as Part), ("_used", used as Part)] {
            let name = format!("{name}{part}{unit}");
            type_line(&mut text, &name, "gauge");
            for agent in agents {
                let amount = amounts(agent).scalar(&resource).as_f64() * scale;
                sample(&mut text, &name, ("slave", &agent.id), amount);
            }
        }
    }
    text
}

type Part = fn(&AgentAmounts) -> &Resources;

fn total(agent: &AgentAmounts) -> &Resources {
    &agent.total
}

fn used(agent: &AgentAmounts) -> &Resources {
    &agent.used
}
