//! Containers wired together from the configuration: networks, images, runtime.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use ipnet::{Ipv4Net, Ipv6Net};
use tepui_network::Networks;
use tracing::{info, warn};

use crate::config::Settings;
use crate::containers::Containers;
use crate::images::ImageStore;
use crate::sandbox::Folders;

/// The bridge of containers, and its addresses.
pub const BRIDGE: &str = "tepui0";
/// Addresses on the bridge; a part of 10.0.0.0/8 that few use.
pub const SUBNET4: &str = "10.218.0.0/16";
/// Unique local addresses of the bridge.
pub const SUBNET6: &str = "fd74:6570:7569::/64";
/// Where namespaces of networks are pinned.
const NAMESPACES: &str = "/run/tepui/netns";
/// Longest name of a link.
const MAX_LINK_NAME: usize = 15;

/// What the operator decides about containers.
#[derive(Clone, Debug)]
pub struct ContainerConfig {
    /// The program that makes containers, or why there is none.
    pub runtime: Result<PathBuf, String>,
    /// Name of the bridge.
    pub bridge: String,
    /// Its addresses.
    pub subnet4: Ipv4Net,
    /// Its addresses of IPv6.
    pub subnet6: Ipv6Net,
    /// CNI networks.
    pub cni_config: Option<PathBuf>,
    /// CNI plugins.
    pub cni_plugins: Vec<PathBuf>,
    /// Seccomp profiles.
    pub profiles: Option<PathBuf>,
}

impl ContainerConfig {
    /// Checks what the operator says.
    ///
    /// # Errors
    /// When a value makes no sense; the error says what would.
    pub fn resolve(settings: &Settings) -> anyhow::Result<Self> {
        let bridge = settings.bridge.clone().unwrap_or_else(|| BRIDGE.to_owned());
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        ensure!(
            (1..=MAX_LINK_NAME).contains(&bridge.len())
                && bridge.starts_with(|c: char| c.is_ascii_alphabetic())
                && bridge.chars().all(plain),
            "bridge = {bridge:?} is no name of a link: at most {MAX_LINK_NAME} letters and digits"
        );
        let subnet4 = settings.bridge_subnet.as_deref().unwrap_or(SUBNET4);
        let subnet4: Ipv4Net = subnet4
            .parse()
            .with_context(|| format!("bridge_subnet = {subnet4:?} is not one like {SUBNET4}"))?;
        ensure!(
            subnet4.prefix_len() <= 29,
            "bridge_subnet = {subnet4} has no room for containers; 29 is the longest prefix"
        );
        let subnet6 = settings.bridge_subnet6.as_deref().unwrap_or(SUBNET6);
        let subnet6: Ipv6Net = subnet6
            .parse()
            .with_context(|| format!("bridge_subnet6 = {subnet6:?} is not one like {SUBNET6}"))?;
        ensure!(subnet6.prefix_len() <= 112, "bridge_subnet6 = {subnet6} has no room");
        Ok(Self {
            runtime: runtime(settings.runtime.as_deref())?,
            bridge,
            subnet4: subnet4.trunc(),
            subnet6: subnet6.trunc(),
            cni_config: settings.network_cni_config_dir.clone(),
            cni_plugins: settings.network_cni_plugins_dir.clone(),
            profiles: settings.seccomp_config_dir.clone(),
        })
    }
}

/// A host without the program runs everything but containers, unless the operator named one.
fn runtime(named: Option<&Path>) -> anyhow::Result<Result<PathBuf, String>> {
    if let Some(path) = named {
        ensure!(path.is_file(), "runtime = {} is no program", path.display());
        let path = std::path::absolute(path).context("runtime has no place")?;
        return Ok(Ok(path));
    }
    let own = std::env::current_exe().context("failed to find this program's own path")?;
    let beside = own.with_file_name("tepui-runtime");
    let absent = || format!("there is no tepui-runtime at {}", beside.display());
    Ok(if beside.is_file() { Ok(beside) } else { Err(absent()) })
}

/// Opens everything that containers need.
///
/// # Errors
/// When a folder of ours cannot be made, read or claimed.
pub fn containers(
    config: &ContainerConfig,
    images: &ImageStore,
    folders: &Folders,
    tag: &str,
) -> anyhow::Result<Containers> {
    let networks = Networks::open(tepui_network::Settings {
        bridge: config.bridge.clone(),
        subnet4: config.subnet4,
        subnet6: config.subnet6,
        records: folders.networks(),
        namespaces: NAMESPACES.into(),
        cni_config: config.cni_config.clone(),
        cni_plugins: config.cni_plugins.clone(),
    })
    .context("failed to read the records of networks")?;
    let (runtime, profiles) = (config.runtime.clone(), config.profiles.clone());
    Ok(Containers::new(runtime, images.images().clone(), networks, folders, tag, profiles))
}

/// Says once what the host can and cannot do.
pub fn announce(found: &tepui_agent::Containers) {
    if let Err(reason) = &found.any {
        info!(%reason, "no containers on this host");
        return;
    }
    match &found.bridge {
        Ok(()) => info!(networks = ?found.networks, "containers, with a bridge"),
        Err(reason) => warn!(%reason, networks = ?found.networks, "containers without a bridge"),
    }
}
