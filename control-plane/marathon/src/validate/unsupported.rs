//! What this release cannot run. It says so, naming the field, instead of running something else.

use serde_json::{Map, Value};
use tepui_types::check_label;

use crate::app::App;
use crate::container::{Container, ContainerEngine, EnvValue, Volume};
use crate::reject::Violations;

pub(super) fn validate(app: &App, broken: &mut Violations) {
    if let Some(container) = &app.container {
        validate_container(container, broken);
        image(app, container, broken);
    }
    secrets(app, broken);
    for name in app.labels.keys() {
        if let Err(unknown) = check_label(name) {
            broken.add("/labels", unknown.to_string());
        }
    }
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
        let path = format!("/container/volumes({index})/{field}");
        refuse(broken, &path, what);
    }
    if let Some(info) = &container.linux_info {
        linux_info(info, broken);
    }
}

/// What only one of the two engines takes (`marathon-app.tsv`, Docker). Marathon drops it in silence
/// where it has no effect; flags that were to protect somebody must not go that way.
fn image(app: &App, container: &Container, broken: &mut Violations) {
    let Some(docker) = &container.docker else { return };
    let path = "/container/docker";
    if let Some(wanted) = &docker.pull_config {
        let path = format!("{path}/pullConfig");
        if container.engine == ContainerEngine::Docker {
            broken.add(&path, "pullConfig is not supported with Docker containerizer");
        } else if !app.secrets.contains_key(&wanted.secret) {
            broken.add(&path, "pullConfig.secret must refer to an existing secret");
        }
        refuse(broken, &path, "apps with a pullConfig: agents have --docker-config instead");
    }
    if container.engine == ContainerEngine::Mesos {
        let only = "has no effect with container type MESOS; leave it out, or use type DOCKER";
        if docker.privileged {
            broken.add(&format!("{path}/privileged"), only);
        }
        if !docker.parameters.is_empty() {
            broken.add(&format!("{path}/parameters"), only);
        }
    }
}

/// `linuxInfo` (`marathon-app.tsv`): seccomp{profileName?, unconfined}, ipcInfo{mode, shmSize?}. All of
/// it restricts, so that nothing of it may be overlooked: keys that are unknown are refused.
fn linux_info(info: &Value, broken: &mut Violations) {
    let mut at = Path { path: "/container/linuxInfo".to_owned(), broken };
    let Some(info) = at.object(info, &["seccomp", "ipcInfo"]) else { return };
    if let Some(seccomp) = given(info, "seccomp") {
        seccomp_info(seccomp, &mut at.below("seccomp"));
    }
    if let Some(ipc) = given(info, "ipcInfo") {
        ipc_info(ipc, &mut at.below("ipcInfo"));
    }
}

fn seccomp_info(info: &Value, at: &mut Path<'_>) {
    let Some(info) = at.object(info, &["profileName", "unconfined"]) else { return };
    let name = given(info, "profileName");
    if name.is_some_and(|name| name.as_str().is_none_or(str::is_empty)) {
        at.below("profileName").add("must be the name of a profile");
    }
    let unconfined = given(info, "unconfined");
    if unconfined.is_some_and(|value| !value.is_boolean()) {
        at.below("unconfined").add("must be true or false");
    }
    match (name.is_some(), unconfined == Some(&Value::Bool(true))) {
        (true, true) => at.add("Seccomp unconfined can NOT be true when Profile is defined"),
        (false, false) => at.add("Seccomp unconfined must be true when Profile is NOT defined"),
        _ => {}
    }
}

fn ipc_info(info: &Value, at: &mut Path<'_>) {
    let Some(info) = at.object(info, &["mode", "shmSize"]) else { return };
    let mode = given(info, "mode").and_then(Value::as_str);
    if !matches!(mode, Some("PRIVATE" | "SHARE_PARENT")) {
        at.below("mode").add("must be PRIVATE or SHARE_PARENT");
    }
    let Some(size) = given(info, "shmSize") else { return };
    if size.as_u64().is_none_or(|size| u32::try_from(size).is_err()) {
        at.below("shmSize").add("must be a number of megabytes");
    }
    if mode == Some("SHARE_PARENT") {
        at.below("shmSize").add("ipcInfo shmSize can NOT be set when mode is SHARE_PARENT");
    }
}

/// A member that is there; `null` is none, as everywhere in a definition.
fn given<'v>(object: &'v Map<String, Value>, key: &str) -> Option<&'v Value> {
    object.get(key).filter(|value| !value.is_null())
}

/// A place in a definition that is kept as it came.
struct Path<'b> {
    path: String,
    broken: &'b mut Violations,
}

impl Path<'_> {
    fn add(&mut self, error: impl Into<String>) {
        self.broken.add(&self.path, error);
    }

    fn below(&mut self, key: &str) -> Path<'_> {
        let key: String = key.chars().take(120).collect();
        Path { path: format!("{}/{key}", self.path), broken: self.broken }
    }

    /// The members of the object that stands here; those that are not `known` are refused.
    fn object<'v>(&mut self, value: &'v Value, known: &[&str]) -> Option<&'v Map<String, Value>> {
        let Some(object) = value.as_object() else {
            self.add("must be an object");
            return None;
        };
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            self.below(key).add(format!("is not known; known are {}", known.join(" and ")));
        }
        Some(object)
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
