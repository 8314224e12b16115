use std::net::{IpAddr, SocketAddr};
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

/// Refuses a name under which nobody reaches a host: others are told it, and connect to it.
///
/// # Errors
/// When the text is neither a host name nor an IP address; the error names the key.
pub fn check_host(key: &str, text: &str) -> anyhow::Result<()> {
    let is_part = |part: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&part.len())
            && part.chars().all(inner)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_name = name.len() <= 253 && name.split('.').all(is_part);
    ensure!(
        is_name || text.parse::<IpAddr>().is_ok(),
        "{key} = {text:?} is neither a host name nor an IP address"
    );
    Ok(())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for right in ["a", "node-1.example.org", "a_b", "10.0.0.1", "::1", "fe80::1", "a.b."] {
            assert!(check_host("hostname", right).is_ok(), "{right}");
        }
        for wrong in ["", " ", "a b", "a..b", "-a", "a:5050", "http://a", "a/b", ".", "ä"] {
            let error = check_host("hostname", wrong).unwrap_err().to_string();
            assert!(error.starts_with("hostname = ") && error.contains("host name"), "{error}");
        }
    }
}
