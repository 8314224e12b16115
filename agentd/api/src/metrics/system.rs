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
