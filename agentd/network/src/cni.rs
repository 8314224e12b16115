//! Networks by the Container Network Interface, 0.3.1 to 1.0: what the operator has configured, made
//! by the plugins that are installed.

use std::fs::{self, DirEntry};
use std::io;
use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tepui_container::Port;
use tracing::warn;

use crate::error::NetworkError;
use plugin::{Call, call};

mod plugin;

/// Largest configuration that is read.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// Versions that are spoken.
const VERSIONS: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// A network as its configuration says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    pub(crate) name: String,
    version: String,
    plugins: Vec<Value>,
    /// What the last plugin said, for those that undo it.
    #[serde(default)]
    result: Option<Value>,
    /// What plugins are told of it, besides what the operator has configured.
    #[serde(default)]
    labels: Vec<(String, String)>,
}

/// A container as plugins are told of it.
#[derive(Clone, Debug)]
pub(crate) struct Container<'a> {
    pub(crate) id: &'a str,
    pub(crate) namespace: &'a Path,
    pub(crate) interface: String,
    pub(crate) ports: &'a [Port],
}

/// Every network of a folder, by name; of two with one name the first file's counts.
///
/// # Errors
/// When the folder cannot be read. A file that cannot be understood is passed over, and said.
pub(crate) fn load(folder: &Path) -> Result<Vec<Network>, NetworkError> {
    let failed = || NetworkError::file("list", folder);
    let entries = fs::read_dir(folder).map_err(failed())?;
    let entries: Result<Vec<DirEntry>, io::Error> = entries.collect();
    let mut paths: Vec<_> =
        entries.map_err(failed())?.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    let mut networks: Vec<Network> = Vec::new();
    for path in paths {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !matches!(extension, Some("conf" | "conflist" | "json")) {
            continue;
        }
        match read(&path) {
            Ok(network) if networks.iter().any(|one| one.name == network.name) => {
                warn!(path = %path.display(), network.name, "network configured twice, ignored");
            }
            Ok(network) => networks.push(network),
            Err(reason) => {
                warn!(path = %path.display(), reason, "network configuration ignored");
            }
        }
    }
    Ok(networks)
}

fn read(path: &Path) -> Result<Network, String> {
    let meta = fs::metadata(path).map_err(|error| error.to_string())?;
    if !meta.is_file() || meta.len() > MAX_CONFIG_BYTES {
        return Err(format!("it is no file of at most {MAX_CONFIG_BYTES} bytes"));
    }
    let text = fs::read(path).map_err(|error| error.to_string())?;
    parse(&text)
}

/// Reads a configuration: a list of plugins, or one.
pub(crate) fn parse(text: &[u8]) -> Result<Network, String> {
    let whole: Map<String, Value> =
        serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let word = |name: &str| whole.get(name).and_then(Value::as_str).map(str::to_owned);
    let name = word("name").filter(|name| is_plain(name)).ok_or("it has no usable name")?;
    let version = word("cniVersion").ok_or("it has no cniVersion")?;
    if !VERSIONS.contains(&version.as_str()) {
        return Err(format!("cniVersion {version} is none of {VERSIONS:?}"));
    }
    let plugins = match whole.get("plugins") {
        Some(Value::Array(plugins)) => plugins.clone(),
        Some(_) => return Err("plugins is no list".to_owned()),
        None => vec![Value::Object(whole.clone())],
    };
    let typed = |plugin: &Value| plugin.get("type").and_then(Value::as_str).is_some_and(is_plain);
    if plugins.is_empty() || !plugins.iter().all(typed) {
        return Err("a plugin has no usable type".to_owned());
    }
    Ok(Network { name, version, plugins, result: None, labels: Vec::new() })
}

/// Names that are parts of paths and variables.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=100).contains(&name.len()) && !name.starts_with('.') && name.chars().all(plain)
}

impl Network {
    /// The same network with what a container's description says of it.
    pub(crate) fn labelled(self, labels: Vec<(String, String)>) -> Self {
        Self { labels, ..self }
    }

    /// Whether one of its plugins maps ports.
    pub(crate) fn maps_ports(&self) -> bool {
        self.plugins.iter().any(|plugin| plugin["capabilities"]["portMappings"] == true)
    }

    /// Connects a container; its addresses there. What was done before a failure is undone.
    pub(crate) async fn add(
        &mut self,
        container: &Container<'_>,
        folders: &[std::path::PathBuf],
    ) -> Result<Vec<IpAddr>, NetworkError> {
        for at in 0..self.plugins.len() {
            let config = self.config(at, container);
            let call_ = Call { command: "ADD", container, config: &config, folders };
            match call(self, at, call_).await {
                Ok(answer) => self.result = Some(answer),
                Err(error) => {
                    // The failure is what matters; what cannot be undone is found again later.
                    let _ = self.remove(container, folders).await;
                    return Err(error);
                }
            }
        }
        let addresses = self.result.as_ref().map(addresses).unwrap_or_default();
        if addresses.is_empty() {
            let _ = self.remove(container, folders).await;
            return Err(self.failure(self.plugins.len() - 1, "gave the container no address"));
        }
        Ok(addresses)
    }

    /// Disconnects a container. Plugins do so whether or not it is connected.
    pub(crate) async fn remove(
        &self,
        container: &Container<'_>,
        folders: &[std::path::PathBuf],
    ) -> Result<(), NetworkError> {
        let mut first = Ok(());
        for at in (0..self.plugins.len()).rev() {
            let config = self.config(at, container);
            let call_ = Call { command: "DEL", container, config: &config, folders };
            if let Err(error) = call(self, at, call_).await {
                first = first.and(Err(error));
            }
        }
        first
    }

    /// What a plugin reads: its own configuration, the network's name, what came before it.
    fn config(&self, at: usize, container: &Container<'_>) -> Value {
        let mut config = self.plugins[at].clone();
        config["name"] = json!(self.name);
        config["cniVersion"] = json!(self.version);
        if let Some(result) = &self.result {
            config["prevResult"] = result.clone();
        }
        if config["capabilities"]["portMappings"] == true {
            let ports = container.ports.iter().map(|port| {
                json!({ "hostPort": port.host, "containerPort": port.container,
                        "protocol": port.protocol.name() })
            });
            config["runtimeConfig"] = json!({ "portMappings": ports.collect::<Vec<_>>() });
        }
        if let Some(whole) = config.as_object_mut() {
            if !self.labels.is_empty() {
                // What the operator has put there under other names stays.
                let args = whole.entry("args").or_insert_with(|| json!({}));
                if let Some(args) = args.as_object_mut() {
                    let told = json!({ "network_info": self.network_info() });
                    args.insert("org.apache.mesos".to_owned(), told);
                }
            }
            whole.remove("capabilities");
        }
        config
    }

    /// As Mesos's isolator `network/cni` tells plugins what a framework said of the network.
    fn network_info(&self) -> Value {
        let label = |(key, value): &(String, String)| json!({ "key": key, "value": value });
        let labels: Vec<Value> = self.labels.iter().map(label).collect();
        json!({ "name": self.name, "labels": { "labels": labels } })
    }

    fn failure(&self, at: usize, what: impl Into<String>) -> NetworkError {
        let plugin = self.plugins[at]["type"].as_str().unwrap_or_default().to_owned();
        NetworkError::Plugin { network: self.name.clone(), plugin, what: what.into() }
    }
}

/// The addresses of a result, `a.b.c.d/n` each.
fn addresses(result: &Value) -> Vec<IpAddr> {
    let list = result["ips"].as_array().map(Vec::as_slice).unwrap_or_default();
    let bare = |one: &Value| one["address"].as_str()?.split('/').next()?.parse().ok();
    list.iter().filter_map(bare).collect()
}

#[cfg(test)]
mod tests {
    // Helpers of a test: what is not there fails it.
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use tokio::io::{AsyncBufReadExt, BufReader};

    use super::*;
    use tepui_container::Protocol;

    #[test]
    fn one_plugin_and_a_list_of_plugins_are_read() {
        let one = parse(br#"{"cniVersion": "0.4.0", "name": "net", "type": "ptp"}"#).unwrap();
        assert_eq!((one.name.as_str(), one.plugins.len()), ("net", 1));
        let list = br#"{"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "bridge"},
                        {"type": "portmap", "capabilities": {"portMappings": true}}]}"#;
        let list = parse(list).unwrap();
        assert!(list.maps_ports() && !one.maps_ports());
    }

    #[test]
    fn what_is_no_configuration_is_named() {
        for (text, reason) in [
            ("[]", "invalid type"),
            (r#"{"name": "x", "type": "y"}"#, "no cniVersion"),
            (r#"{"cniVersion": "9.9", "name": "x", "type": "y"}"#, "9.9"),
            (r#"{"cniVersion": "1.0.0", "name": "../x", "type": "y"}"#, "no usable name"),
            (r#"{"cniVersion": "1.0.0", "name": "x", "type": "/bin/sh"}"#, "no usable type"),
            (r#"{"cniVersion": "1.0.0", "name": "x", "plugins": []}"#, "no usable type"),
            (r#"{"cniVersion": "1.0.0", "name": "x", "plugins": 7}"#, "no list"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    /// A folder with plugins that write down what they are told.
    fn plugins(script: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fake");
        std::fs::write(&path, format!("#!/bin/sh\nd={}\n{script}", folder.path().display()))
            .unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        folder
    }

    fn network() -> Network {
        let text = br#"{"cniVersion": "1.0.0", "name": "net", "plugins": [
            {"type": "fake", "first": 1},
            {"type": "fake", "capabilities": {"portMappings": true}}]}"#;
        parse(text).unwrap()
    }

    fn container<'a>(ports: &'a [Port]) -> Container<'a> {
        Container {
            id: "run-1",
            namespace: Path::new("/run/netns/x"),
            interface: "eth0".into(),
            ports,
        }
    }

    #[test]
    fn plugins_are_told_the_labels_of_a_network_as_mesos_tells_them() {
        let bare = network().config(0, &container(&[]));
        assert!(bare.get("args").is_none(), "{bare}");
        let labelled = network().labelled(vec![("tier".to_owned(), "web".to_owned())]);
        let told = labelled.config(1, &container(&[]));
        assert_eq!(
            told["args"]["org.apache.mesos"]["network_info"],
            json!({"name": "net", "labels": {"labels": [{"key": "tier", "value": "web"}]}})
        );
    }

    #[tokio::test]
    async fn plugins_are_called_in_order_and_back() {
        let folder = plugins(
            r#"echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME" >> $d/log; cat >> $d/log; echo >> $d/log
               [ $CNI_COMMAND = DEL ] || echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.5/16"},{"address":"fd01::5/64"}]}'"#,
        );
        let folders = [folder.path().to_owned()];
        let ports = [Port { host: 31000, container: 80, protocol: Protocol::Tcp }];
        let container = container(&ports);
        let mut network = network();
        let found = network.add(&container, &folders).await.unwrap();
        assert_eq!(found, ["10.1.0.5".parse::<IpAddr>().unwrap(), "fd01::5".parse().unwrap()]);
        network.remove(&container, &folders).await.unwrap();
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines[0], "ADD run-1 /run/netns/x eth0");
        assert!(lines[1].contains(r#""first":1"#) && !lines[1].contains("prevResult"));
        assert!(lines[3].contains(r#""prevResult":{"#));
        assert!(lines[3].contains(
            r#""portMappings":[{"containerPort":80,"hostPort":31000,"protocol":"tcp"}]"#
        ));
        assert!(lines[4].starts_with("DEL") && !lines[5].contains("first"));
        assert!(lines[6].starts_with("DEL") && lines[7].contains("first"));
    }

    #[tokio::test]
    async fn a_plugin_that_fails_is_quoted_and_what_was_done_is_undone() {
        let folder = plugins(
            r#"echo $CNI_COMMAND >> $d/log; [ $CNI_COMMAND = DEL ] && exit 0
               echo '{"code": 11, "msg": "try again", "details": "no more addresses"}'; exit 1"#,
        );
        let folders = [folder.path().to_owned()];
        let error = network().add(&container(&[]), &folders).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "network 'net': plugin 'fake' failed: try again: no more addresses (code 11)"
        );
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert_eq!(log, "ADD\nDEL\nDEL\n");
    }

    #[tokio::test]
    async fn a_plugin_that_is_not_installed_is_named() {
        let error = network().add(&container(&[]), &[]).await.unwrap_err().to_string();
        assert!(error.contains("plugin 'fake' is in none of"), "{error}");
    }

    #[tokio::test]
    async fn a_plugin_that_hangs_is_ended_with_all_that_it_started() {
        let folder = plugins(
            r#"[ $CNI_COMMAND = DEL ] && exit 0
               exec 9>$d/alive; sleep infinity & echo begun >&9; wait"#,
        );
        let pipe = folder.path().join("alive");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut alive = BufReader::new(
            tokio::net::unix::pipe::OpenOptions::new().open_receiver(&pipe).unwrap(),
        );
        let folders = [folder.path().to_owned()];
        let called = tokio::spawn(async move {
            network().add(&container(&[]), &folders).await.map_err(|error| error.to_string())
        });
        let mut said = String::new();
        alive.read_line(&mut said).await.unwrap();
        assert_eq!(said, "begun\n");
        // An hour passes, and every patience with it.
        tokio::time::pause();
        let error = called.await.unwrap().unwrap_err();
        assert_eq!(error, "network 'net': plugin 'fake' did not end within 60s");
        // The pipe ends when nobody is left who could write to it.
        assert_eq!(alive.read_line(&mut said).await.unwrap(), 0);
    }
}
