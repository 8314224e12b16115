//! What this release cannot run. It says so, naming the field, instead of running something else.

use serde_json::Value;

use crate::app::App;
use crate::container::{Container, ContainerEngine, EnvValue, Volume};
use crate::reject::Violations;

pub(super) fn validate(app: &App, broken: &mut Violations) {
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
}

fn refuse(broken: &mut Violations, path: &str, what: &str) {
    broken.add(path, format!("this release does not run {what}"));
}

fn validate_container(container: &Container, broken: &mut Violations) {
    if container.docker.is_none() && container.engine == ContainerEngine::Docker {
        broken.add("/container/docker", "not defined");
    }
    for (index, volume) in container.volumes.iter().enumerate() {
        let (field, what) = match volume {
            Volume::Host { .. } => continue,
            Volume::Persistent { .. } => ("persistent", "apps with persistent volumes"),
            Volume::External { .. } => ("external", "apps with external volumes"),
            Volume::Secret { .. } => ("secret", "apps with secret volumes"),
        };
        refuse(broken, &format!("/container/volumes({index})/{field}"), what);
    }
    if let Some(info) = &container.linux_info {
        linux_info(info, broken);
    }
}

/// `linuxInfo` (`marathon-app.tsv`): seccomp{profileName?, unconfined}, ipcInfo{mode, shmSize?}.
fn linux_info(info: &Value, broken: &mut Violations) {
    let path = "/container/linuxInfo";
    if let Some(seccomp) = info.get("seccomp") {
        let unconfined = seccomp.get("unconfined").and_then(Value::as_bool).unwrap_or(false);
        let named = seccomp.get("profileName").and_then(Value::as_str).is_some();
        if unconfined == named {
            let text = "exactly one of profileName and unconfined must be given";
            broken.add(&format!("{path}/seccomp"), text);
        }
    }
    if let Some(ipc) = info.get("ipcInfo") {
        let mode = ipc.get("mode").and_then(Value::as_str);
        if !matches!(mode, Some("PRIVATE" | "SHARE_PARENT")) {
            broken.add(&format!("{path}/ipcInfo/mode"), "must be PRIVATE or SHARE_PARENT");
        }
        if let Some(size) = ipc.get("shmSize") {
            if size.as_u64().is_none_or(|size| u32::try_from(size).is_err()) {
                broken.add(&format!("{path}/ipcInfo/shmSize"), "must be a number of megabytes");
            }
            if mode == Some("SHARE_PARENT") {
                broken.add(&format!("{path}/ipcInfo/shmSize"), "needs mode PRIVATE");
            }
        }
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
