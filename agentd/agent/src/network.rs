//! Whose network a run is in: its own, that of the pod or container that it is below, or the host's.

use std::net::IpAddr;

use tepui_container::{Network, describe};
use tepui_types::ContainerId;
use tepui_wire::v1;

use crate::book::parent_of;
use crate::machine::Agent;
use crate::state::Executor;

impl Agent {
    /// The nearest run with a network of its own, from this one upwards; `None` is the host's.
    pub(crate) fn network_of(&self, run: &ContainerId) -> Option<ContainerId> {
        let mut next = Some(run.clone());
        while let Some(run) = next {
            if self.book.runs.get(&run).is_some_and(|entry| entry.addresses.is_some()) {
                return Some(run);
            }
            next = parent_of(&run);
        }
        None
    }

    /// The addresses of a run; `None` are the host's.
    pub fn addresses_of(&self, run: &ContainerId) -> Option<&[IpAddr]> {
        self.book.runs.get(&self.network_of(run)?)?.addresses.as_deref()
    }
}

/// The network that all tasks of a pod share, where it is not the host's.
pub(crate) fn network_of_pod(executor: &Executor) -> Option<Network> {
    let container = executor.info.as_ref()?.container.as_ref()?;
    // What cannot be described was refused before.
    network_in(container).ok().flatten()
}

/// The network that a pod's container asks for.
pub(crate) fn network_in(container: &v1::ContainerInfo) -> Result<Option<Network>, String> {
    let bare = v1::ContainerInfo {
        r#type: container.r#type,
        network_infos: container.network_infos.clone(),
        ..v1::ContainerInfo::default()
    };
    let described = describe(&bare, &v1::CommandInfo::default(), None, false);
    let described = described.map_err(|error| error.to_string())?;
    Ok(described.map(|container| container.network).filter(Network::is_own))
}
