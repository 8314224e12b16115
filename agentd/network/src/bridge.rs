//! The agent's own bridge.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use tepui_types::ContainerId;

use crate::address;
use crate::error::NetworkError;
use crate::link::Links;
use crate::namespace;
use crate::nft;
use crate::rules;
use crate::settings::Settings;

const SYSCTL: &str = "/proc/sys/net";
/// What a container calls its end of the cable.
const INTERFACE: &str = "eth0";

/// The addresses of a container on the bridge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) four: Ipv4Addr,
    pub(crate) six: Option<Ipv6Addr>,
}

impl Addresses {
    pub(crate) fn of(settings: &Settings, number: u32) -> Self {
        Self {
            four: address::four(settings.subnet4, number),
            six: has_ipv6().then(|| address::six(settings.subnet6, number)),
        }
    }

    pub(crate) fn list(self) -> Vec<IpAddr> {
        std::iter::once(IpAddr::V4(self.four)).chain(self.six.map(IpAddr::V6)).collect()
    }
}

/// Whether the kernel speaks IPv6.
pub(crate) fn has_ipv6() -> bool {
    Path::new(SYSCTL).join("ipv6/conf/all/forwarding").exists()
}

/// Why this host can have no bridge.
pub(crate) async fn probe(settings: &Settings) -> Result<(), NetworkError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(NetworkError::Unable("only root may make networks".into()));
    }
    let switch = Path::new(SYSCTL).join("ipv4/ip_forward");
    let is_on = read("ipv4/ip_forward") == "1";
    let opened = fs::OpenOptions::new().write(true).open(&switch);
    opened.map(drop).or_else(|error| if is_on { Ok(()) } else { Err(error) }).map_err(|error| {
        NetworkError::Unable(format!("{} cannot be written: {error}", switch.display()))
    })?;
    // Checked by the kernel that is to have them, and not kept.
    nft::check(&rules::base(settings)).await
}

/// Makes the bridge, or makes it right; whether anything of it was missing.
pub(crate) async fn ensure(settings: &Settings) -> Result<bool, NetworkError> {
    ensure_by(&Links::open()?, settings).await.map(|(_, is_changed)| is_changed)
}

async fn ensure_by(links: &Links, settings: &Settings) -> Result<(u32, bool), NetworkError> {
    let (index, was_wrong) =
        links.ensure_bridge(&settings.bridge, hardware_address(settings)).await?;
    if has_ipv6() {
        // Nobody else can have its addresses either. Until the link's own was asked for, which takes
        // two seconds, no neighbour is found by it.
        set(&format!("ipv6/conf/{}/accept_dad", settings.bridge), "0")?;
    }
    links.raise(index).await?;
    let four = address::gateway4(settings.subnet4);
    let mut is_changed =
        was_wrong | links.add_address(index, four.into(), settings.subnet4.prefix_len()).await?;
    if has_ipv6() {
        let six = address::gateway6(settings.subnet6);
        is_changed |= links.add_address(index, six.into(), settings.subnet6.prefix_len()).await?;
    }
    is_changed |= forward(&settings.bridge)?;
    Ok((index, is_changed))
}

/// Makes the bridge right, and connects the cables of these runs that lie loose, as they do when
/// somebody has removed the bridge; whether anything was wrong.
pub(crate) async fn repair(
    settings: &Settings,
    runs: &[ContainerId],
) -> Result<bool, NetworkError> {
    let links = Links::open()?;
    let (bridge, mut is_changed) = ensure_by(&links, settings).await?;
    let names: BTreeSet<String> = runs.iter().map(outer_name).collect();
    for (index, name) in links.outside_of(bridge).await? {
        if names.contains(&name) && links.plug(index, &name, bridge).await? {
            is_changed = true;
        }
    }
    Ok(is_changed)
}

/// One that nobody else has: locally administered, made of the bridge's own address.
fn hardware_address(settings: &Settings) -> [u8; 6] {
    let [a, b, c, d] = address::gateway4(settings.subnet4).octets();
    [0x02, 0x74, a, b, c, d]
}

/// Makes the host pass packets on between the bridge and the world; whether it did not.
fn forward(bridge: &str) -> Result<bool, NetworkError> {
    let mut is_changed = set("ipv4/ip_forward", "1")?;
    // A mapped port of the host's loopback leads to the bridge, which the guard's rule keeps tidy.
    is_changed |= set(&format!("ipv4/conf/{bridge}/route_localnet"), "1")?;
    if has_ipv6() && read("ipv6/conf/all/forwarding") != "1" {
        // A host that forwards no longer listens to routers, unless it is told to do both.
        keep_listening_to_routers();
        is_changed |= set("ipv6/conf/all/forwarding", "1")?;
    }
    Ok(is_changed)
}

fn keep_listening_to_routers() {
    let Ok(interfaces) = fs::read_dir(Path::new(SYSCTL).join("ipv6/conf")) else { return };
    for interface in interfaces.flatten() {
        let file = interface.path().join("accept_ra");
        if fs::read_to_string(&file).is_ok_and(|value| value.trim() == "1") {
            // One that went away needs nothing.
            let _ = fs::write(&file, "2");
        }
    }
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(SYSCTL).join(name)).unwrap_or_default().trim().to_owned()
}

/// Whether it had another value.
fn set(name: &str, value: &str) -> Result<bool, NetworkError> {
    if read(name) == value {
        return Ok(false);
    }
    let path: PathBuf = Path::new(SYSCTL).join(name);
    fs::write(&path, value).map_err(NetworkError::file("write", &path))?;
    Ok(true)
}

/// The end of a container's cable at the bridge; a link's name has 15 bytes at most.
fn outer_name(run: &ContainerId) -> String {
    let short = run.as_str().chars().filter(char::is_ascii_alphanumeric).take(12);
    "tp".chars().chain(short).collect()
}

/// Connects a pinned namespace to the bridge.
pub(crate) async fn connect(
    settings: &Settings,
    run: &ContainerId,
    path: &Path,
    addresses: Addresses,
) -> Result<(), NetworkError> {
    let outer = outer_name(run);
    let links = Links::open()?;
    let bridge = match links.find(&settings.bridge).await? {
        Some(index) => index,
        // Somebody has removed it, and it was not put back yet.
        None => ensure_by(&links, settings).await?.0,
    };
    links.remove(&outer).await?;
    let namespace = File::open(path).map_err(NetworkError::file("open", path))?;
    links.add_pair(&outer, INTERFACE, bridge, &namespace).await?;
    let (prefix4, prefix6) = (settings.subnet4.prefix_len(), settings.subnet6.prefix_len());
    let gateway4 = address::gateway4(settings.subnet4);
    let gateway6 = addresses.six.map(|_| address::gateway6(settings.subnet6));
    namespace::within(path, move || async move {
        let links = Links::open()?;
        links.raise_loopback().await?;
        let index = links.demand(INTERFACE).await?;
        links.add_address(index, addresses.four.into(), prefix4).await?;
        if let Some(six) = addresses.six {
            links.add_address(index, six.into(), prefix6).await?;
        }
        listen_to_no_router();
        links.raise(index).await?;
        links.add_default_routes(Some(gateway4), gateway6).await
    })
    .await
}

/// Nobody at the bridge is a router but the bridge itself, and every container that asked for one would
/// ask all others. Where the kernel's settings cannot be written, containers ask.
fn listen_to_no_router() {
    let _ = fs::write(format!("{SYSCTL}/ipv6/conf/{INTERFACE}/accept_ra"), "0");
}

/// Ends cables, those that end at the same time together: for each removal of links the kernel holds
/// the lock of all networks until every processor has come by, some 35 ms.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    turn: tokio::sync::Mutex<()>,
}

impl Ends {
    /// Ends the cable of a container; its other end goes with it.
    pub(crate) async fn disconnect(&self, run: &ContainerId) -> Result<(), NetworkError> {
        let (links, name) = (Links::open()?, outer_name(run));
        if !links.mark_ended(&name).await? {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        // Whoever was here before has removed all that were marked by then.
        match links.find(&name).await? {
            Some(_) => links.remove_ended().await,
            None => Ok(()),
        }
    }
}
