//! Networks of containers: a bridge of the agent's own with port mappings, and CNI networks.
//!
//! ```text
//! attach(run)   record written ─▶ namespace made and pinned ─▶ link, addresses, routes ─▶ ports mapped
//! detach(run)   ports unmapped ─▶ link and namespace gone   ─▶ record removed
//! ```
//!
//! The record comes first and goes last, so whatever a dead agent has left behind is found and
//! removed by the next ([`Networks::reconcile`]). Ports are mapped by nftables, for both families,
//! from everywhere including the host itself; one transaction maps all ports of a container or none.
//! What somebody else takes away, the table of rules or the bridge, is put back at once while
//! [`Networks::keep`] runs: the kernel tells of it, and it is looked at from time to time.
//! Namespaces are pinned by mounts below `/run`: they outlive the agent, as the containers do.

mod address;
mod bell;
mod bridge;
mod cni;
mod error;
mod link;
mod namespace;
mod networks;
mod nft;
mod record;
mod rules;
mod settings;
mod tables;

pub use error::NetworkError;
pub use namespace::socket_in;
pub use networks::{Abilities, Attached, Networks, Repairs};
pub use nft::apply as change_rules;
pub use settings::Settings;
