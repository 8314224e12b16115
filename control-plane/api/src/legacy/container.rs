//! `container_status` (`spec/mesos-http.md` 4.3): most statuses have one, so it is written without
//! anything in between.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value as Json;
use serde_json::value::RawValue;
use tepui_cluster::told::ContainerTold;
use tepui_wire::v1::{self, network_info};

use super::text;

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum ContainerView<'a> {
    Usual(UsualView<'a>),
    Whole(Box<WholeView<'a>>),
}

/// What nearly every task has: an id and one address.
#[derive(Clone, Debug, Serialize)]
pub(super) struct UsualView<'a> {
    container_id: PlainIdView<'a>,
    network_infos: [PlainNetworkView; 1],
}

#[derive(Clone, Debug, Serialize)]
struct PlainIdView<'a> {
    value: &'a str,
}

#[derive(Clone, Debug, Serialize)]
struct PlainNetworkView {
    ip_addresses: [PlainAddressView; 1],
}

#[derive(Clone, Debug, Serialize)]
struct PlainAddressView {
    protocol: &'static str,
    ip_address: IpAddr,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct WholeView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    container_id: Option<IdView<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    network_infos: Vec<NetworkView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup_info: Option<Box<RawValue>>,
}

#[derive(Clone, Debug, Serialize)]
struct IdView<'a> {
    value: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Box<RawValue>>,
}

#[derive(Clone, Debug, Serialize)]
struct NetworkView<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Json>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ip_addresses: Vec<AddressView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    port_mappings: Vec<Box<RawValue>>,
}

#[derive(Clone, Debug, Serialize)]
struct AddressView<'a> {
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_address: Option<&'a str>,
}

impl<'a> ContainerView<'a> {
    pub(super) fn of(told: ContainerTold<'a>) -> Self {
        match told {
            ContainerTold::Usual { id, address } => Self::Usual(UsualView {
                container_id: PlainIdView { value: id },
                network_infos: [PlainNetworkView {
                    ip_addresses: [PlainAddressView {
                        protocol: if address.is_ipv4() { "IPv4" } else { "IPv6" },
                        ip_address: address,
                    }],
                }],
            }),
            ContainerTold::Whole(status) => Self::Whole(Box::new(WholeView::of(status))),
        }
    }
}

impl<'a> WholeView<'a> {
    fn of(status: &'a v1::ContainerStatus) -> Self {
        let id = status.container_id.as_ref();
        Self {
            container_id: id.map(|id| IdView {
                value: &id.value,
                parent: id.parent.as_deref().map(text::message),
            }),
            network_infos: status.network_infos.iter().map(NetworkView::of).collect(),
            cgroup_info: status.cgroup_info.as_ref().map(text::message),
        }
    }
}

impl<'a> NetworkView<'a> {
    fn of(network: &'a v1::NetworkInfo) -> Self {
        Self {
            groups: &network.groups,
            labels: network.labels.as_ref().map(text::labels),
            ip_addresses: network.ip_addresses.iter().map(AddressView::of).collect(),
            name: network.name.as_deref(),
            port_mappings: network.port_mappings.iter().map(text::message).collect(),
        }
    }
}

impl<'a> AddressView<'a> {
    fn of(address: &'a network_info::IpAddress) -> Self {
        Self {
            protocol: address.protocol().as_str_name(),
            ip_address: address.ip_address.as_deref(),
        }
    }
}
