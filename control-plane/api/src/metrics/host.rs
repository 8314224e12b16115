//! The host that the process runs on: `system/*`.

use super::{Metrics, length, number};

const KIB: u64 = 1024;

/// Load, processors and memory; what the host does not tell is left out.
pub(crate) fn host(all: &mut Metrics) {
    if let Ok(text) = std::fs::read_to_string("/proc/loadavg") {
        for (name, value) in ["1min", "5min", "15min"].iter().zip(text.split(' ')) {
            if let Ok(load) = value.parse::<f64>() {
                all.insert(format!("system/load_{name}"), load);
            }
        }
    }
    if let Ok(cpus) = std::thread::available_parallelism() {
        all.insert("system/cpus_total".into(), length(cpus.get()));
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
pub(crate) fn stats() -> serde_json::Value {
    let mut all = Metrics::new();
    host(&mut all);
    let get = |name: &str| all.get(&format!("system/{name}")).copied();
    serde_json::json!({
        "avg_load_1min": get("load_1min"),
        "avg_load_5min": get("load_5min"),
        "avg_load_15min": get("load_15min"),
        "cpus_total": get("cpus_total"),
        "mem_total_bytes": get("mem_total_bytes"),
        "mem_free_bytes": get("mem_free_bytes"),
    })
}
