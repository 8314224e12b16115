//! An image's configuration: what its maker wanted to be run, and how.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::Deserialize;

use crate::digest::Digest;
use crate::manifest::ManifestError;
use crate::platform::Platform;

/// Bytes of all strings of one list; the kernel takes about as much for a command line.
const MAX_LIST_BYTES: usize = 2 << 20;

/// What an image says about its containers. Everything is checked for form; whether it is obeyed is
/// decided by whoever runs the container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// Comes before the arguments.
    pub entrypoint: Vec<String>,
    /// Default arguments.
    pub cmd: Vec<String>,
    /// Name and value, in order; names are not empty and hold no `=`.
    pub env: Vec<(String, String)>,
    /// Absolute, without `..`.
    pub working_dir: Option<String>,
    /// `user`, `uid`, `user:group`, `uid:gid`, …
    pub user: Option<String>,
    /// Such as `SIGTERM` or `15`.
    pub stop_signal: Option<String>,
    /// Ports that the image says it serves.
    pub exposed_ports: Vec<ExposedPort>,
    /// Absolute paths, without `..`.
    pub volumes: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A port of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExposedPort {
    /// Its number.
    pub port: u16,
    /// `udp`, else `tcp`.
    pub udp: bool,
}

/// A configuration as a manifest refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigFile {
    pub(crate) config: ImageConfig,
    pub(crate) platform: Platform,
    /// Digests of the uncompressed layers, lowest first.
    pub(crate) diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct RawFile {
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    config: Option<RawConfig>,
    #[serde(default)]
    rootfs: Option<RawRootfs>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawConfig {
    #[serde(default)]
    entrypoint: Option<StringOrList>,
    #[serde(default)]
    cmd: Option<StringOrList>,
    #[serde(default)]
    env: Option<Vec<String>>,
    #[serde(default)]
    working_dir: Option<String>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    stop_signal: Option<String>,
    #[serde(default)]
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    #[serde(default)]
    volumes: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum StringOrList {
    List(Vec<String>),
    String(String),
}

impl StringOrList {
    fn list(self) -> Vec<String> {
        match self {
            Self::List(list) => list,
            Self::String(one) => vec![one],
        }
    }
}

#[derive(Deserialize)]
struct RawRootfs {
    #[serde(default)]
    diff_ids: Option<Vec<String>>,
}

impl ConfigFile {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let raw: RawFile = serde_json::from_slice(bytes)?;
        let diff_ids = raw.rootfs.and_then(|rootfs| rootfs.diff_ids).unwrap_or_default();
        let diff_ids = diff_ids.iter().map(|text| Digest::parse(text)).collect::<Result<_, _>>()?;
        let platform = Platform {
            os: raw.os.unwrap_or_default(),
            architecture: raw.architecture.unwrap_or_default(),
            variant: raw.variant,
        };
        Ok(Self { config: checked(raw.config.unwrap_or_default())?, platform, diff_ids })
    }
}

fn checked(raw: RawConfig) -> Result<ImageConfig, ManifestError> {
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let config = ImageConfig {
        entrypoint: strings("Entrypoint", raw.entrypoint.map(StringOrList::list))?,
        cmd: strings("Cmd", raw.cmd.map(StringOrList::list))?,
        env: strings("Env", raw.env)?.into_iter().filter_map(variable).collect(),
        working_dir: filled(raw.working_dir),
        user: filled(raw.user),
        stop_signal: filled(raw.stop_signal),
        exposed_ports: raw
            .exposed_ports
            .unwrap_or_default()
            .into_keys()
            .map(|text| port(&text))
            .collect::<Result<Vec<_>, _>>()?
            .concat(),
        volumes: raw.volumes.unwrap_or_default().into_keys().collect(),
        labels: raw.labels.unwrap_or_default(),
    };
    for volume in &config.volumes {
        check_path("Volumes", volume)?;
    }
    if let Some(path) = &config.working_dir {
        check_path("WorkingDir", path)?;
        // A directory below `proc` may be an open descriptor of the runtime (CVE-2024-21626).
        if Path::new(path).components().nth(1) == Some(Component::Normal("proc".as_ref())) {
            return Err(unusable(format!("WorkingDir '{}' is below /proc", shown(path))));
        }
    }
    for (what, text) in [("User", &config.user), ("StopSignal", &config.stop_signal)] {
        if text.as_ref().is_some_and(|t| t.len() > 256 || t.chars().any(char::is_control)) {
            return Err(unusable(format!("{what} is longer than 256 bytes or not printable")));
        }
    }
    Ok(config)
}

fn strings(what: &str, list: Option<Vec<String>>) -> Result<Vec<String>, ManifestError> {
    let list = list.unwrap_or_default();
    if list.iter().map(String::len).sum::<usize>() > MAX_LIST_BYTES {
        return Err(unusable(format!("{what} has more than {MAX_LIST_BYTES} bytes")));
    }
    if list.iter().any(|text| text.contains('\0')) {
        return Err(unusable(format!("{what} contains a NUL")));
    }
    Ok(list)
}

/// What has no name is no variable, and passed over as Docker does.
fn variable(text: String) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
}

/// `80`, `80/tcp`, `8000-8010/udp`.
fn port(text: &str) -> Result<Vec<ExposedPort>, ManifestError> {
    let wrong = || {
        let text = shown(text);
        unusable(format!("ExposedPorts has '{text}'; right would be such as '80/tcp'"))
    };
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let udp = match protocol.to_ascii_lowercase().as_str() {
        "tcp" | "" => false,
        "udp" => true,
        "sctp" => return Ok(Vec::new()),
        _ => return Err(wrong()),
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let first: u16 = first.parse().map_err(|_| wrong())?;
    let last: u16 = last.parse().map_err(|_| wrong())?;
    if first == 0 || first > last {
        return Err(wrong());
    }
    Ok((first..=last).map(|port| ExposedPort { port, udp }).collect())
}

fn check_path(what: &str, path: &str) -> Result<(), ManifestError> {
    let up = Path::new(path).components().any(|part| part == Component::ParentDir);
    if path.starts_with('/') && !up && !path.contains('\0') && path.len() <= 4000 {
        return Ok(());
    }
    Err(unusable(format!(
        "{what} has '{}'; right would be an absolute path without '..'",
        shown(path)
    )))
}

fn unusable(text: String) -> ManifestError {
    ManifestError::Unusable(text)
}

fn shown(text: &str) -> String {
    text.chars().take(100).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests;
