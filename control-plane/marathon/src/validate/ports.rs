use std::collections::BTreeSet;

use crate::app::App;
use crate::container::{Container, ContainerEngine, Network, PortMapping};
use crate::reject::Violations;

/// Ports and networks.
pub(super) fn validate(app: &App, broken: &mut Violations) {
    networks(app, broken);
    if app.has_host_networking() {
        if app.container.as_ref().is_some_and(|container| !container.port_mappings.is_empty()) {
            broken.add(
                "/container/portMappings",
                "portMappings are not allowed with host-networking",
            );
        }
    } else if !app.port_definitions.is_empty() {
        broken.add("/portDefinitions", "portDefinitions are only allowed with host-networking");
    }
    let ports = app.port_definitions.iter().map(|definition| definition.port);
    if !unique(ports.filter(|port| *port != 0)) {
        broken.add("/portDefinitions", "Ports must be unique.");
    }
    if !unique(app.port_definitions.iter().filter_map(|definition| definition.name.as_deref())) {
        broken.add("/portDefinitions", "Port names must be unique.");
    }
    if let Some(container) = &app.container {
        mappings(app, container, broken);
    }
}

fn unique<T: Ord>(items: impl Iterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    items.into_iter().all(|item| seen.insert(item))
}

fn mappings(app: &App, container: &Container, broken: &mut Violations) {
    let mappings: &[PortMapping] = &container.port_mappings;
    if !unique(mappings.iter().filter_map(|mapping| mapping.name.as_deref())) {
        broken.add("/container/portMappings", "Port names must be unique.");
    }
    let networks =
        app.networks.iter().filter(|network| matches!(network, Network::Container { .. })).count();
    for (index, mapping) in mappings.iter().enumerate() {
        if networks > 1 && mapping.host_port.is_some() && mapping.network_names.len() != 1 {
            broken.add(
                &format!("/container/portMappings({index})"),
                "networkNames must be a single item list when hostPort is specified and more than \
                 1 container network is defined",
            );
        }
    }
}

fn networks(app: &App, broken: &mut Violations) {
    let count = |wanted: fn(&Network) -> bool| app.networks.iter().filter(|n| wanted(n)).count();
    let hosts = count(|network| matches!(network, Network::Host));
    let bridges = count(|network| matches!(network, Network::Bridge { .. }));
    let containers = count(|network| matches!(network, Network::Container { .. }));
    let legal = matches!((hosts, bridges, containers), (1, 0, 0) | (0, 1, 0) | (0, 0, 1..));
    if !legal {
        broken.add(
            "/networks",
            "May specify a single host network, single bridge network, or else 1-to-n container \
             networks",
        );
    }
    let names: Vec<Option<&str>> = app
        .networks
        .iter()
        .filter_map(|network| match network {
            Network::Container { name, .. } => Some(name.as_deref()),
            Network::Host | Network::Bridge { .. } => None,
        })
        .collect();
    if names.iter().any(Option::is_none) {
        broken
            .add("/networks", "Network name must be specified when container network is selected.");
    }
    if !unique(names.iter().flatten()) {
        broken.add("/networks", "Duplicate networks are not allowed");
    }
    let docker =
        app.container.as_ref().is_some_and(|container| container.engine == ContainerEngine::Docker);
    if docker && containers > 1 {
        broken.add(
            "/networks",
            "may only specify a single container network when using the Docker container engine",
        );
    }
}
