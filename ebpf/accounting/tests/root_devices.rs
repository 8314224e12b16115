//! Devices of a group, on the real kernel; prints why it was skipped where that cannot be.

#![allow(clippy::unwrap_used)]

mod rig;

use rig::{Rig, python};
use tepui_accounting::{
    AccountingError, DeviceProof, DeviceRule, MOST_DEVICES, USUAL_DEVICES, hold_to_devices,
    prove_device_rules,
};

/// Makes nodes and opens them, and tells for each what came of it.
const ATTEMPTS: &str = "
import errno, os, stat, tempfile
def attempt(name, kind, major, minor, flags=os.O_RDONLY):
    path = os.path.join(place, name)
    try:
        os.mknod(path, kind | 0o600, os.makedev(major, minor))
        os.close(os.open(path, flags | os.O_NONBLOCK))
        return 'opened'
    except OSError as error:
        return errno.errorcode[error.errno]
with tempfile.TemporaryDirectory(dir='/dev') as place:
    print(' '.join([
        attempt('null', stat.S_IFCHR, 1, 3, os.O_RDWR),
        attempt('urandom', stat.S_IFCHR, 1, 9),
        attempt('kmsg', stat.S_IFCHR, 1, 11),
        attempt('kmsg-w', stat.S_IFCHR, 1, 11, os.O_WRONLY),
        attempt('fuse', stat.S_IFCHR, 10, 229, os.O_RDWR),
        attempt('disk', stat.S_IFBLK, int(DISK[0]), int(DISK[1])),
    ]))
";

/// The disk that holds the root's file system, or one that everybody has.
fn attempts() -> String {
    let text = std::fs::read_to_string("/proc/partitions").unwrap_or_default();
    let disk = text.lines().skip(2).find_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    });
    let (major, minor) = disk.unwrap_or_else(|| ("7".into(), "0".into()));
    format!("DISK = ('{major}', '{minor}')\n{ATTEMPTS}")
}

#[test]
fn a_node_that_a_task_makes_opens_no_device_that_it_was_not_given() {
    let Some(rig) = Rig::new("devices", &[]) else { return };
    match prove_device_rules(&rig.place.root) {
        Ok(proof) => assert_eq!(proof, DeviceProof::Held),
        Err(error) => {
            eprintln!("skipped: {error}: {:?}", std::error::Error::source(&error));
            return;
        }
    }
    let (leaf, _) = rig.leaf("task");
    let open = python(&leaf, &attempts());
    let open: Vec<_> = open.split_whitespace().collect();
    eprintln!("without rules: {open:?}");
    assert_eq!(open[..2], ["opened", "opened"]);
    hold_to_devices(leaf.path(), &USUAL_DEVICES).unwrap();
    let held = python(&leaf, &attempts());
    let held: Vec<_> = held.split_whitespace().collect();
    assert_eq!(held[..2], ["opened", "opened"]);
    assert_eq!(held[2..], ["EPERM"; 4], "a node may be made, and opens nothing");
}

#[test]
fn a_task_opens_what_it_was_given_the_way_that_it_was_given() {
    let Some(rig) = Rig::new("given", &[]) else { return };
    let kmsg = DeviceRule { is_block: false, major: 1, minor: Some(11), read: true, write: false };
    let (leaf, _) = rig.leaf("task");
    let before = python(&leaf, &attempts());
    if let Err(error) = hold_to_devices(leaf.path(), &[USUAL_DEVICES.as_slice(), &[kmsg]].concat())
    {
        eprintln!("skipped: {error}: {:?}", std::error::Error::source(&error));
        return;
    }
    let after = python(&leaf, &attempts());
    let (before, after) = (before.split_whitespace(), after.split_whitespace());
    let both: Vec<_> = before.zip(after).collect();
    // Whether the host itself opens it, or refuses its log to everybody.
    assert_eq!(both[2].0, both[2].1);
    assert_eq!(both[3].1, "EPERM");
    let many = [USUAL_DEVICES[0]; MOST_DEVICES + 1];
    let refused = hold_to_devices(leaf.path(), &many);
    assert!(matches!(refused, Err(AccountingError::Devices(_))));
}
