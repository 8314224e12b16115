//! Devices and capabilities of this host.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tepui_container::{HostDevice, Order};

use crate::fault::{Attempt, Fault};

/// Deepest folder of `/dev` that is looked into.
const DEPTH: usize = 3;

/// The devices that the order names, and for a privileged container all.
pub(crate) fn devices(order: &Order) -> Result<Vec<HostDevice>, Fault> {
    let mut found = Vec::new();
    if order.privileged && matches!(order.root, tepui_container::Root::Layers(_)) {
        collect(Path::new("/dev"), 0, &mut found);
    }
    for wanted in &order.devices {
        let path = Path::new(&wanted.host);
        let meta = fs::metadata(path).on("find device", path)?;
        let device = describe(&meta, PathBuf::from(&wanted.container));
        let device = device.ok_or_else(|| Fault(format!("'{}' is no device", wanted.host)))?;
        found.retain(|one| one.path != device.path);
        found.push(device);
    }
    Ok(found)
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<HostDevice>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        // What the container has of its own there.
        let is_own = ["pts", "shm", "mqueue", "fd", "console", "ptmx"];
        let name = entry.file_name();
        if depth == 0 && is_own.iter().any(|own| name == *own) {
            continue;
        }
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() && depth < DEPTH {
            collect(&path, depth + 1, found);
        } else if let Some(device) = describe(&meta, path) {
            found.push(device);
        }
    }
}

fn describe(meta: &fs::Metadata, path: PathBuf) -> Option<HostDevice> {
    let kind = meta.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return None;
    }
    let number = meta.rdev();
    Some(HostDevice {
        path,
        is_block: kind.is_block_device(),
        major: i64::from(rustix::fs::major(number)),
        minor: i64::from(rustix::fs::minor(number)),
        mode: meta.mode() & 0o777,
        uid: meta.uid(),
        gid: meta.gid(),
    })
}
