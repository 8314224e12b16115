//! Containers, volumes, networks, ports and artifacts.

use serde_json::Value;

use super::reader::{Object, Reader};
use crate::container::{
    Container, ContainerEngine, Docker, EnvValue, Fetch, Labels, Network, Parameter,
    PortDefinition, PortMapping, Protocol, PullConfig, SecretSource, Volume, VolumeMode,
};

const PROTOCOLS: [(&str, Protocol); 4] = [
    ("tcp", Protocol::Tcp),
    ("udp", Protocol::Udp),
    ("udp,tcp", Protocol::UdpTcp),
    ("tcp,udp", Protocol::UdpTcp),
];
const ENGINES: [(&str, ContainerEngine); 2] =
    [("DOCKER", ContainerEngine::Docker), ("MESOS", ContainerEngine::Mesos)];
const MODES: [(&str, VolumeMode); 2] = [("RO", VolumeMode::Ro), ("RW", VolumeMode::Rw)];
const LONGEST_NAME: usize = 63;
const LONGEST_URI: usize = 1024;

/// The modes of the deprecated `container.docker.network`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DockerNetwork {
    Host,
    Bridge,
    None,
    User,
}

/// The deprecated parts of a container.
#[derive(Clone, Debug, Default)]
pub(crate) struct LegacyContainer {
    pub(crate) network: Option<DockerNetwork>,
    pub(crate) port_mappings: Option<Vec<PortMapping>>,
    /// Whether `portMappings` of the current form were given.
    pub(crate) has_port_mappings: bool,
}

pub(super) fn container(
    reader: &mut Reader,
    value: &Value,
) -> Option<(Container, LegacyContainer)> {
    let object = reader.object(value)?;
    let mut legacy = LegacyContainer::default();
    let engine = reader.opt(object, "type", |r, v| r.literal(v, &ENGINES)).unwrap_or_default();
    let docker = reader.opt(object, "docker", |r, v| docker(r, v, &mut legacy));
    let volumes = reader.opt(object, "volumes", |r, v| r.array(v, volume)).unwrap_or_default();
    let port_mappings = reader.opt(object, "portMappings", |r, v| r.array(v, port_mapping));
    let linux_info = reader.opt(object, "linuxInfo", |r, v| r.object(v).map(|_| v.clone()));
    legacy.has_port_mappings = port_mappings.is_some();
    let port_mappings = port_mappings.unwrap_or_default();
    Some((Container { engine, docker, volumes, port_mappings, linux_info }, legacy))
}

fn docker(reader: &mut Reader, value: &Value, legacy: &mut LegacyContainer) -> Option<Docker> {
    const NETWORKS: [(&str, DockerNetwork); 4] = [
        ("HOST", DockerNetwork::Host),
        ("BRIDGE", DockerNetwork::Bridge),
        ("NONE", DockerNetwork::None),
        ("USER", DockerNetwork::User),
    ];
    let object = reader.object(value)?;
    legacy.network = reader.opt(object, "network", |r, v| r.literal(v, &NETWORKS));
    legacy.port_mappings = reader.opt(object, "portMappings", |r, v| r.array(v, port_mapping));
    // Whoever reads the app would read it; Marathon has dropped the field, Mesos never used it.
    reader.opt(object, "credential", |r, _| -> Option<()> {
        r.broken("is not used; agents have --docker-config for what registries are to be told");
        None
    });
    Some(Docker {
        image: reader.need(object, "image", Reader::filled_string)?,
        force_pull_image: flag(reader, object, "forcePullImage"),
        privileged: flag(reader, object, "privileged"),
        parameters: reader
            .opt(object, "parameters", |r, v| r.array(v, parameter))
            .unwrap_or_default(),
        pull_config: reader.opt(object, "pullConfig", |r, v| {
            let object = r.object(v)?;
            Some(PullConfig { secret: r.need(object, "secret", Reader::string)? })
        }),
    })
}

fn flag(reader: &mut Reader, object: &Object, key: &str) -> bool {
    reader.opt(object, key, Reader::boolean).unwrap_or(false)
}

fn parameter(reader: &mut Reader, value: &Value) -> Option<Parameter> {
    let object = reader.object(value)?;
    Some(Parameter {
        key: reader.need(object, "key", Reader::filled_string)?,
        value: reader.need(object, "value", Reader::string)?,
    })
}

fn volume(reader: &mut Reader, value: &Value) -> Option<Volume> {
    let object = reader.object(value)?;
    let present = |key: &str| object.get(key).is_some_and(|value| !value.is_null());
    let container_path = reader.need(object, "containerPath", Reader::filled_string)?;
    if present("secret") {
        let secret = reader.need(object, "secret", Reader::string)?;
        return Some(Volume::Secret { container_path, secret });
    }
    let mode = reader.need(object, "mode", |r, v| r.literal(v, &MODES))?;
    let kept = |r: &mut Reader, v: &Value| r.object(v).map(|_| v.clone());
    if present("persistent") {
        let persistent = reader.need(object, "persistent", kept)?;
        return Some(Volume::Persistent { container_path, mode, persistent });
    }
    if present("external") {
        let external = reader.need(object, "external", kept)?;
        return Some(Volume::External { container_path, mode, external });
    }
    let host_path = reader.need(object, "hostPath", Reader::filled_string)?;
    Some(Volume::Host { container_path, host_path, mode })
}

pub(super) fn port_mapping(reader: &mut Reader, value: &Value) -> Option<PortMapping> {
    let object = reader.object(value)?;
    Some(PortMapping {
        container_port: reader.opt(object, "containerPort", Reader::port).unwrap_or(0),
        host_port: reader.opt(object, "hostPort", Reader::port),
        service_port: reader.opt(object, "servicePort", Reader::port).unwrap_or(0),
        protocol: protocol(reader, object),
        name: reader.opt(object, "name", port_name),
        labels: labels(reader, object),
        network_names: reader.opt(object, "networkNames", Reader::strings).unwrap_or_default(),
    })
}

pub(super) fn port_definition(reader: &mut Reader, value: &Value) -> Option<PortDefinition> {
    let object = reader.object(value)?;
    Some(PortDefinition {
        port: reader.opt(object, "port", Reader::port).unwrap_or(0),
        name: reader.opt(object, "name", port_name),
        protocol: protocol(reader, object),
        labels: labels(reader, object),
    })
}

fn protocol(reader: &mut Reader, object: &Object) -> Protocol {
    reader.opt(object, "protocol", |r, v| r.literal(v, &PROTOCOLS)).unwrap_or_default()
}

fn labels(reader: &mut Reader, object: &Object) -> Labels {
    reader.opt(object, "labels", Reader::labels).unwrap_or_default()
}

/// `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
fn port_name(reader: &mut Reader, value: &Value) -> Option<String> {
    let name = reader.string(value)?;
    if !is_name(&name, |_| false) {
        reader.wrong("error.pattern");
    }
    Some(name)
}

fn is_name(name: &str, also: fn(u8) -> bool) -> bool {
    let edge = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let bytes = name.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| edge(Some(byte)) || *byte == b'-' || also(*byte))
}

pub(super) fn network(reader: &mut Reader, value: &Value) -> Option<Network> {
    #[derive(Clone, Copy)]
    enum Mode {
        Host,
        Bridge,
        Container,
    }
    const NETWORK_MODES: [(&str, Mode); 3] =
        [("host", Mode::Host), ("container/bridge", Mode::Bridge), ("container", Mode::Container)];
    let object = reader.object(value)?;
    let mode =
        reader.opt(object, "mode", |r, v| r.literal(v, &NETWORK_MODES)).unwrap_or(Mode::Container);
    let name = reader.opt(object, "name", |r, v| {
        let name = r.bounded_string(v, 1, LONGEST_NAME)?;
        if !is_name(&name, |byte| byte == b'_') {
            r.wrong("error.pattern");
        }
        Some(name)
    });
    let labels = labels(reader, object);
    Some(match mode {
        Mode::Host => {
            if name.is_some() || !labels.is_empty() {
                reader.broken("Host networks may not have names or labels");
            }
            Network::Host
        }
        Mode::Bridge => {
            if name.is_some() {
                reader.broken("Bridge networks may not have names");
            }
            Network::Bridge { labels }
        }
        Mode::Container => Network::Container { name, labels },
    })
}

pub(super) fn fetch(reader: &mut Reader, value: &Value) -> Option<Fetch> {
    let object = reader.object(value)?;
    let bounded = |r: &mut Reader, v: &Value| r.bounded_string(v, 1, LONGEST_URI);
    Some(Fetch {
        uri: reader.need(object, "uri", bounded)?,
        extract: reader.opt(object, "extract", Reader::boolean).unwrap_or(true),
        executable: flag(reader, object, "executable"),
        cache: flag(reader, object, "cache"),
        dest_path: reader.opt(object, "destPath", bounded),
    })
}

/// A fetch entry made from one of the deprecated `uris`: archives are extracted by their suffix.
pub(super) fn fetch_of_uri(reader: &mut Reader, value: &Value) -> Option<Fetch> {
    const ARCHIVES: [&str; 7] = [".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".zip"];
    let uri = reader.bounded_string(value, 1, LONGEST_URI)?;
    let extract = ARCHIVES.iter().any(|suffix| uri.ends_with(suffix));
    Some(Fetch { uri, extract, executable: false, cache: false, dest_path: None })
}

pub(super) fn env_value(reader: &mut Reader, value: &Value) -> Option<EnvValue> {
    match value {
        Value::Object(object) => {
            Some(EnvValue::Secret { secret: reader.need(object, "secret", Reader::filled_string)? })
        }
        _ => reader.string(value).map(EnvValue::Text),
    }
}

pub(super) fn secret(reader: &mut Reader, value: &Value) -> Option<SecretSource> {
    let object = reader.object(value)?;
    Some(SecretSource { source: reader.need(object, "source", Reader::filled_string)? })
}

/// The deprecated `ipAddress`.
#[derive(Clone, Debug, Default)]
pub(crate) struct IpAddressSpec {
    pub(crate) network_name: Option<String>,
    pub(crate) labels: Labels,
    pub(crate) discovery_ports: Vec<PortMapping>,
}

pub(super) fn ip_address(reader: &mut Reader, value: &Value) -> Option<IpAddressSpec> {
    let object = reader.object(value)?;
    let discovery_ports = reader
        .opt(object, "discovery", |r, v| {
            let object = r.object(v)?;
            r.opt(object, "ports", |r, v| r.array(v, discovery_port))
        })
        .unwrap_or_default();
    reader.opt(object, "groups", |r, v| {
        let groups = r.strings(v)?;
        if !groups.is_empty() {
            r.broken("network groups have no effect here; networks may have labels");
        }
        Some(())
    });
    Some(IpAddressSpec {
        network_name: reader.opt(object, "networkName", Reader::filled_string),
        labels: labels(reader, object),
        discovery_ports,
    })
}

fn discovery_port(reader: &mut Reader, value: &Value) -> Option<PortMapping> {
    let object = reader.object(value)?;
    Some(PortMapping {
        container_port: reader.need(object, "number", Reader::port)?,
        host_port: None,
        service_port: 0,
        protocol: protocol(reader, object),
        name: reader.need(object, "name", port_name),
        labels: labels(reader, object),
        network_names: Vec::new(),
    })
}
