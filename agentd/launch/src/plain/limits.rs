//! A run's ceiling as limits of its control group.

use std::path::Path;

use tepui_cgroup::{DiskLimit, GroupLimits, Leaf};

use crate::confinement::Ceiling;
use crate::possible::disk_below;

/// The limits of a group. Those of a disk are of the one that holds the sandbox; who needs them on a
/// file system that is on no disk did not begin.
pub(super) fn of(ceiling: &Ceiling, sandbox: &Path) -> GroupLimits {
    let (read, write) = (ceiling.io_read_bytes, ceiling.io_write_bytes);
    let has_disk_limit = read.is_some() || write.is_some();
    let disk = has_disk_limit.then(|| disk_below(sandbox)).flatten();
    GroupLimits {
        cpu_weight: ceiling.cpu_weight(),
        cpu_quota: ceiling.cpu_quota(),
        memory_max: ceiling.memory_bytes,
        memory_high: ceiling.memory_high_bytes,
        memory_low: ceiling.memory_low_bytes,
        swap_max: ceiling.swap_bytes(),
        pids_max: ceiling.processes,
        io_weight: ceiling.io_weight,
        io_max: disk.map(|disk| DiskLimit { disk, read, write }).into_iter().collect(),
        cpus: ceiling.processors.clone(),
    }
}

/// The same ceiling with at least the memory that the group may have now.
pub(crate) fn never_less_memory(group: &Leaf, ceiling: &Ceiling) -> Ceiling {
    let Some(wanted) = ceiling.memory_bytes else { return ceiling.clone() };
    let now = group.memory_limit().ok().flatten().unwrap_or_default();
    let kept = Some(wanted.max(now));
    Ceiling { memory_bytes: kept, memory_low_bytes: Some(wanted), ..ceiling.clone() }
}
