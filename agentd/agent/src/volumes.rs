//! Volumes of runs without a file system of their own: names in the sandbox that lead elsewhere, as
//! Mesos makes them where a container has no image. What would need a mount is refused.

use std::path::{Component, Path};

use tepui_container::{check_secret, secret_names};
use tepui_types::ContainerId;
use tepui_wire::v1::{
    self, Volume,
    volume::{Mode, source, source::sandbox_path},
};

use crate::book::parent_of;
use crate::effect::{Link, LinkTarget, SecretFile, Setting};
use crate::machine::Agent;
use crate::state::{Executor, Framework};

impl Agent {
    /// What the sandbox of a run is besides a folder.
    pub(crate) fn setting_of(
        &self,
        framework: &Framework,
        executor: &Executor,
        run: &ContainerId,
    ) -> Setting {
        let entry = self.book.runs.get(run);
        let task = self.task_of(framework, executor, run);
        let container = match task {
            Some(task) => task.info.container.as_deref(),
            None => executor.info.as_ref().and_then(|info| info.container.as_deref()),
        };
        let above = parent_of(run).and_then(|above| self.book.runs.get(&above));
        let own = entry.and_then(|entry| entry.task.as_ref()).map(ToString::to_string);
        let secrets = container.map(secret_files).unwrap_or_default();
        // Faulty volumes were refused before anything was begun; a container has mounts instead.
        let container = container.filter(|_| self.container_of(framework, executor, run).is_none());
        let links = container.and_then(|one| links_of(one, above.is_some()).ok());
        Setting {
            is_pod: entry.is_some_and(|entry| entry.is_pod),
            is_alone: false,
            below: above.map(|above| (above.sandbox.clone(), own)),
            links: links.unwrap_or_default(),
            disk: self.limits_of(framework, executor, run).disk,
            secrets,
        }
    }
}

/// The volumes of a container as links, or which of them cannot be one and why.
pub(crate) fn links_of(
    container: &v1::ContainerInfo,
    has_parent: bool,
) -> Result<Vec<Link>, String> {
    let named = container.volumes.iter().zip(secret_names(&container.volumes));
    named.map(|(volume, secret)| link_of(volume, secret, has_parent)).collect()
}

/// The secrets of a container that are files. Those without a value were refused before.
pub(crate) fn secret_files(container: &v1::ContainerInfo) -> Vec<SecretFile> {
    let named = container.volumes.iter().zip(secret_names(&container.volumes));
    let file = |(volume, name): (&Volume, Option<String>)| {
        let secret = volume.source.as_ref()?.secret.as_ref();
        let data = check_secret(&volume.container_path, secret).ok()?.to_vec();
        Some(SecretFile { name: name?, data })
    };
    named.filter_map(file).collect()
}

fn link_of(volume: &Volume, secret: Option<String>, has_parent: bool) -> Result<Link, String> {
    let name = &volume.container_path;
    let refused = |why: &str| Err(format!("Volume '{name}' cannot be provided: {why}"));
    if !is_inside(name) {
        return refused(
            "without a container image its container_path has to be relative to the sandbox, \
             without '..'",
        );
    }
    if let Some(secret) = secret {
        // Whoever may read it may not change it, whatever the mode.
        let known = volume.source.as_ref().and_then(|source| source.secret.as_ref());
        check_secret(name, known).map_err(|error| error.to_string())?;
        return Ok(Link { name: name.clone(), to: LinkTarget::Secret(secret) });
    }
    if volume.mode() == Mode::Ro {
        return refused("without a container image it cannot be made read-only (mode RO)");
    }
    if volume.image.is_some() {
        return refused("volumes from images are not supported by this agent yet");
    }
    let to = match (&volume.source, &volume.host_path) {
        (None, Some(path)) => host_target(path),
        (None, None) => return refused("it has neither host_path nor source"),
        (Some(source), _) => match (source.r#type(), &source.sandbox_path, &source.host_path) {
            // A link shows whatever is mounted where it leads, but nothing the other way round.
            (source::Type::HostPath, _, Some(host)) if !follows_at_most(host) => {
                return refused("its mount_propagation can only be HOST_TO_CONTAINER");
            }
            (source::Type::HostPath, _, Some(host)) => host_target(&host.path),
            (source::Type::SandboxPath, Some(path), _) => {
                if !is_inside(&path.path) {
                    return refused("its sandbox_path.path has to be relative, without '..'");
                }
                match path.r#type() {
                    sandbox_path::Type::Self_ => Some(LinkTarget::Own(path.path.clone())),
                    sandbox_path::Type::Parent if has_parent => {
                        Some(LinkTarget::Above(path.path.clone()))
                    }
                    sandbox_path::Type::Parent => {
                        return refused("PARENT needs a container that this one is nested in");
                    }
                    sandbox_path::Type::Unknown => {
                        return refused("sandbox_path.type has to be SELF or PARENT");
                    }
                }
            }
            (kind, ..) => {
                let why = format!("its source type {} is not supported", kind.as_str_name());
                return refused(&why);
            }
        },
    };
    match to {
        Some(to) => Ok(Link { name: name.clone(), to }),
        None => refused("its host path has to be absolute"),
    }
}

fn follows_at_most(host: &source::HostPath) -> bool {
    use v1::mount_propagation::Mode;
    host.mount_propagation.as_ref().is_none_or(|one| one.mode() == Mode::HostToContainer)
}

fn host_target(path: &str) -> Option<LinkTarget> {
    Path::new(path).is_absolute().then(|| LinkTarget::Host(path.to_owned()))
}

fn is_inside(path: &str) -> bool {
    let normal = |part| matches!(part, Component::Normal(_));
    !path.is_empty() && !path.contains('\0') && Path::new(path).components().all(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_follows_the_host_and_changes_nothing_there() {
        let container = |propagation: &str| {
            let text = format!(
                r#"{{"type": "MESOS", "volumes": [{{"mode": "RW", "container_path": "d", "source":
                    {{"type": "HOST_PATH", "host_path": {{"path": "/d"{propagation}}}}}}}]}}"#
            );
            tepui_wire::decode_json::<v1::ContainerInfo>(text.as_bytes()).expect("it is one")
        };
        let link = Link { name: "d".into(), to: LinkTarget::Host("/d".into()) };
        let follows = r#", "mount_propagation": {"mode": "HOST_TO_CONTAINER"}"#;
        for plain in ["", follows] {
            assert_eq!(links_of(&container(plain), false), Ok(vec![link.clone()]));
        }
        let both = container(r#", "mount_propagation": {"mode": "BIDIRECTIONAL"}"#);
        let error = links_of(&both, false).expect_err("it would change the host");
        assert!(error.contains("only be HOST_TO_CONTAINER"), "{error}");
        assert!(
            crate::containers::wish(&both, &v1::CommandInfo::default(), None, false, false)
                .is_err_and(|why| why.contains("BIDIRECTIONAL"))
        );
    }
}
