//! The environment of a task (`marathon-behaviour.md` section 3). Pure.

use std::collections::BTreeMap;

use tepui_marathon::{App, ContainerEngine, EnvValue};
use tepui_types::Scalar;

/// Names and values of this length or more are left out of the label variables.
const MAX_LABEL_CHARS: usize = 512;

/// One port of a task as the environment describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskPort {
    /// Declared number: of the definition, or the mapping's container port.
    pub(crate) declared: u16,
    /// What the task is reached at: the host port, or the container port where there is none.
    pub(crate) effective: u16,
    /// The host port.
    pub(crate) host: Option<u16>,
    /// The container port was not fixed and there is no host port.
    pub(crate) generated: bool,
    /// Name of the definition or mapping.
    pub(crate) name: Option<String>,
}

/// The ports of a task in the order of definitions or mappings. `random` gives container ports where
/// neither side fixes one.
pub(crate) fn task_ports(
    app: &App,
    host_ports: &[Option<u16>],
    mut random: impl FnMut() -> u16,
) -> Vec<TaskPort> {
    if app.has_host_networking() {
        let ports = app.port_definitions.iter().zip(host_ports);
        return ports
            .map(|(definition, host)| TaskPort {
                declared: definition.port,
                effective: host.unwrap_or(definition.port),
                host: *host,
                generated: false,
                name: definition.name.clone(),
            })
            .collect();
    }
    let mappings = app.container.iter().flat_map(|container| &container.port_mappings);
    mappings
        .zip(host_ports)
        .map(|(mapping, host)| {
            let generated = host.is_none() && mapping.container_port == 0;
            let container = if generated { random() } else { mapping.container_port };
            TaskPort {
                declared: mapping.container_port,
                effective: host.unwrap_or(container),
                host: *host,
                generated,
                name: mapping.name.clone(),
            }
        })
        .collect()
}

/// Every variable of the task.
pub(crate) fn variables(
    app: &App,
    task_id: &str,
    hostname: &str,
    ports: &[TaskPort],
    enforce_role: bool,
    prefix: &str,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set("MESOS_TASK_ID", task_id.to_owned());
    set("MARATHON_APP_ID", app.id.to_string());
    set("MARATHON_APP_VERSION", app.version.to_string());
    let docker = app.container.as_ref().filter(|c| c.engine == ContainerEngine::Docker);
    if let Some(docker) = docker.and_then(|container| container.docker.as_ref()) {
        set("MARATHON_APP_DOCKER_IMAGE", docker.image.clone());
    }
    set("MARATHON_APP_RESOURCE_CPUS", decimal(app.cpus));
    set("MARATHON_APP_RESOURCE_MEM", decimal(app.mem));
    set("MARATHON_APP_RESOURCE_DISK", decimal(app.disk));
    set("MARATHON_APP_RESOURCE_GPUS", app.gpus.to_string());
    let enforce = if enforce_role { "TRUE" } else { "FALSE" };
    set("MARATHON_APP_ENFORCE_GROUP_ROLE", enforce.to_owned());
    env.extend(label_variables(app));
    env.insert(format!("{prefix}HOST"), hostname.to_owned());
    let numbered = port_variables(ports);
    env.extend(numbered.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)));
    for (name, value) in &app.env {
        if let EnvValue::Text(text) = value {
            env.insert(name.clone(), text.clone());
        }
    }
    env
}

/// A decimal number that always shows a fraction.
fn decimal(amount: Scalar) -> String {
    let text = amount.to_string();
    if text.contains('.') { text } else { format!("{text}.0") }
}

fn label_variables(app: &App) -> BTreeMap<String, String> {
    const PREFIX: &str = "MARATHON_APP_LABEL_";
    let mut variables = BTreeMap::new();
    let mut names = Vec::new();
    for (label, value) in &app.labels {
        let name = sanitised(label);
        let length = PREFIX.len() + name.chars().count();
        if length >= MAX_LABEL_CHARS || value.chars().count() >= MAX_LABEL_CHARS {
            continue;
        }
        variables.insert(format!("{PREFIX}{name}"), value.clone());
        names.push(name);
    }
    variables.insert("MARATHON_APP_LABELS".to_owned(), names.join(" "));
    variables
}

/// Upper case, with each run of other characters than letters, digits and `_` as one `_`.
fn sanitised(label: &str) -> String {
    let mut name = String::with_capacity(label.len());
    let mut in_run = false;
    for letter in label.chars() {
        let plain = letter.is_ascii_alphanumeric() || letter == '_';
        if plain {
            name.push(letter.to_ascii_uppercase());
        } else if !in_run {
            name.push('_');
        }
        in_run = !plain;
    }
    name
}

fn port_variables(ports: &[TaskPort]) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    if ports.is_empty() {
        return variables;
    }
    let hosts: Vec<u16> = ports.iter().filter_map(|port| port.host).collect();
    let generated = ports.iter().filter(|port| port.generated).map(|port| port.effective);
    let listed: Vec<u16> = hosts.into_iter().chain(generated).collect();
    for (index, port) in ports.iter().enumerate() {
        variables.insert(format!("PORT{index}"), port.effective.to_string());
    }
    for port in ports {
        let key = if port.declared == 0 { port.effective } else { port.declared };
        variables.insert(format!("PORT_{key}"), port.effective.to_string());
    }
    for port in ports {
        if let Some(name) = &port.name {
            variables.insert(format!("PORT_{}", name.to_uppercase()), port.effective.to_string());
        }
    }
    if let Some(first) = listed.first() {
        variables.insert("PORT".to_owned(), first.to_string());
    }
    let listed: Vec<String> = listed.iter().map(u16::to_string).collect();
    variables.insert("PORTS".to_owned(), listed.join(","));
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(declared: u16, effective: u16, host: Option<u16>, name: Option<&str>) -> TaskPort {
        let generated = host.is_none() && declared == 0;
        TaskPort { declared, effective, host, generated, name: name.map(str::to_owned) }
    }

    #[test]
    fn mappings_without_host_port_have_numbers_but_are_not_listed_unless_generated() {
        let fixed = port(8080, 8080, None, Some("web-ui"));
        let generated = port(0, 4000, None, None);
        let host = port(9000, 31_000, Some(31_000), None);
        let env = port_variables(&[fixed.clone(), generated, host]);
        assert_eq!(env["PORTS"], "31000,4000");
        assert_eq!(env["PORT"], "31000");
        assert_eq!(env["PORT_WEB-UI"], "8080");
        assert_eq!(env["PORT_9000"], "31000");
        assert_eq!(env["PORT_4000"], "4000");
        let alone = port_variables(&[fixed]);
        assert_eq!(alone["PORTS"], "");
        assert!(!alone.contains_key("PORT"));
        assert!(port_variables(&[]).is_empty());
    }

    #[test]
    fn label_names_are_sanitised_run_by_run() {
        assert_eq!(sanitised("a..b-C_d"), "A_B_C_D");
        assert_eq!(sanitised("ä"), "_");
    }

    #[test]
    fn whole_numbers_show_a_fraction() {
        assert_eq!(decimal(Scalar::from_units(128)), "128.0");
        assert_eq!(decimal(Scalar::from_milli(100)), "0.1");
    }
}
