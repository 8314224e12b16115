//! What the host has, when the operator does not say (`spec/mesos-http.md` 8.6, defaults).

use std::io;
use std::path::Path;

use rustix::fs::statvfs;
use tepui_types::{BootId, Range, Ranges, Resource, ResourceName, Resources, Scalar};

/// Kept back for the host itself: memory in megabytes.
const SPARE_MEM_MB: u64 = 1024;
/// Kept back for the host itself: disk in megabytes.
const SPARE_DISK_MB: u64 = 5 * 1024;
/// The ports that are offered.
const PORTS: (u64, u64) = (31_000, 32_000);
const MB: u64 = 1 << 20;

/// Why the host could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("failed to find out the host's {what}")]
pub struct DetectError {
    what: &'static str,
    source: io::Error,
}

/// Adds to `configured` whatever of cpus, mem, disk and ports it does not name.
///
/// # Errors
/// When the host cannot be asked.
pub fn complete(configured: Resources, work_dir: &Path) -> Result<Resources, DetectError> {
    let mut all = configured;
    let missing = |all: &Resources, name: &ResourceName| {
        !all.iter().any(|resource| resource.identity.name == *name)
    };
    if missing(&all, &ResourceName::Cpus) {
        let cpus = std::thread::available_parallelism()
            .map_err(|source| DetectError { what: "processors", source })?;
        add(&mut all, ResourceName::Cpus, cpus.get() as u64);
    }
    if missing(&all, &ResourceName::Mem) {
        add(&mut all, ResourceName::Mem, spared(total_memory_mb(), SPARE_MEM_MB));
    }
    if missing(&all, &ResourceName::Disk) {
        let disk = statvfs(work_dir)
            .map_err(|error| DetectError { what: "disk", source: error.into() })?;
        let mb = disk.f_blocks.saturating_mul(disk.f_frsize) / MB;
        add(&mut all, ResourceName::Disk, spared(mb, SPARE_DISK_MB));
    }
    if missing(&all, &ResourceName::Ports)
        && let Ok(range) = Range::new(PORTS.0, PORTS.1)
    {
        all.add(&Resource::ranges(ResourceName::Ports, Ranges::from_ranges([range])));
    }
    Ok(all)
}

fn add(all: &mut Resources, name: ResourceName, units: u64) {
    all.add(&Resource::scalar(name, Scalar::from_units(units)));
}

/// What is left when `spare` is kept back; of less than twice that, half.
fn spared(total: u64, spare: u64) -> u64 {
    if total < 2 * spare { total / 2 } else { total - spare }
}

fn total_memory_mb() -> u64 {
    let info = rustix::system::sysinfo();
    u64::from(info.mem_unit).saturating_mul(info.totalram) / MB
}

/// The kernel's id of this boot.
pub fn boot_id() -> Option<BootId> {
    tepui_launch::procfs::boot_id().ok().and_then(|text| BootId::parse(text.trim()).ok())
}

/// How full the file system of a folder is, in thousandths: of its blocks or of its inodes,
/// whatever runs out first.
pub fn fullness_thousandths(folder: &Path) -> Option<u16> {
    let disk = statvfs(folder).ok()?;
    let blocks = thousandths(disk.f_blocks, disk.f_bfree, disk.f_bavail);
    // Some file systems have no fixed number of inodes and say 0.
    let inodes = thousandths(disk.f_files, disk.f_ffree, disk.f_favail);
    blocks.max(inodes)
}

/// The used part of what ordinary users can use; `None` when there is nothing at all.
fn thousandths(all: u64, free: u64, available: u64) -> Option<u16> {
    let used = all.saturating_sub(free);
    let visible = used.saturating_add(available);
    u16::try_from(used.saturating_mul(1000).checked_div(visible)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_as_full_as_its_blocks_or_its_inodes() {
        assert_eq!(thousandths(100, 40, 40), Some(600));
        assert_eq!(thousandths(100, 10, 0), Some(1000), "what root keeps back is nobody's");
        assert_eq!(thousandths(0, 0, 0), None);
        assert_eq!(thousandths(100, 40, 40).max(thousandths(0, 0, 0)), Some(600));
        assert_eq!(thousandths(100, 90, 90).max(thousandths(10, 1, 1)), Some(900));
    }

    #[test]
    fn a_small_host_keeps_half_and_a_large_one_keeps_the_spare() {
        assert_eq!(spared(1500, SPARE_MEM_MB), 750);
        assert_eq!(spared(8192, SPARE_MEM_MB), 7168);
    }

    #[test]
    fn what_the_operator_names_is_not_asked_of_the_host() {
        let configured: Resources =
            [Resource::scalar(ResourceName::Cpus, Scalar::from_units(99))].into_iter().collect();
        let all = complete(configured, Path::new("/")).unwrap();
        assert_eq!(all.cpus(), Scalar::from_units(99));
        assert!(all.mem() > Scalar::ZERO);
        assert_eq!(all.ports().to_string(), "[31000-32000]");
    }
}
