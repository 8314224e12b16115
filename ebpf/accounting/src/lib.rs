//! What the kernel can tell and refuse about tasks, through BPF programs.
//!
//! [`probe`] asks the host what it can do, [`plan`] decides purely which programs to use and says
//! why others are left out, and a [`Driver`] loads, attaches and pins them, so that enforcement and
//! counters outlive the agent. A task is known by its control group ([`GroupId`]).
//!
//! [`files`] and [`HostNetwork`] tell the same figures without programs, as far as anything does.
//!
//! [`hold_to_devices`] stands apart: its program belongs to one group and goes with it.
//!
//! The records that cross between kernel and agent are defined in `bpf/record.h` alone; their
//! layout here comes from the compiled objects.

mod catalogue;
mod cost;
mod decode;
mod devices;
mod driver;
mod error;
mod facts;
pub mod files;
mod group;
mod host;
mod layout;
mod mode;
mod object;
mod pins;
mod plan;
mod ports;
mod program;
mod projects;
mod prove;
mod sample;

pub use catalogue::{Feature, Hook, Kind, ObjectName, PROGRAMS, Spec};
pub use cost::{Cost, CostStatistics};
pub use decode::{
    BlockFlow, BlockUse, CpuUse, Denial, Denials, Drops, Endings, Exit, Flow, Histogram, NetUse,
    Operation, Preempted, Sender, TcpUse, Traffic, Transport, decode_block, decode_cpu,
    decode_denial, decode_denials, decode_drops, decode_endings, decode_exit, decode_net,
    decode_tcp,
};
pub use devices::{
    DeviceProof, DeviceRule, MOST_DEVICES, USUAL_DEVICES, hold_to_devices, prove_device_rules,
};
pub use driver::{Adopted, Driver, Place};
pub use error::AccountingError;
pub use facts::{Fact, Facts, probe};
pub use group::GroupId;
pub use host::HostNetwork;
pub use mode::{Mode, Policy};
pub use plan::{LeftOut, Plan, Reason, plan};
pub use ports::{PortSet, TooManyRanges};
pub use projects::{
    FileSystem, Held, NoProjects, ProjectLimit, Projects, project_of, put_in_project,
};
pub use prove::{Proof, prove_port_enforcement};
pub use sample::{Figure, Memory, MemoryLevels, Pressure, Sample, Source, Switches};
