//! What a container shares with the one that it is below: its processes, its inter-process
//! communication.

use std::fs::{File, read_link};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use libcontainer::container::Container;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tepui_container::{Isolation, SharedIpc};

use crate::build::ID;
use crate::fault::{Attempt, Fault, chain};
use crate::run;
use crate::standing;

/// Where the first process of the container sees shared memory.
const SHARED_MEMORY: &str = "dev/shm";

/// The namespace of the processes that are shared, where they are not the host's.
pub(crate) fn processes(isolation: &Isolation) -> Result<Option<PathBuf>, Fault> {
    let Some(bundle) = &isolation.processes_of else { return Ok(None) };
    namespace(bundle, "pid").map(Some)
}

/// The inter-process communication that is shared, where it is not the host's.
pub(crate) fn ipc(isolation: &Isolation, scratch: &Path) -> Result<Option<SharedIpc>, Fault> {
    let Some(above) = &isolation.ipc_of else { return Ok(None) };
    let shared = SharedIpc { namespace: namespace(above, "ipc")?, memory: scratch.join("shm") };
    let memory = shared_memory(&namespace(above, "mnt")?)?;
    std::fs::create_dir_all(&shared.memory).on("create", &shared.memory)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&memory, "", CWD, &shared.memory, flags).on("mount", &shared.memory)?;
    Ok(Some(shared))
}

/// A namespace of the first process of the container of a bundle; never one of the host's, which a
/// process has that has taken the number of the first one.
fn namespace(bundle: &Path, kind: &str) -> Result<PathBuf, Fault> {
    let over = || Fault::new("the container above is over");
    let order = run::load(bundle)?;
    let state = order.scratch_or(bundle).join("state").join(ID);
    standing::wait(&state);
    let mut container = Container::load(state).map_err(|error| Fault(chain(&error)))?;
    container.refresh_status().map_err(|error| Fault(chain(&error)))?;
    let pid = container.pid().filter(|_| container.can_exec()).ok_or_else(over)?;
    let path = PathBuf::from(format!("/proc/{pid}/ns/{kind}"));
    let own = read_link(Path::new("/proc/self/ns").join(kind)).to("read its own namespaces")?;
    if read_link(&path).map_err(|_| over())? == own {
        return Err(over());
    }
    Ok(path)
}

/// A detached mount of the shared memory that is seen there. The kernel gives it away only from
/// within, so that this process, which has one thread, is there for a moment.
fn shared_memory(mounts: &Path) -> Result<OwnedFd, Fault> {
    let here = File::open("/proc/self/ns/mnt").to("open its own mounts")?;
    let there = File::open(mounts).on("open", mounts)?;
    let enter =
        |space: &File| move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Mount));
    enter(&there).on("enter", mounts)?;
    let taken = take_shared_memory();
    enter(&here).to("leave the mounts of the container above")?;
    taken.to("take the shared memory of the container above")
}

fn take_shared_memory() -> rustix::io::Result<OwnedFd> {
    // The task may have put links there; they lead nowhere.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let straight = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let root = rustix::fs::open("/", flags, Mode::empty())?;
    let place = openat2(&root, SHARED_MEMORY, flags, Mode::empty(), straight)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(&place, "", flags)
}
