//! What can go wrong between the agent and the kernel's BPF side.

use std::io;
use std::path::PathBuf;

use crate::group::GroupId;

/// A step that the host refused, with the thing it was tried on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountingError {
    /// A compiled object could not be opened, or its maps could not be prepared.
    #[error("failed to open the BPF object {object}")]
    Open { object: &'static str, source: libbpf_rs::Error },
    /// The kernel refused programs or maps of an object.
    #[error("failed to load the BPF object {object}: {log}")]
    Load { object: &'static str, log: String, source: libbpf_rs::Error },
    /// A program or map that the catalogue names is not in the loaded objects.
    #[error("the loaded BPF objects have no {0}")]
    Missing(&'static str),
    /// A program could not be attached or put in the place of its predecessor.
    #[error("failed to attach {program}")]
    Attach { program: &'static str, source: libbpf_rs::Error },
    /// A link or map could not be pinned.
    #[error("failed to pin {path}")]
    Pin { path: PathBuf, source: io::Error },
    /// The folder of pins could not be made, read or cleaned.
    #[error("failed to prepare the folder of pins {path}")]
    Folder { path: PathBuf, source: io::Error },
    /// A map refused a read or a write about a task.
    #[error("failed to {verb} {map} of group {group}")]
    Map { verb: &'static str, map: &'static str, group: GroupId, source: libbpf_rs::Error },
    /// A map that is about the host refused a read or a write.
    #[error("failed to {verb} {map}")]
    HostMap { verb: &'static str, map: &'static str, source: libbpf_rs::Error },
    /// A record had not the size that this build knows.
    #[error("{map} holds a record of {size} bytes, which this build does not know")]
    Record { map: &'static str, size: usize },
    /// Processors put counts away faster than these could be read.
    #[error("counts of group {group} were never at rest while they were read")]
    Restless { group: GroupId },
    /// A control group could not be looked at.
    #[error("failed to look at the control group {path}")]
    Group { path: PathBuf, source: io::Error },
    /// The place of the root group in the hierarchy could not be found out.
    #[error("failed to find the level of {0} in the hierarchy")]
    Level(PathBuf),
    /// Tasks would be deeper below the root group than programs look.
    #[error("tasks {depth} levels below the root group cannot be told apart; 1 to {most} can")]
    Depth { depth: u32, most: u32 },
    /// The hierarchy itself could not be found or used.
    #[error("failed to use the control group hierarchy")]
    Cgroup(#[source] tepui_cgroup::CgroupError),
    /// The trial process could not be brought to where it tries.
    #[error("failed to run the trial in {path}")]
    Trial { path: PathBuf, source: io::Error },
    /// More devices than a program knows.
    #[error("{0} devices are more than a group can be held to")]
    Devices(usize),
    /// Rules about devices could not be put on a group.
    #[error("failed to hold {path} to its devices")]
    HoldToDevices { path: PathBuf, source: io::Error },
    /// Kernel statistics about programs could not be switched on or read.
    #[error("failed to read the cost of BPF programs")]
    Cost { source: io::Error },
}
