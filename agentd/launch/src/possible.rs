//! Limits that this host cannot keep. The kernel, and systemd, take some of them and do nothing: so they
//! are looked at before, and a run that names one does not begin.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor, stat, statfs};
use tepui_cgroup::{Mount, no_disk_weights};

use crate::confinement::{Ceiling, parse_processors};
use crate::launcher::LaunchError;

/// Processors that are at work, as `0-3`.
const ONLINE: &str = "/sys/devices/system/cpu/online";
/// The kernel's folder of disks.
const DISKS: &str = "/sys/block";
/// Type of btrfs for statfs(2). Its files are on no disk by their numbers; systemd finds it all the same.
const BTRFS: u64 = 0x9123_683E;

/// Who sets the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeper {
    Systemd,
    Launcher,
}

/// Refuses a run whose limits would be none.
///
/// # Errors
///
/// [`LaunchError::Impossible`].
pub(crate) fn refuse_impossible(
    ceiling: &Ceiling,
    sandbox: &Path,
    keeper: Keeper,
) -> Result<(), LaunchError> {
    if let Some(wanted) = &ceiling.processors {
        let online = fs::read_to_string(ONLINE).unwrap_or_default();
        check_processors(wanted, online.trim()).map_err(LaunchError::Impossible)?;
    }
    if ceiling.io_weight.is_some() {
        // Without the hierarchy no share is there either.
        let groups = Mount::probe().map(|mount| mount.root().to_owned()).unwrap_or_default();
        check_shares(&groups, Path::new(DISKS)).map_err(LaunchError::Impossible)?;
    }
    let has_speed = ceiling.io_read_bytes.is_some() || ceiling.io_write_bytes.is_some();
    let is_found = || keeper == Keeper::Systemd && is_btrfs(sandbox);
    if has_speed && disk_below(sandbox).is_none() && !is_found() {
        return Err(LaunchError::Impossible(format!(
            "its disk cannot be held to a speed: the file system of '{}' is on no disk of this host",
            sandbox.display()
        )));
    }
    Ok(())
}

/// The kernel lets whoever names none of its processors run on all.
fn check_processors(wanted: &str, online: &str) -> Result<(), String> {
    let all = parse_processors(wanted).unwrap_or_default();
    let here = parse_processors(online).unwrap_or_default();
    let missing: BTreeSet<_> = all.difference(&here).collect();
    match missing.first() {
        Some(first) => Err(format!(
            "it asks for the processors {wanted}, and this host has {online}: no processor {first}"
        )),
        None if all.is_empty() => Err(format!("'{wanted}' names no processors")),
        None => Ok(()),
    }
}

/// systemd takes a share that the kernel would not give, and says so only in its log.
fn check_shares(groups: &Path, disks: &Path) -> Result<(), String> {
    match no_disk_weights(groups, disks) {
        Some(reason) => Err(format!("it cannot be given a share of its disk: {reason}")),
        None => Ok(()),
    }
}

fn is_btrfs(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|kind| kind == BTRFS))
}

/// The whole disk under a path: the kernel limits no partitions.
pub(crate) fn disk_below(path: &Path) -> Option<(u32, u32)> {
    let device = stat(path).ok()?.st_dev;
    let (major, minor) = (major(device), minor(device));
    let place = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    if !place.exists() {
        return None;
    }
    if !place.join("partition").exists() {
        return Some((major, minor));
    }
    let numbers = fs::read_to_string(place.canonicalize().ok()?.parent()?.join("dev")).ok()?;
    let (major, minor) = numbers.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_that_are_not_there_are_named() {
        check_processors("0-1", "0-3").unwrap();
        check_processors("3", "0,2-3").unwrap();
        let error = check_processors("1-5", "0-3").unwrap_err();
        assert!(error.contains("this host has 0-3") && error.contains("no processor 4"), "{error}");
        check_processors("1", "0,2-3").unwrap_err();
        check_processors("", "0").unwrap_err();
    }

    #[test]
    fn a_speed_where_there_is_no_disk_is_refused_by_name() {
        let slow = Ceiling { io_write_bytes: Some(1 << 20), ..Ceiling::default() };
        let place = Path::new("/proc");
        for keeper in [Keeper::Systemd, Keeper::Launcher] {
            let error = refuse_impossible(&slow, place, keeper).unwrap_err().to_string();
            assert!(error.contains("'/proc' is on no disk"), "{error}");
        }
    }

    #[test]
    fn a_share_of_a_disk_where_the_kernel_gives_none_is_refused_with_the_reason() {
        let empty = tempfile::tempdir().unwrap();
        let error = check_shares(empty.path(), empty.path()).unwrap_err();
        assert!(error.contains("a share of its disk: this kernel has neither io.cost"), "{error}");
        std::fs::write(empty.path().join("io.weight"), "").unwrap();
        check_shares(empty.path(), empty.path()).unwrap();
    }

    #[test]
    fn a_run_on_processors_that_are_there_may_begin() {
        let ceiling = |list: &str| Ceiling { processors: Some(list.into()), ..Ceiling::default() };
        let of = |list| refuse_impossible(&ceiling(list), Path::new("/"), Keeper::Launcher);
        of("0").unwrap();
        assert!(of("8000").unwrap_err().to_string().contains("no processor 8000"));
    }
}
