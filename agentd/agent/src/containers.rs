//! Containers as this agent runs them: what a description asks for, held against what the host can.

use tepui_container::{Container, MountSource, Network, SANDBOX, describe};
use tepui_types::{ContainerId, FrameworkId, Ranges};
use tepui_wire::v1;

use crate::limits::container::{bind, disarm};
use crate::machine::Agent;
use crate::network::network_in;
use crate::state::{Executor, Framework, Task, is_pod};
use crate::volumes::links_of;

/// A port of the host that leads into a container and was not given with it would be taken from
/// whoever has it. The words are those of Mesos's docker executor.
pub(crate) fn ports_objection(network: &Network, given: &Ranges) -> Option<String> {
    let mut wanted = network.ports().iter().map(|port| port.host);
    let port = wanted.find(|port| !given.contains(u64::from(*port)))?;
    Some(format!("Port [{port}] not included in resources"))
}

impl Agent {
    /// Why a task's container, or that of its executor, cannot be run here. Of the host's ports it may
    /// have those that were `given` with it.
    pub(crate) fn container_objection(
        &self,
        framework: &FrameworkId,
        info: &v1::TaskInfo,
        given: &Ranges,
    ) -> Option<String> {
        let user = self.book.framework(framework).map(|one| one.info.user.clone());
        let described =
            |container: &v1::ContainerInfo, command: Option<&v1::CommandInfo>, labels, below| {
                let bare = v1::CommandInfo::default();
                let command = command.unwrap_or(&bare);
                let mut wished = wish(container, command, user.as_deref(), false, below)?;
                if let Some(wished) = &mut wished {
                    bind(wished, labels, &self.config.limits)?;
                }
                Ok::<_, String>(wished)
            };
        let executor = info.executor.as_deref();
        let in_pod = executor.is_some_and(is_pod);
        if let Some(executor) = executor
            && let Some(container) = &executor.container
        {
            // The network is the pod's; whatever else needs a container of its own has no process
            // that it could be for.
            let mut own = container.clone();
            if in_pod {
                let network = network_in(container).map(|wanted| wanted.unwrap_or(Network::Host));
                let network = network.and_then(|network| {
                    let objection = self.network_objection(&network);
                    let objection = objection.or_else(|| ports_objection(&network, given));
                    objection.map_or(Ok(()), Err)
                });
                if let Err(reason) = network {
                    return Some(reason);
                }
                own.network_infos.clear();
            }
            let labels = executor.labels.as_ref();
            match described(&own, executor.command.as_ref(), labels, false) {
                Err(reason) => return Some(reason),
                Ok(Some(_)) if in_pod => {
                    return Some(
                        "A pod's own container (executor.container) can only have networks and \
                         volumes that are links; give its tasks what else they need"
                            .into(),
                    );
                }
                Ok(Some(container)) => {
                    let objection = self.host_objection(&container);
                    let objection =
                        objection.or_else(|| ports_objection(&container.network, given));
                    if objection.is_some() {
                        return objection;
                    }
                }
                Ok(None) => {}
            }
        }
        let labels = info.labels.as_ref();
        match described(info.container.as_ref()?, info.command.as_ref(), labels, in_pod) {
            Err(reason) => Some(reason),
            Ok(None) => None,
            // Whoever runs the task makes its container.
            Ok(Some(_)) if executor.is_some() && !in_pod => {
                Some("A container of a custom executor's task is its executor's to make".into())
            }
            Ok(Some(container)) => self
                .host_objection(&container)
                .or_else(|| ports_objection(&container.network, given)),
        }
    }

    /// What the host lacks for a container.
    pub(crate) fn host_objection(&self, container: &Container) -> Option<String> {
        if let Err(reason) = &self.config.containers.any {
            return Some(format!("This host cannot run containers: {reason}"));
        }
        self.network_objection(&container.network)
    }

    /// What the host lacks for a network.
    fn network_objection(&self, network: &Network) -> Option<String> {
        let host = &self.config.containers;
        match network {
            Network::Host | Network::None => None,
            Network::Bridge { .. } => {
                let reason = host.bridge.as_ref().err()?;
                Some(format!("This host has no bridge for containers: {reason}"))
            }
            Network::Cni { names, .. } => {
                let absent = names.iter().find(|name| !host.networks.contains(name))?;
                Some(format!("This host has no CNI network '{absent}'"))
            }
        }
    }

    /// The container that a run is in; `None` is an ordinary process. What cannot be described was
    /// refused before.
    pub(crate) fn container_of(
        &self,
        framework: &Framework,
        executor: &Executor,
        run: &ContainerId,
    ) -> Option<Container> {
        if self.book.runs.get(run).is_some_and(|run| run.is_pod) {
            return None;
        }
        let command = self.command_of(framework, executor, run);
        self.container_in(framework, executor, self.task_of(framework, executor, run), command)
    }

    /// The container of a task's process, or of its executor's.
    pub(crate) fn container_in(
        &self,
        framework: &Framework,
        executor: &Executor,
        task: Option<&Task>,
        command: Option<&v1::CommandInfo>,
    ) -> Option<Container> {
        let info = match task {
            Some(task) => task.info.container.as_ref(),
            None => executor.info.as_ref().and_then(|info| info.container.as_ref()),
        };
        let command = command?;
        let named = command.user.as_ref().is_some_and(|user| !user.is_empty());
        let user = self.user_of(framework, Some(command));
        let named = named && self.config.switch_user;
        let labels = match task {
            Some(task) => task.info.labels.as_ref(),
            None => executor.info.as_ref().and_then(|info| info.labels.as_ref()),
        };
        let wished = wish(info?, command, user.as_deref(), named, executor.is_pod());
        let mut container = wished.ok().flatten()?;
        // What may not be was refused before; what an agent of other settings has accepted is
        // still a container, and gets nothing that is in question.
        if bind(&mut container, labels, &self.config.limits).is_err() {
            disarm(&mut container, &self.config.limits);
        }
        Some(container)
    }

    /// What a container's processes are told besides what every process is told.
    pub(crate) fn container_environment(
        executor: &Executor,
        container: &Container,
    ) -> Vec<(String, String)> {
        let mut own = Vec::new();
        let mut set = |name: &str, value: &str| own.push((name.to_owned(), value.to_owned()));
        if container.image.is_some() {
            set("MESOS_SANDBOX", SANDBOX);
        }
        if container.entry.docker {
            set("MESOS_CONTAINER_NAME", &format!("mesos-{}", executor.run));
        }
        own
    }
}

/// The container that a description asks for, where an ordinary process with links in its sandbox
/// would not do.
pub(crate) fn wish(
    info: &v1::ContainerInfo,
    command: &v1::CommandInfo,
    user: Option<&str>,
    named: bool,
    has_parent: bool,
) -> Result<Option<Container>, String> {
    let bare = v1::ContainerInfo { volumes: Vec::new(), ..info.clone() };
    let describe = |info| describe(info, command, user, named).map_err(|error| error.to_string());
    if describe(&bare)?.is_none() && links_of(info, has_parent).is_ok() {
        return Ok(None);
    }
    let container = describe(info)?;
    let above = container.iter().flat_map(|one| &one.mounts);
    let mut above = above.filter(|mount| matches!(mount.source, MountSource::Parent { .. }));
    if !has_parent && above.next().is_some() {
        return Err(
            "A volume of the parent's sandbox (SANDBOX_PATH of type PARENT) needs a pod".into()
        );
    }
    Ok(container)
}

/// Whether anything of it must be brought here first.
pub(crate) fn has_image(info: &v1::ContainerInfo) -> bool {
    let bare = v1::CommandInfo::default();
    let described = describe(info, &bare, None, false).ok().flatten();
    described.is_some_and(|container| container.images().next().is_some())
}
