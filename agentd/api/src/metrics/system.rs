//! The host that the process runs on: `system/*`.

use super::{Metrics, number};

const KIB: u64 = 1024;

/// Load, processors and memory; what the host does not tell is left out.
pub(super) fn add(all: &mut Metrics) {
    if let Ok(text) = std::fs::read_to_string("/proc/loadavg") {
        for (name, value) in ["1min", "5min", "15min"].iter().zip(text.split(' ')) {
            if let Ok(load) = value.parse::<f64>() {
                all.insert(format!("system/load_{name}"), load);
            }
        }
    }
    if let Ok(cpus) = std::thread::available_parallelism() {
        all.insert("system/cpus_total".into(), number(cpus.get() as u64));
    }
    if let Ok(text) = std::fs::read_to_string("/proc/meminfo") {
        for (key, name) in [("MemTotal:", "mem_total_bytes"), ("MemFree:", "mem_free_bytes")] {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
            if let Some(kib) = kib {
                all.insert(format!("system/{name}"), number(kib.saturating_mul(KIB)));
            }
        }
    }
}

/// Time in which some, or all, that runs on this host waited for a resource, by the resource; without
/// what the host does not tell.
pub(super) fn pressure() -> Vec<(&'static str, &'static str, f64)> {
    let mut found = Vec::new();
    for resource in ["cpu", "memory", "io"] {
        let text = std::fs::read_to_string(format!("/proc/pressure/{resource}"));
        let text = text.unwrap_or_default();
        for kind in ["some", "full"] {
            let line = text.lines().find_map(|line| line.strip_prefix(kind));
            let total = line.and_then(|rest| rest.split("total=").nth(1)?.trim().parse().ok());
            if let Some(micros) = total.map(number) {
                found.push((resource, kind, micros / 1e6));
            }
        }
    }
    found
}

/// Averages, processors and memory for `GET /system/stats.json`.
pub(super) fn stats() -> serde_json::Value {
    let mut all = Metrics::new();
    add(&mut all);
    let value = |name: &str| all.get(&format!("system/{name}")).copied();
    serde_json::json!({
        "avg_load_1min": value("load_1min"),
        "avg_load_5min": value("load_5min"),
        "avg_load_15min": value("load_15min"),
        "cpus_total": value("cpus_total"),
        "mem_total_bytes": value("mem_total_bytes"),
        "mem_free_bytes": value("mem_free_bytes"),
    })
}
