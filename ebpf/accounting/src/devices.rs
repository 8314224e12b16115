//! Which devices the processes of a group may open: one program for each group, which needs no pin,
//! for the group itself holds it, and goes with the group. Groups below are held to it too, and rules
//! that somebody else has put on a group above stay: an open must pass all of them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use libbpf_rs::libbpf_sys::{BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI, bpf_prog_attach};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use tepui_cgroup::Leaf;

use crate::AccountingError;
use crate::catalogue::ObjectName;
use crate::object;
use crate::prove::{in_trial_group, run_trial};

/// Most devices of one group; as `MAX_DEVICES` in `bpf/devices.bpf.c`.
pub const MOST_DEVICES: usize = 64;
/// The constants of the object, by the end of libbpf's name for them.
const CONSTANTS: &str = ".rodata";
/// The kernel's numbers of kinds and accesses (`BPF_DEVCG_…`).
const BLOCK: u32 = 1;
const CHARACTER: u32 = 2;
const READ: u32 = 2;
const WRITE: u32 = 4;
/// Making a node opens nothing.
const MAKE: u32 = 1;

/// A device that may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// A block device; else one of characters.
    pub is_block: bool,
    /// Number of its driver.
    pub major: u32,
    /// Number of the device; `None` is every one of the driver's.
    pub minor: Option<u32>,
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
}

const fn usual(major: u32, minor: Option<u32>) -> DeviceRule {
    DeviceRule { is_block: false, major, minor, read: true, write: true }
}

/// What everybody may open: devices without hardware behind them, as the OCI runtime specification
/// and systemd's `DevicePolicy=closed` have them. The host's console is none of them: a container's
/// `/dev/console` is a terminal of its own.
pub const USUAL_DEVICES: [DeviceRule; 8] = [
    usual(1, Some(3)), // null
    usual(1, Some(5)), // zero
    usual(1, Some(7)), // full
    usual(1, Some(8)), // random
    usual(1, Some(9)), // urandom
    usual(5, Some(0)), // tty
    usual(5, Some(2)), // ptmx
    usual(136, None),  // pts
];

impl DeviceRule {
    fn words(&self) -> [u32; 5] {
        let kind = if self.is_block { BLOCK } else { CHARACTER };
        let read = if self.read { READ } else { 0 };
        let write = if self.write { WRITE } else { 0 };
        let every = u32::from(self.minor.is_none());
        [kind, MAKE | read | write, self.major, self.minor.unwrap_or_default(), every]
    }
}

/// The constants of the program, as `struct device_rules` has them.
fn encode(rules: &[DeviceRule], size: usize) -> Result<Vec<u8>, AccountingError> {
    let count = u32::try_from(rules.len()).ok().filter(|count| *count as usize <= MOST_DEVICES);
    let count = count.ok_or(AccountingError::Devices(rules.len()))?;
    let words = std::iter::once(count).chain(rules.iter().flat_map(DeviceRule::words));
    let mut bytes: Vec<u8> = words.flat_map(u32::to_ne_bytes).collect();
    if bytes.len() > size {
        return Err(AccountingError::Record { map: "rules", size });
    }
    bytes.resize(size, 0);
    Ok(bytes)
}

/// From now on whatever opens a device in this group may open these alone, and whatever it has open
/// stays open. It holds until the group is gone, whether or not anybody is there.
///
/// # Errors
///
/// [`AccountingError`] when there are too many rules, or the kernel refuses: nothing is held then.
pub fn hold_to_devices(group: &Path, rules: &[DeviceRule]) -> Result<(), AccountingError> {
    let name = ObjectName::Devices;
    let mut open = object::open(name)?;
    let refused = |source| AccountingError::Open { object: name.word(), source };
    let mut is_set = false;
    for mut map in open.maps_mut() {
        if !map.name().to_string_lossy().ends_with(CONSTANTS) {
            continue;
        }
        let size = map.initial_value().map_or(0, <[u8]>::len);
        map.set_initial_value(&encode(rules, size)?).map_err(refused)?;
        is_set = true;
    }
    if !is_set {
        return Err(AccountingError::Missing("rules"));
    }
    let object = object::load(name, open)?;
    let program = object.progs().find(|program| program.name() == "tepui_device");
    let program = program.ok_or(AccountingError::Missing("tepui_device"))?;
    let wrong = |source| AccountingError::HoldToDevices { path: group.to_owned(), source };
    let folder = File::open(group).map_err(wrong)?;
    attach(program.as_fd(), folder.as_fd()).map_err(wrong)
}

fn attach(program: BorrowedFd<'_>, group: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both descriptors are open for the time of their borrows, the call takes integers only,
    // and the kernel checks what they stand for.
    #[allow(unsafe_code)]
    let result = unsafe {
        bpf_prog_attach(
            program.as_raw_fd(),
            group.as_raw_fd(),
            BPF_CGROUP_DEVICE,
            BPF_F_ALLOW_MULTI,
        )
    };
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}

/// What the trial found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceProof {
    /// The device that was allowed opened, the other one did not.
    Held,
    /// The other one opened too.
    Open,
    /// The device that was allowed did not open.
    Shut,
}

/// Has a process in a trial group below `root` open a device that it may and one that it may not.
///
/// # Errors
///
/// [`AccountingError`] when the kernel takes no such rules, or the trial could not be set up.
pub fn prove_device_rules(root: &Path) -> Result<DeviceProof, AccountingError> {
    in_trial_group(root, "devices", |leaf: &Leaf| {
        hold_to_devices(leaf.path(), &[usual(1, Some(3))])?;
        let answer = run_trial(leaf, || {
            let refused = match try_open(c"/dev/zero") {
                Err(Errno::PERM) => REFUSED,
                _ => 0,
            };
            refused | i32::from(try_open(c"/dev/null").is_ok())
        })?;
        Ok(if answer & REFUSED == 0 {
            DeviceProof::Open
        } else if answer & 1 == 0 {
            DeviceProof::Shut
        } else {
            DeviceProof::Held
        })
    })
}

const REFUSED: i32 = 2;

fn try_open(path: &std::ffi::CStr) -> Result<(), Errno> {
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_knows_as_many_devices_as_we_allow() {
        let line = format!("#define MAX_DEVICES {MOST_DEVICES}\n");
        assert!(include_str!("bpf/devices.bpf.c").contains(&line));
        let size = 4 + 20 * MOST_DEVICES;
        assert_eq!(encode(&[USUAL_DEVICES[0]; MOST_DEVICES], size).unwrap().len(), size);
        let many = encode(&[USUAL_DEVICES[0]; MOST_DEVICES + 1], size);
        assert!(matches!(many, Err(AccountingError::Devices(65))));
        assert!(matches!(encode(&USUAL_DEVICES, 20), Err(AccountingError::Record { .. })));
    }

    #[test]
    fn a_rule_is_written_as_the_program_reads_it() {
        let disk =
            DeviceRule { is_block: true, major: 8, minor: Some(1), read: true, write: false };
        assert_eq!(disk.words(), [BLOCK, MAKE | READ, 8, 1, 0]);
        assert_eq!(usual(136, None).words(), [CHARACTER, MAKE | READ | WRITE, 136, 0, 1]);
    }
}
