//! What the command may do: steps of the stage before and after it becomes its user.

use std::fs::File;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::process::Pid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
};
use tepui_launch::record::ProcessMark;
use tepui_launch::{Rights, procfs};

/// Highest number that a capability may get before the kernel needs a second word for them.
const CAPABILITIES: u32 = 64;

/// While the stage still has the agent's rights. What is beside a process shares its namespaces.
pub(crate) fn give_up(rights: &Rights, beside: Option<ProcessMark>) -> Result<(), String> {
    match beside {
        Some(main) if rights.own_ipc => join_ipc(main)?,
        None if rights.own_ipc => unshare(CloneFlags::CLONE_NEWIPC)
            .map_err(|e| format!("failed to make an IPC namespace: {e}"))?,
        _ => {}
    }
    if let Some(bounding) = rights.bounding {
        for capability in single(!(bounding | rights.ambient)) {
            match remove_capability_from_bounding_set(capability) {
                // The kernel does not know so many.
                Err(rustix::io::Errno::INVAL) => break,
                other => other.map_err(|e| {
                    format!("failed to take capability {capability:?} from the bounding set: {e}")
                })?,
            }
        }
    }
    if rights.ambient != 0 {
        // They would go with the change of the user.
        set_keep_capabilities(true).map_err(|e| format!("failed to keep capabilities: {e}"))?;
    }
    Ok(())
}

fn join_ipc(main: ProcessMark) -> Result<(), String> {
    let failed =
        |e: &dyn std::fmt::Display| format!("failed to join the task's IPC namespace: {e}");
    let namespace =
        File::open(format!("/proc/{}/ns/ipc", main.pid)).map_err(|error| failed(&error))?;
    // Looked at after it was opened: a later process of that number has begun later.
    let stat = Pid::from_raw(main.pid).and_then(procfs::stat);
    if stat.is_none_or(|stat| stat.start_time != main.start_time) {
        return Err(failed(&"the task is over"));
    }
    setns(namespace, CloneFlags::CLONE_NEWIPC).map_err(|error| failed(&error))
}

/// As the command's user.
pub(crate) fn take_on(rights: &Rights) -> Result<(), String> {
    if rights.ambient != 0 {
        let set = CapabilitySet::from_bits_retain(rights.ambient);
        let sets = CapabilitySets { effective: set, permitted: set, inheritable: set };
        set_capabilities(None, sets)
            .map_err(|e| format!("failed to take on capabilities {set:?}: {e}"))?;
        for capability in single(rights.ambient) {
            configure_capability_in_ambient_set(capability, true)
                .map_err(|e| format!("failed to pass capability {capability:?} on: {e}"))?;
        }
    }
    if rights.no_new_privileges {
        set_no_new_privs(true).map_err(|e| format!("failed to rule out new privileges: {e}"))?;
    }
    Ok(())
}

/// The members of a set, each alone.
fn single(mask: u64) -> impl Iterator<Item = CapabilitySet> {
    let bits = (0..CAPABILITIES).map(|number| 1 << number).filter(move |bit| mask & bit != 0);
    bits.map(CapabilitySet::from_bits_retain)
}
