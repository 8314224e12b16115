//! Secrets in messages that others are shown: their values are taken out, the rest stays.

use crate::v1::{self, image, volume};

/// Takes the values of secrets out of an executor's description.
pub fn redact_executor(info: &mut v1::ExecutorInfo) {
    info.command.iter_mut().for_each(redact_command);
    info.container.iter_mut().for_each(|container| redact_container(container));
}

/// Takes the values of secrets out of a command's environment.
pub fn redact_command(command: &mut v1::CommandInfo) {
    let variables = command.environment.iter_mut().flat_map(|one| &mut one.variables);
    variables.filter_map(|variable| variable.secret.as_mut()).for_each(redact);
}

/// The same container without the values of its secrets.
#[must_use]
pub fn redacted(container: &v1::ContainerInfo) -> v1::ContainerInfo {
    let mut shown = container.clone();
    redact_container(&mut shown);
    shown
}

/// Takes the values of secrets out of a container's volumes and images.
pub fn redact_container(container: &mut v1::ContainerInfo) {
    container.volumes.iter_mut().for_each(redact_volume);
    let image = container.mesos.as_mut().and_then(|mesos| mesos.image.as_mut());
    image.into_iter().for_each(redact_image);
}

fn redact_volume(volume: &mut v1::Volume) {
    volume.image.iter_mut().for_each(redact_image);
    let Some(volume::Source { secret, csi_volume, .. }) = &mut volume.source else { return };
    secret.iter_mut().for_each(redact);
    let provisioned = csi_volume.as_mut().and_then(|csi| csi.static_provisioning.as_mut());
    if let Some(known) = provisioned {
        known.node_stage_secrets.values_mut().for_each(redact);
        known.node_publish_secrets.values_mut().for_each(redact);
    }
}

#[allow(deprecated)] // Frameworks still send credentials.
fn redact_image(image: &mut v1::Image) {
    let Some(image::Docker { config, credential, .. }) = &mut image.docker else { return };
    config.iter_mut().for_each(redact);
    if let Some(credential) = credential {
        credential.secret = None;
    }
}

/// A reference says where the value is; only the value itself is nobody's business.
fn redact(secret: &mut v1::Secret) {
    secret.value = None;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode_json, encode_json};

    #[test]
    fn no_value_of_a_secret_is_left_and_everything_else_is() {
        let secret = r#"{"type":"VALUE","value":{"data":"aHVzaA=="}}"#;
        let docker = format!(
            r#"{{"type":"DOCKER","docker":{{"name":"i","config":{secret},
                "credential":{{"principal":"me","secret":"hush"}}}}}}"#
        );
        let text = format!(
            r#"{{"executor_id":{{"value":"e"}},
              "command":{{"value":"run","environment":{{"variables":[
                {{"name":"A","type":"SECRET","secret":{secret}}},{{"name":"B","value":"seen"}}]}}}},
              "container":{{"type":"MESOS","mesos":{{"image":{docker}}},"volumes":[
                {{"mode":"RO","container_path":"p","source":{{"type":"SECRET","secret":{secret}}}}},
                {{"mode":"RO","container_path":"q","image":{docker}}}]}}}}"#
        );
        let mut info: v1::ExecutorInfo = decode_json(text.as_bytes()).unwrap();
        redact_executor(&mut info);
        let shown = String::from_utf8(encode_json(&info)).unwrap();
        assert!(!shown.contains("hush") && !shown.contains("aHVzaA"), "{shown}");
        for kept in ["seen", "\"A\"", "\"me\"", "\"p\"", "SECRET"] {
            assert!(shown.contains(kept), "{kept} in {shown}");
        }
    }
}
