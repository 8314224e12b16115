//! What `DockerInfo` adds, and the flags of `docker run` that have an equivalent.

use tepui_wire::v1::{self, container_info::DockerInfo, container_info::docker_info};

use crate::describe::{Refusal, network_labels, port};
use crate::flags;
use crate::wish::{Container, ImageWish, Network};

pub(crate) fn apply(
    container: &mut Container,
    info: &DockerInfo,
    networks: &[v1::NetworkInfo],
) -> Result<(), Refusal> {
    #[allow(deprecated)] // Refused, not ignored.
    if info.volume_driver.as_ref().is_some_and(|driver| !driver.is_empty()) {
        return Refusal::of(
            "a Docker volume driver (container.docker.volume_driver) is not supported",
        );
    }
    container.image = Some(ImageWish {
        reference: info.image.clone(),
        fresh: info.force_pull_image(),
        auth: None,
    });
    container.privileged = info.privileged();
    container.network = network(info, networks)?;
    for parameter in &info.parameters {
        flags::apply(container, &parameter.key, &parameter.value)?;
    }
    if container.privileged {
        container.new_privileges = true;
    }
    let kept = container.network.ports().len();
    if kept < info.port_mappings.len() {
        return Refusal::of("port mappings need network BRIDGE or USER");
    }
    Ok(())
}

fn network(info: &DockerInfo, networks: &[v1::NetworkInfo]) -> Result<Network, Refusal> {
    let ports = || {
        let mappings = info.port_mappings.iter();
        mappings
            .map(|one| port(one.host_port, one.container_port, one.protocol.as_deref()))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(match info.network() {
        docker_info::Network::Host => Network::Host,
        docker_info::Network::None => Network::None,
        docker_info::Network::Bridge => Network::Bridge { ports: ports()? },
        docker_info::Network::User => {
            let names: Vec<_> = networks.iter().filter_map(|one| one.name.clone()).collect();
            if names.is_empty() {
                return Refusal::of("Docker network USER needs a network's name in network_infos");
            }
            Network::Cni { names, ports: ports()?, labels: network_labels(networks) }
        }
    })
}
