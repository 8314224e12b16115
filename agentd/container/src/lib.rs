//! What a container is: from Mesos's `ContainerInfo` to an OCI runtime specification.
//!
//! ```text
//! ContainerInfo, CommandInfo ──describe──▶ Container       what is wished for; refusals name the field
//! Container, image, network  ──order────▶ Order           what the runtime is told, in one file
//! Order, facts of the host   ──runtime_spec──▶ OCI spec   what libcontainer is given
//! ```
//!
//! Everything here is a function of its arguments. The daemon pulls images and makes networks
//! between the first two steps; `tepui-runtime` looks up users and devices before the third.

mod attach;
mod capabilities;
mod command;
mod describe;
mod docker;
mod files;
mod flags;
mod order;
mod seccomp;
mod secrets;
mod spec;
mod wish;

pub use attach::{ATTACH_SOCKET, MAX_ATTACH_BYTES, ToTerminal};
pub use capabilities::{
    USUAL as USUAL_CAPABILITIES, bounding_mask, capability_mask, capability_names,
};
pub use command::{ImageConfig, Process, Unstartable, process};
pub use describe::{Refusal, SANDBOX, describe, rlimits};
pub use files::{asks_only_itself, hosts_file, resolver_file};
pub use order::{
    EtcFiles, ExecOrder, Isolation, Namespace, ORDER_FILE, Order, OrderMount, OrderSource, Root,
};
pub use seccomp::{NotAProfile, check_profile};
pub use secrets::{MAX_SECRET_BYTES, check_secret, secret_names};
pub use spec::{Facts, HostDevice, MASKED_IN_EACH, SharedIpc, SpecError, UserFacts, runtime_spec};
pub use wish::{
    Capabilities, Container, Device, Dns, Entry, ImageWish, Ipc, Mount, MountSource, Network,
    NetworkLabels, Port, Protocol, RegistryAuth, Rlimit, Seccomp, Tty,
};
