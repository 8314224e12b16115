//! Translation of deprecated fields into current ones (`marathon-behaviour.md` section 20).

use crate::container::{Container, Network, PortDefinition, PortMapping, Protocol};
use crate::read::{DockerNetwork, IpAddressSpec, Legacy};
use crate::reject::Rejection;
use crate::settings::Settings;
use crate::update::AppUpdate;

/// Puts the deprecated fields of a body into their current places.
///
/// # Errors
/// 422 with a plain message when old and new fields contradict each other.
pub(crate) fn translate(
    update: &mut AppUpdate,
    legacy: Legacy,
    settings: &Settings,
) -> Result<(), Rejection> {
    translate_uris(update, &legacy)?;
    translate_ports(update, &legacy)?;
    translate_mappings(update, &legacy)?;
    translate_networks(update, &legacy, settings)
}

fn refuse(message: &str) -> Rejection {
    Rejection::new(422, message)
}

fn translate_uris(update: &mut AppUpdate, legacy: &Legacy) -> Result<(), Rejection> {
    let Some(uris) = &legacy.uris else { return Ok(()) };
    match &update.fetch {
        Some(fetch) if !fetch.is_empty() && !uris.is_empty() => {
            Err(refuse("cannot specify both uris and fetch fields"))
        }
        Some(fetch) if !fetch.is_empty() => Ok(()),
        _ => {
            update.fetch = Some(uris.clone());
            Ok(())
        }
    }
}

fn translate_ports(update: &mut AppUpdate, legacy: &Legacy) -> Result<(), Rejection> {
    let Some(ports) = &legacy.ports else { return Ok(()) };
    if update.port_definitions.is_some() {
        return Err(refuse("cannot specify both ports and port definitions"));
    }
    if legacy.ip_address.is_some() && !ports.is_empty() {
        return Err(refuse("cannot specify both an IP address and port"));
    }
    let mut fixed: Vec<u16> = ports.iter().copied().filter(|port| *port != 0).collect();
    fixed.sort_unstable();
    if fixed.windows(2).any(|pair| pair[0] == pair[1]) {
        update.broken.add("/ports", "ports must be unique");
    }
    let definition = |port: &u16| PortDefinition {
        port: *port,
        name: None,
        protocol: Protocol::Tcp,
        labels: crate::container::Labels::new(),
    };
    let mut definitions: Vec<PortDefinition> = ports.iter().map(definition).collect();
    if let [only] = definitions.as_mut_slice() {
        only.name = Some("default".to_owned());
    }
    update.port_definitions = Some(definitions);
    update.legacy_ports = true;
    Ok(())
}

fn translate_mappings(update: &mut AppUpdate, legacy: &Legacy) -> Result<(), Rejection> {
    let Some(mappings) = &legacy.container.port_mappings else { return Ok(()) };
    if legacy.container.has_port_mappings {
        return Err(refuse("cannot specify both portMappings and docker.portMappings"));
    }
    if let Some(container) = &mut update.container {
        container.port_mappings.clone_from(mappings);
    }
    Ok(())
}

fn translate_networks(
    update: &mut AppUpdate,
    legacy: &Legacy,
    settings: &Settings,
) -> Result<(), Rejection> {
    let docker = legacy.container.network;
    let old_way = legacy.ip_address.is_some() || docker.is_some();
    if old_way && update.networks.as_ref().is_some_and(|networks| !networks.is_empty()) {
        return Err(refuse(match (legacy.ip_address.is_some(), docker.is_some()) {
            (true, false) => "must not specify both networks and ipAddress",
            (false, true) => "must not specify both container.docker.network and networks",
            _ => "cannot mix deprecated and canonical network APIs",
        }));
    }
    let network = match (&legacy.ip_address, docker) {
        (None, None) => return Ok(()),
        (_, Some(DockerNetwork::None)) => {
            return Err(refuse("unsupported docker network type NONE"));
        }
        (_, Some(DockerNetwork::Host)) => Network::Host,
        (address, Some(DockerNetwork::Bridge)) => Network::Bridge {
            labels: address.as_ref().map(|address| address.labels.clone()).unwrap_or_default(),
        },
        (address, Some(DockerNetwork::User)) => user_network(address.as_ref(), settings)?,
        (Some(address), None) if is_bridge(address, settings) => {
            Network::Bridge { labels: address.labels.clone() }
        }
        (Some(address), None) => Network::Container {
            name: address.network_name.clone(),
            labels: address.labels.clone(),
        },
    };
    if let Some(address) = &legacy.ip_address {
        place_discovery_ports(update, address, docker.is_some())?;
    }
    if matches!(network, Network::Host)
        && let Some(container) = &mut update.container
    {
        container.port_mappings.clear();
    }
    update.networks = Some(vec![network]);
    Ok(())
}

fn is_bridge(address: &IpAddressSpec, settings: &Settings) -> bool {
    address.network_name.as_deref() == Some(&settings.mesos_bridge_name)
}

fn user_network(
    address: Option<&IpAddressSpec>,
    settings: &Settings,
) -> Result<Network, Rejection> {
    let name = address
        .and_then(|address| address.network_name.clone())
        .or_else(|| settings.default_network_name.clone())
        .ok_or_else(|| {
            refuse("Network name must be specified when container network is selected.")
        })?;
    let labels = address.map(|address| address.labels.clone()).unwrap_or_default();
    Ok(Network::Container { name: Some(name), labels })
}

fn place_discovery_ports(
    update: &mut AppUpdate,
    address: &IpAddressSpec,
    docker: bool,
) -> Result<(), Rejection> {
    if docker && !address.discovery_ports.is_empty() {
        return Err(refuse("ipAddress/discovery is not allowed for Docker containers"));
    }
    let container = update.container.get_or_insert_with(Container::plain);
    if !address.discovery_ports.is_empty() {
        let mappings: Vec<PortMapping> = address.discovery_ports.clone();
        container.port_mappings = mappings;
    }
    Ok(())
}
