//! At which address clients reach this process, where it listens on all of its host.
//!
//! Mesos's clients that find the leader in ZooKeeper read an IP address there, and connect to it.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use tepui_ensemble::Address;
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

use crate::config::Config;

/// How long the names of this host and of the store may take to be looked up, each.
const LOOKUP: Duration = Duration::from_secs(1);

/// The address that clients are told; found once.
#[derive(Debug, Default)]
pub struct Reached(OnceLock<IpAddr>);

impl Reached {
    /// Finds it, unless it is known: where this process listens, or what its host's name stands for, or
    /// from where the store is reached. `false` when nobody but this host would reach what there is.
    pub async fn find(&self, config: &Config) -> bool {
        if self.0.get().is_none() {
            let listen = config.listen.ip();
            let found = match listen.is_unspecified() {
                true => of_host(config).await,
                false => Some(listen),
            };
            if let Some(found) = found {
                // It was found meanwhile.
                let _ = self.0.set(found);
            }
        }
        self.0.get().is_some_and(|found| !found.is_loopback() || config.listen.ip().is_loopback())
    }

    /// Where the Mesos APIs are served, as far as it is known.
    pub fn mesos(&self, config: &Config) -> SocketAddr {
        let ip = self.0.get().copied().unwrap_or_else(|| config.listen.ip());
        SocketAddr::new(ip, config.listen.port())
    }
}

async fn of_host(config: &Config) -> Option<IpAddr> {
    let hosts = lookup_host((config.hostname.as_str(), config.listen.port()));
    let mut all: Vec<IpAddr> = match timeout(LOOKUP, hosts).await {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        // Nobody knows the name, which then says nothing.
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    if !all.iter().any(is_for_others)
        && let Some(store) = &config.store
    {
        all.extend(towards(store).await);
    }
    best(config.listen.ip(), &all)
}

/// From which of this host's addresses the store's servers are reached. Nothing is sent.
async fn towards(store: &Address) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for server in &store.servers {
        let Ok(Ok(servers)) = timeout(LOOKUP, lookup_host(server)).await else { continue };
        for server in servers {
            found.extend(source(server).await);
        }
    }
    found
}

async fn source(server: SocketAddr) -> Option<IpAddr> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await.ok()?;
    socket.connect(server).await.ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

fn is_for_others(ip: &IpAddr) -> bool {
    !ip.is_loopback() && !ip.is_unspecified()
}

/// The one to tell: rather one that others reach, rather of the older protocol, which all clients
/// speak.
fn best(listen: IpAddr, all: &[IpAddr]) -> Option<IpAddr> {
    let usable = all.iter().filter(|ip| !ip.is_unspecified() && (ip.is_ipv4() || listen.is_ipv6()));
    usable.min_by_key(|ip| (ip.is_loopback(), ip.is_ipv6())).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn config(listen: &str, hostname: &str, store: Option<&str>) -> Config {
        let settings = Settings {
            listen: Some(listen.parse().unwrap()),
            hostname: Some(hostname.to_owned()),
            store: store.map(str::to_owned),
            allow_unauthenticated: true,
            ..Settings::default()
        };
        settings.resolve().unwrap()
    }

    fn best_of(listen: &str, all: &[&str]) -> Option<String> {
        let all: Vec<IpAddr> = all.iter().map(|ip| ip.parse().unwrap()).collect();
        Some(best(listen.parse().unwrap(), &all)?.to_string())
    }

    #[tokio::test]
    async fn where_one_address_is_listened_on_it_is_that() {
        let config = config("10.1.2.3:5050", "no.such.host.invalid", None);
        let reached = Reached::default();
        assert!(reached.find(&config).await);
        assert_eq!(reached.mesos(&config).to_string(), "10.1.2.3:5050");
    }

    #[tokio::test]
    async fn where_all_are_listened_on_clients_are_told_what_the_name_stands_for() {
        for listen in ["0.0.0.0:5050", "[::]:5050"] {
            let config = config(listen, "10.1.2.3", Some("zk://127.0.0.1:2181/mesos"));
            let reached = Reached::default();
            assert_eq!(reached.mesos(&config).to_string(), listen, "nobody looked yet");
            assert!(reached.find(&config).await);
            assert_eq!(reached.mesos(&config).to_string(), "10.1.2.3:5050");
        }
    }

    #[tokio::test]
    async fn a_name_that_others_cannot_use_is_better_than_no_address_and_said() {
        let config = config("0.0.0.0:5050", "localhost", Some("zk://127.0.0.1:2181/mesos"));
        let reached = Reached::default();
        assert!(!reached.find(&config).await, "{reached:?} is for this host alone");
        assert_eq!(reached.mesos(&config).to_string(), "127.0.0.1:5050");
    }

    #[test]
    fn of_several_addresses_others_reach_the_one_that_is_told() {
        let told = |all: &[&str]| best_of("::", all);
        assert_eq!(told(&["127.0.1.1", "::1", "10.0.0.1"]).unwrap(), "10.0.0.1");
        assert_eq!(told(&["2001:db8::1", "10.0.0.1"]).unwrap(), "10.0.0.1");
        assert_eq!(told(&["127.0.1.1", "2001:db8::1"]).unwrap(), "2001:db8::1");
        assert_eq!(told(&["0.0.0.0", "::"]), None);
        assert_eq!(best_of("0.0.0.0", &["2001:db8::1"]), None, "nobody listens there");
    }
}
