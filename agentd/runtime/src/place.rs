//! Where the container is in the host's control groups: where its launcher has put this process.
//!
//! libcontainer insists on adding its processes to a group of version 2 below `/sys/fs/cgroup`, and
//! when it fails it kills every process of that group, whoever made it. Both is none of its business
//! here: its processes are children of one that is where it belongs, and what is left over is the
//! launcher's to kill. So what it sees there is a view of this process's own, which also makes hosts
//! that mix versions look like hosts that do not: files that it writes to lead nowhere, a list of
//! processes that it reads is empty, and groups can be neither made nor removed.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::fault::{Attempt, Fault};

const GROUPS: &str = "/sys/fs/cgroup";
const NOTHING: Option<&str> = None;
/// What libcontainer adds processes with, and what it kills by.
const COVERED: [&str; 2] = ["cgroup.procs", "cgroup.kill"];

/// Makes that view.
pub(crate) fn enter() -> Result<(), Fault> {
    unshare(CloneFlags::CLONE_NEWCGROUP).to("make a control group namespace")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // The kernel refuses to mount a file system on itself.
    mount(Some("tmpfs"), GROUPS, Some("tmpfs"), flags, Some("size=4k"))
        .to("cover the host's control groups")?;
    mount(Some("cgroup2"), GROUPS, Some("cgroup2"), flags, NOTHING)
        .to("mount control groups of version 2")?;
    for name in COVERED {
        let file = Path::new(GROUPS).join(name);
        // The root of all groups has none to kill by.
        if name == "cgroup.kill" && !file.exists() {
            continue;
        }
        mount(Some("/dev/null"), &file, NOTHING, MsFlags::MS_BIND, NOTHING).on("cover", &file)?;
    }
    let sealed = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(NOTHING, GROUPS, NOTHING, sealed, NOTHING).to("seal control groups")?;
    match std::fs::read(Path::new(GROUPS).join(COVERED[0])) {
        Ok(nothing) if nothing.is_empty() => Ok(()),
        _ => Err(Fault::new("control groups are in sight: refusing to make a container")),
    }
}
