//! What this release cannot run. It says so, naming the field, instead of running something else.

use crate::app::App;
use crate::container::{Container, EnvValue, Network, Volume};
use crate::reject::Violations;

pub(super) fn validate(app: &App, broken: &mut Violations) {
    for (index, network) in app.networks.iter().enumerate() {
        match network {
            Network::Host => {}
            Network::Bridge { .. } => {
                refuse(broken, &format!("/networks({index})/mode"), "bridge networks");
            }
            Network::Container { .. } => {
                refuse(broken, &format!("/networks({index})/mode"), "container networks");
            }
        }
    }
    if let Some(container) = &app.container {
        validate_container(container, broken);
    }
    secrets(app, broken);
    if app.gpus > 0 {
        broken.add(
            "/gpus",
            "Feature gpu_resources is not enabled. Enable with --enable_features gpu_resources)",
        );
        refuse(broken, "/gpus", "apps with GPUs");
    }
    if app.tty {
        refuse(broken, "/tty", "apps with a terminal");
    }
}

fn refuse(broken: &mut Violations, path: &str, what: &str) {
    broken.add(path, format!("this release does not run {what}"));
}

fn validate_container(container: &Container, broken: &mut Violations) {
    if container.docker.is_some() {
        refuse(broken, "/container/docker", "container images");
    } else if container.engine == crate::container::ContainerEngine::Docker {
        broken.add("/container/docker", "not defined");
    }
    for (index, volume) in container.volumes.iter().enumerate() {
        let (field, what) = match volume {
            Volume::Host { .. } => ("hostPath", "apps with host volumes"),
            Volume::Persistent { .. } => ("persistent", "apps with persistent volumes"),
            Volume::External { .. } => ("external", "apps with external volumes"),
            Volume::Secret { .. } => ("secret", "apps with secret volumes"),
        };
        refuse(broken, &format!("/container/volumes({index})/{field}"), what);
    }
    if container.linux_info.is_some() {
        refuse(broken, "/container/linuxInfo", "apps with seccomp or IPC settings");
    }
}

fn secrets(app: &App, broken: &mut Violations) {
    if !app.secrets.is_empty() {
        broken.add(
            "/secrets",
            "Feature secrets is not enabled. Enable with --enable_features secrets)",
        );
        refuse(broken, "/secrets", "apps with secrets");
    }
    for (name, value) in &app.env {
        let EnvValue::Secret { secret } = value else { continue };
        let path = format!("/env/{}/secret", name.chars().take(120).collect::<String>());
        broken.add(
            &path,
            "use of secret-references in the environment requires the secrets feature to be \
             enabled",
        );
        if !app.secrets.contains_key(secret) {
            broken.add(&path, "references an undefined secret");
        }
    }
}
