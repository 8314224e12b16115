//! The description of a task for the cluster (`marathon-behaviour.md` sections 1 to 4 and 8). Pure.

use std::collections::BTreeMap;

use tepui_marathon::{
    App, Container, ContainerEngine, Labels, Limit, Network, PathId, Protocol, TaskId, Volume,
    VolumeMode,
};
use tepui_wire::v1;

use crate::checks;
use crate::environment::{self, TaskPort};
use crate::matching::{Placement, custom_executor};

/// What the description depends on beside the app.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) task_id: &'a TaskId,
    pub(crate) agent_id: &'a str,
    pub(crate) hostname: &'a str,
    pub(crate) placement: &'a Placement,
    pub(crate) ports: &'a [TaskPort],
    /// User of tasks that name none.
    pub(crate) user: &'a str,
    /// Prefix of `HOST` and `PORT*`.
    pub(crate) env_prefix: &'a str,
    /// The app's group enforces its role.
    pub(crate) enforce_role: bool,
    /// Executor of apps that name none.
    pub(crate) executor: &'a str,
}

/// The whole description.
pub(crate) fn task_info(app: &App, launch: Launch<'_>) -> v1::TaskInfo {
    let command = command(app, &launch);
    let container = container(app, &launch);
    let grace = app.task_kill_grace_period_seconds;
    let mut info = v1::TaskInfo {
        name: reversed(&app.id),
        task_id: v1::TaskId { value: launch.task_id.to_string() },
        agent_id: v1::AgentId { value: launch.agent_id.to_owned() },
        resources: launch.placement.resources.clone(),
        health_check: checks::health_check(app, launch.ports).map(Box::new),
        check: checks::general_check(app, launch.ports).map(Box::new),
        kill_policy: grace.map(|seconds| v1::KillPolicy {
            grace_period: Some(v1::DurationInfo {
                nanoseconds: i64::from(seconds) * 1_000_000_000,
            }),
        }),
        labels: (!app.labels.is_empty()).then(|| labels(&app.labels)),
        discovery: Some(discovery(app, launch.ports)),
        limits: limits(app),
        ..v1::TaskInfo::default()
    };
    if let Some(path) = custom_executor(app, launch.executor) {
        let executor = executor(app, path, command, container, &launch, &mut info.resources);
        info.executor = Some(Box::new(executor));
    } else {
        info.command = Some(command);
        info.container = container.map(Box::new);
    }
    info
}

/// `b.a` for `/a/b`.
fn reversed(id: &PathId) -> String {
    let mut segments: Vec<&str> = id.segments().collect();
    segments.reverse();
    segments.join(".")
}

fn labels(labels: &Labels) -> v1::Labels {
    let label = |(key, value): (&String, &String)| v1::Label {
        key: key.clone(),
        value: Some(value.clone()),
    };
    v1::Labels { labels: labels.iter().map(label).collect() }
}

fn command(app: &App, launch: &Launch<'_>) -> v1::CommandInfo {
    let variables = environment::variables(
        app,
        launch.task_id.as_str(),
        launch.hostname,
        launch.ports,
        launch.enforce_role,
        launch.env_prefix,
    );
    let variables = variables.into_iter().map(|(name, value)| v1::environment::Variable {
        name,
        value: Some(value),
        ..Default::default()
    });
    let uris = app.fetch.iter().map(|fetch| v1::command_info::Uri {
        value: fetch.uri.clone(),
        executable: Some(fetch.executable),
        extract: Some(fetch.extract),
        cache: Some(fetch.cache),
        output_file: fetch.dest_path.clone(),
    });
    let mut command = v1::CommandInfo {
        uris: uris.collect(),
        environment: Some(v1::Environment { variables: variables.collect() }),
        user: Some(app.user.clone().unwrap_or_else(|| launch.user.to_owned())),
        ..v1::CommandInfo::default()
    };
    let has_image = app.container.as_ref().is_some_and(|container| container.docker.is_some());
    match &app.cmd {
        Some(line) => {
            command.shell = Some(true);
            command.value = Some(line.clone());
        }
        None => {
            command.shell = Some(false);
            command.arguments.clone_from(&app.args);
            // With an image, its entry point is the program.
            command.value = if has_image { None } else { app.args.first().cloned() };
        }
    }
    command
}

/// A custom executor runs the app's own executor program; the executor's resources are taken off
/// the task's.
fn executor(
    app: &App,
    path: &str,
    mut command: v1::CommandInfo,
    container: Option<v1::ContainerInfo>,
    launch: &Launch<'_>,
    resources: &mut Vec<v1::Resource>,
) -> v1::ExecutorInfo {
    let line = app.cmd.clone().unwrap_or_else(|| app.args.join(" "));
    command.value = Some(format!("chmod ug+rx '{path}' && exec '{path}' {line}"));
    command.shell = Some(true);
    command.arguments.clear();
    let mut mine = Vec::new();
    if let Some(extra) = app.executor_resources {
        for (name, amount) in [("cpus", extra.cpus), ("mem", extra.mem), ("disk", extra.disk)] {
            split(resources, name, amount.as_milli(), &mut mine);
        }
    }
    let mut executor = v1::ExecutorInfo {
        executor_id: v1::ExecutorId { value: format!("marathon-{}", launch.task_id) },
        command: Some(command),
        container: container.map(Box::new),
        resources: mine,
        name: Some("marathon".to_owned()),
        ..v1::ExecutorInfo::default()
    };
    executor.set_type(v1::executor_info::Type::Custom);
    executor
}

/// Moves `milli` thousandths of a scalar resource from one list to the other.
fn split(from: &mut Vec<v1::Resource>, name: &str, mut milli: u64, to: &mut Vec<v1::Resource>) {
    for resource in from.iter_mut().filter(|resource| resource.name == name) {
        let Some(scalar) = resource.scalar.as_mut() else { continue };
        let has = tepui_types::Scalar::parse(scalar.value).unwrap_or_default().as_milli();
        let part = has.min(milli);
        if part == 0 {
            continue;
        }
        milli -= part;
        scalar.value = tepui_types::Scalar::from_milli(has - part).as_f64();
        let mut moved = resource.clone();
        let value = tepui_types::Scalar::from_milli(part).as_f64();
        moved.scalar = Some(v1::value::Scalar { value });
        to.push(moved);
    }
    from.retain(|resource| resource.scalar.as_ref().is_none_or(|scalar| scalar.value > 0.0));
}

fn limits(app: &App) -> BTreeMap<String, v1::value::Scalar> {
    let Some(limits) = app.resource_limits else { return BTreeMap::new() };
    let value = |limit: Limit| match limit {
        Limit::Unlimited => f64::INFINITY,
        Limit::Amount(amount) => amount.as_f64(),
    };
    [("cpus", limits.cpus), ("mem", limits.mem)]
        .into_iter()
        .filter_map(|(name, limit)| {
            Some((name.to_owned(), v1::value::Scalar { value: value(limit?) }))
        })
        .collect()
}

fn discovery(app: &App, ports: &[TaskPort]) -> v1::DiscoveryInfo {
    let mut list = Vec::new();
    let host = app.has_host_networking();
    let declared: Vec<(Protocol, &Labels)> = if host {
        app.port_definitions.iter().map(|port| (port.protocol, &port.labels)).collect()
    } else {
        let mappings = app.container.iter().flat_map(|container| &container.port_mappings);
        mappings.map(|mapping| (mapping.protocol, &mapping.labels)).collect()
    };
    let network = app.networks.iter().find_map(|network| match network {
        Network::Container { name, .. } => name.clone(),
        Network::Host | Network::Bridge { .. } => None,
    });
    for (port, (protocol, own)) in ports.iter().zip(declared) {
        let mut all = own.clone();
        let scope = if host || port.host.is_some() { "host" } else { "container" };
        all.insert("network-scope".to_owned(), scope.to_owned());
        if let Some(network) = network.as_ref().filter(|_| scope == "container") {
            all.insert("network-name".to_owned(), network.clone());
        }
        for protocol in protocol.as_str().split(',') {
            list.push(v1::Port {
                number: port.effective.into(),
                name: port.name.clone(),
                protocol: Some(protocol.to_owned()),
                visibility: None,
                labels: Some(labels(&all)),
            });
        }
    }
    let mut info = v1::DiscoveryInfo {
        name: Some(reversed(&app.id)),
        ports: Some(v1::Ports { ports: list }),
        ..v1::DiscoveryInfo::default()
    };
    info.set_visibility(v1::discovery_info::Visibility::Framework);
    info
}

fn container(app: &App, launch: &Launch<'_>) -> Option<v1::ContainerInfo> {
    let plain = Container::plain();
    let container = match &app.container {
        Some(container) => container,
        None if app.tty => &plain,
        None => return None,
    };
    let mut info = v1::ContainerInfo {
        volumes: container.volumes.iter().filter_map(host_volume).collect(),
        ..v1::ContainerInfo::default()
    };
    match container.engine {
        ContainerEngine::Docker => {
            info.set_type(v1::container_info::Type::Docker);
            info.docker = docker_info(app, container, launch);
        }
        ContainerEngine::Mesos => {
            info.set_type(v1::container_info::Type::Mesos);
            info.mesos = container.docker.as_ref().map(|docker| {
                let mut image = v1::Image {
                    docker: Some(v1::image::Docker {
                        name: docker.image.clone(),
                        ..Default::default()
                    }),
                    cached: Some(!docker.force_pull_image),
                    ..v1::Image::default()
                };
                image.set_type(v1::image::Type::Docker);
                v1::container_info::MesosInfo { image: Some(image) }
            });
        }
    }
    info.network_infos = networks(app, container, launch);
    info.tty_info = app.tty.then(v1::TtyInfo::default);
    info.linux_info = container.linux_info.as_ref().map(linux_info);
    Some(info)
}

/// `linuxInfo`, checked when the app was.
fn linux_info(given: &serde_json::Value) -> v1::LinuxInfo {
    let mut info = v1::LinuxInfo::default();
    if let Some(seccomp) = given.get("seccomp") {
        let profile = seccomp.get("profileName").and_then(|name| name.as_str());
        info.seccomp = Some(v1::SeccompInfo {
            profile_name: profile.map(str::to_owned),
            unconfined: Some(profile.is_none()),
        });
    }
    if let Some(ipc) = given.get("ipcInfo") {
        info.set_ipc_mode(match ipc.get("mode").and_then(|mode| mode.as_str()) {
            Some("SHARE_PARENT") => v1::linux_info::IpcMode::ShareParent,
            _ => v1::linux_info::IpcMode::Private,
        });
        let size = ipc.get("shmSize").and_then(serde_json::Value::as_u64);
        info.shm_size = size.and_then(|size| u32::try_from(size).ok());
    }
    info
}

fn docker_info(
    app: &App,
    container: &Container,
    launch: &Launch<'_>,
) -> Option<v1::container_info::DockerInfo> {
    let docker = container.docker.as_ref()?;
    let mut info = v1::container_info::DockerInfo {
        image: docker.image.clone(),
        privileged: Some(docker.privileged),
        force_pull_image: Some(docker.force_pull_image),
        parameters: docker
            .parameters
            .iter()
            .map(|flag| v1::Parameter { key: flag.key.clone(), value: flag.value.clone() })
            .collect(),
        ..Default::default()
    };
    let task =
        v1::Parameter { key: "label".into(), value: format!("MESOS_TASK_ID={}", launch.task_id) };
    info.parameters.push(task);
    info.set_network(match app.networks.first() {
        Some(Network::Bridge { .. }) => v1::container_info::docker_info::Network::Bridge,
        Some(Network::Container { .. }) => v1::container_info::docker_info::Network::User,
        Some(Network::Host) | None => v1::container_info::docker_info::Network::Host,
    });
    for (mapping, port) in container.port_mappings.iter().zip(launch.ports) {
        let Some(host) = port.host else { continue };
        let inside = if mapping.container_port == 0 { host } else { mapping.container_port };
        for protocol in mapping.protocol.as_str().split(',') {
            info.port_mappings.push(v1::container_info::docker_info::PortMapping {
                host_port: host.into(),
                container_port: inside.into(),
                protocol: Some(protocol.to_owned()),
            });
        }
    }
    Some(info)
}

fn networks(app: &App, container: &Container, launch: &Launch<'_>) -> Vec<v1::NetworkInfo> {
    let mut infos = Vec::new();
    for network in &app.networks {
        let (name, own) = match network {
            Network::Host => continue,
            Network::Bridge { labels } => (Some("mesos-bridge".to_owned()), labels),
            Network::Container { name, labels } => (name.clone(), labels),
        };
        let belongs = |names: &[String]| {
            names.is_empty() || name.as_ref().is_some_and(|name| names.contains(name))
        };
        let mut port_mappings = Vec::new();
        for (mapping, port) in container.port_mappings.iter().zip(launch.ports) {
            let Some(host) = port.host.filter(|_| belongs(&mapping.network_names)) else {
                continue;
            };
            let inside = if mapping.container_port == 0 { host } else { mapping.container_port };
            for protocol in mapping.protocol.as_str().split(',') {
                port_mappings.push(v1::network_info::PortMapping {
                    host_port: host.into(),
                    container_port: inside.into(),
                    protocol: Some(protocol.to_owned()),
                });
            }
        }
        let name = match (container.engine, network) {
            (ContainerEngine::Docker, Network::Bridge { .. }) => None,
            _ => name,
        };
        infos.push(v1::NetworkInfo {
            name,
            labels: (!own.is_empty()).then(|| labels(own)),
            port_mappings: match container.engine {
                ContainerEngine::Docker => Vec::new(),
                ContainerEngine::Mesos => port_mappings,
            },
            ..v1::NetworkInfo::default()
        });
    }
    infos
}

fn host_volume(volume: &Volume) -> Option<v1::Volume> {
    let Volume::Host { container_path, host_path, mode } = volume else { return None };
    let mut info = v1::Volume {
        container_path: container_path.clone(),
        host_path: Some(host_path.clone()),
        ..v1::Volume::default()
    };
    info.set_mode(match mode {
        VolumeMode::Ro => v1::volume::Mode::Ro,
        VolumeMode::Rw => v1::volume::Mode::Rw,
    });
    Some(info)
}
