//! Which devices a run may open: a program of its own on its group, which holds without the agent.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use tepui_accounting::{DeviceProof, DeviceRule, USUAL_DEVICES, prove_device_rules};
use tepui_cgroup::Leaf;
use tepui_container::Device;
use tepui_types::ContainerId;

use super::{Hierarchy, Kernel, chain};

/// The rules of runs that are about to start.
#[derive(Debug, Default)]
pub(super) struct Devices(HashMap<ContainerId, Vec<DeviceRule>>);

impl Devices {
    pub(super) fn of(&self, run: &ContainerId) -> Option<&Vec<DeviceRule>> {
        self.0.get(run)
    }

    pub(super) fn forget(&mut self, run: &ContainerId) {
        self.0.remove(run);
    }
}

/// Whether groups of runs can be held to devices on this host: a process has tried.
///
/// # Errors
/// The reason why not, as the end of a sentence.
pub fn probe_devices(hierarchy: &Hierarchy) -> Result<(), String> {
    let Some(root) = &hierarchy.processes else { return Err(hierarchy.reason.clone()) };
    match prove_device_rules(root) {
        Ok(DeviceProof::Held) => Ok(()),
        Ok(DeviceProof::Open) => Err("a device was not kept from a trial process".to_owned()),
        Ok(DeviceProof::Shut) => {
            Err("a device that it was given was kept from a trial process".to_owned())
        }
        Err(error) => Err(format!("the kernel takes no rules about devices: {}", chain(&error))),
    }
}

impl Kernel {
    /// A run is about to be started that may open the usual devices and these.
    ///
    /// # Errors
    /// When one of them is not there.
    pub fn expect_devices(&self, run: &ContainerId, given: &[Device]) -> Result<(), String> {
        let mut rules = USUAL_DEVICES.to_vec();
        for device in given {
            rules.push(rule(device)?);
        }
        self.shared.state.lock().devices.0.insert(run.clone(), rules);
        Ok(())
    }

    /// Puts a run's rules on its group; nothing for a run without.
    pub(super) fn hold_to_devices(&self, run: &ContainerId, group: &Leaf) -> Result<(), String> {
        let rules = self.shared.state.lock().devices.of(run).cloned();
        let Some(rules) = rules else { return Ok(()) };
        tepui_accounting::hold_to_devices(group.path(), &rules)
            .map_err(|error| format!("failed to hold it to its devices: {}", chain(&error)))
    }
}

fn rule(device: &Device) -> Result<DeviceRule, String> {
    let path = Path::new(&device.host);
    let meta = fs::metadata(path).map_err(|e| format!("failed to find device {path:?}: {e}"))?;
    let kind = meta.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return Err(format!("{path:?} is no device"));
    }
    let number = meta.rdev();
    Ok(DeviceRule {
        is_block: kind.is_block_device(),
        major: rustix::fs::major(number),
        minor: Some(rustix::fs::minor(number)),
        read: device.read,
        write: device.write,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_known_by_its_number() {
        let device = |host: &str| Device {
            host: host.into(),
            container: "/dev/x".into(),
            read: true,
            write: false,
        };
        let found = rule(&device("/dev/null")).unwrap();
        assert_eq!((found.major, found.minor, found.write), (1, Some(3), false));
        assert!(rule(&device("/etc/passwd")).unwrap_err().contains("no device"));
        assert!(rule(&device("/dev/no/such")).unwrap_err().contains("/dev/no/such"));
    }
}
