use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, ensure};
use serde::de::DeserializeOwned;

/// Reads a TOML file into a daemon's settings.
///
/// # Errors
/// When it cannot be read, is not TOML, or has an unknown key; the error names the place.
pub fn load_settings<S: DeserializeOwned>(path: &Path) -> anyhow::Result<S> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read configuration {}", path.display()))?;
    toml::from_str(&text)
        .with_context(|| format!("failed to understand configuration {}", path.display()))
}

/// Refuses an address that is open to the network unless the operator insists: nobody has to log
/// in yet, and an open scheduler port lets anyone run commands (incident T-20).
///
/// # Errors
/// When the address is not loopback and `insisted` is false; the error says what to do.
pub fn guard_address(key: &str, address: SocketAddr, insisted: bool) -> anyhow::Result<()> {
    ensure!(
        address.ip().is_loopback() || insisted,
        "{key} = {address} is open to the network and nobody has to log in; listen on a loopback \
         address, or set allow_unauthenticated = true if the network is trusted"
    );
    Ok(())
}
