//! What this host's kernel can do: asked, never guessed from a version.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use libbpf_rs::ProgramType;
use libbpf_rs::btf::Btf;
use libbpf_rs::btf::types::Typedef;

use crate::catalogue::{Hook, Kind, PROGRAMS};
use crate::object::quietly;
use crate::pins;

/// Whether the host has something, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// It is there.
    Yes,
    /// It is not, for this reason.
    No(String),
}

impl Fact {
    /// Whether it is there.
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(self, Self::Yes)
    }

    fn from_result<T, E: fmt::Display>(result: Result<T, E>) -> Self {
        match result {
            Ok(_) => Self::Yes,
            Err(error) => Self::No(error.to_string()),
        }
    }
}

/// What the kernel of this host was found to offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// A version 2 hierarchy is mounted.
    pub cgroup2: Fact,
    /// The BPF file system is there, so that programs can outlive the agent.
    pub bpffs: Fact,
    /// The kernel's own type information, which moves our offsets to those of this kernel.
    pub btf: Fact,
    /// Program types by kind.
    pub kinds: BTreeMap<Kind, Fact>,
    /// Tracepoints of the catalogue that this kernel has.
    pub tracepoints: BTreeSet<&'static str>,
}

/// Asks the host. `pins` is the folder where pins are to be; it is made, and where the BPF file
/// system is not mounted at its usual place, that is done too: both are part of the question.
#[must_use]
pub fn probe(pins: &Path) -> Facts {
    quietly(|| {
        let kernel_types = Btf::from_vmlinux();
        let tracepoints = match &kernel_types {
            Ok(types) => tracepoints(types),
            Err(_) => BTreeSet::new(),
        };
        Facts {
            cgroup2: Fact::from_result(tepui_cgroup::Mount::probe()),
            bpffs: Fact::from_result(pins::ensure_folder(pins)),
            btf: Fact::from_result(kernel_types),
            kinds: Kind::ALL.iter().map(|kind| (*kind, loads(*kind))).collect(),
            tracepoints,
        }
    })
}

fn loads(kind: Kind) -> Fact {
    let program = match kind {
        Kind::SocketAddress => ProgramType::CgroupSockAddr,
        Kind::Socket => ProgramType::CgroupSock,
        Kind::Packet => ProgramType::CgroupSkb,
        Kind::RawTracepoint => ProgramType::RawTracepoint,
    };
    match program.is_supported() {
        Ok(true) => Fact::Yes,
        Ok(false) if !may_load() => {
            Fact::No("this process lacks the capabilities to load programs".to_owned())
        }
        Ok(false) => Fact::No("this kernel loads none".to_owned()),
        Err(error) => Fact::No(error.to_string()),
    }
}

/// CAP_SYS_ADMIN alone suffices; it and CAP_BPF are what a container mostly lacks.
fn may_load() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};

    capabilities(None)
        .is_ok_and(|sets| sets.effective.intersects(CapabilitySet::SYS_ADMIN | CapabilitySet::BPF))
}

/// The kernel describes each tracepoint by a type of its own.
fn tracepoints(types: &Btf<'_>) -> BTreeSet<&'static str> {
    let wanted = PROGRAMS.iter().filter_map(|spec| match spec.hook {
        Hook::Tracepoint(name) => Some(name),
        Hook::RootGroup => None,
    });
    wanted
        .filter(|name| types.type_by_name::<Typedef<'_>>(&format!("btf_trace_{name}")).is_some())
        .collect()
}
