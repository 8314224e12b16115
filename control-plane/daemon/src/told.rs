//! Where others are told to reach this process, and whether they can.

use std::net::{IpAddr, SocketAddr};

use anyhow::ensure;
use tepui_ensemble::Address;

/// The host that others are told for one of the addresses listened at. Where no name is given, the
/// name is the address of `listen`, and each is told as itself.
pub fn host(hostname: &str, listen: SocketAddr, address: SocketAddr) -> String {
    if hostname == listen.ip().to_string() { address.ip().to_string() } else { hostname.to_owned() }
}

/// Checks that other control planes of this store, agents and clients can reach these addresses, each
/// with its setting, the first of them `listen`. Returns what may be wrong all the same. A store on loopback
/// is shared on this host alone.
///
/// # Errors
/// When nobody else can.
pub fn check(
    hostname: Option<&str>,
    addresses: &[(&'static str, SocketAddr)],
    store: &Address,
) -> anyhow::Result<Vec<String>> {
    let mut warnings = Vec::new();
    let Some((_, listen)) = addresses.first() else { return Ok(warnings) };
    let is_elsewhere = !store.servers.iter().all(|server| is_this_host(without_port(server)));
    for (key, address) in addresses {
        ensure!(
            hostname.is_some() || !address.ip().is_unspecified(),
            "hostname is needed beside store: others cannot reach this process at {key} = {address}"
        );
        let own = listen.ip().to_string();
        let told = host(hostname.unwrap_or(&own), *listen, *address);
        ensure!(
            !is_elsewhere || !is_this_host(&told),
            "{key} = {address} is told to others as {told}, which is each host's own: beside the store \
             {store} others have to reach it; listen on an address of this host's network (and set \
             allow_unauthenticated = true if that is trusted), or let hostname name this host"
        );
        if is_elsewhere && address.ip().is_loopback() {
            warnings.push(format!(
                "{key} = {address} takes connections of this host alone, and others are told to reach it \
                 at {told}, port {}: beside the store {store} something else has to pass them on",
                address.port()
            ));
        }
    }
    Ok(warnings)
}

fn without_port(server: &str) -> &str {
    server.rsplit_once(':').map_or(server, |(host, _)| host)
}

/// Whether a host is the one that asks, whichever that is.
fn is_this_host(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().map_or_else(
        |_| bare == "localhost" || bare.ends_with(".localhost"),
        |address| address.is_loopback(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(hostname: Option<&str>, ips: [&str; 3], store: &str) -> Result<usize, String> {
        let at = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 5050);
        let keys = ["listen", "marathon_listen", "agent_listen"];
        let addresses: Vec<_> = std::iter::zip(keys, ips.map(at)).collect();
        let warnings = check(hostname, &addresses, &Address::parse(store).unwrap());
        warnings.map(|all| all.len()).map_err(|error| error.to_string())
    }

    const OPEN: &str = "10.0.0.1";
    const LOOP: &str = "127.0.0.1";

    #[test]
    fn what_others_are_told_is_no_hosts_own_address() {
        let store = "zk://127.0.0.1:2181,b:2181/mesos";
        assert_eq!(checked(None, [OPEN; 3], store), Ok(0));
        for (ips, key) in [
            ([LOOP, OPEN, OPEN], "listen = 127.0.0.1:5050"),
            ([OPEN, LOOP, OPEN], "marathon_listen = 127.0.0.1:5050"),
            ([OPEN, OPEN, "::1"], "agent_listen = [::1]:5050"),
        ] {
            // The name is where it listens, which each address is for itself.
            for hostname in [None, Some(ips[0])] {
                let error = checked(hostname, ips, store).unwrap_err();
                assert!(error.starts_with(key) && error.contains(store), "{error}");
            }
        }
        for hostname in ["localhost", "a.localhost", "127.0.1.1"] {
            let error = checked(Some(hostname), ["0.0.0.0"; 3], store).unwrap_err();
            assert!(error.contains(&format!("told to others as {hostname}")), "{error}");
        }
    }

    #[test]
    fn where_a_name_is_told_somebody_may_pass_connections_on() {
        let store = "etcd://b:2379";
        assert_eq!(checked(Some("one"), ["0.0.0.0"; 3], store), Ok(0));
        assert_eq!(checked(Some("one"), ["0.0.0.0", LOOP, "::1"], store), Ok(2));
    }

    #[test]
    fn a_store_of_this_host_is_shared_on_it() {
        for store in ["zk://127.0.0.1:2181/mesos", "etcd://localhost:1,[::1]:2"] {
            assert_eq!(checked(None, [LOOP; 3], store), Ok(0));
        }
        let error = checked(None, ["0.0.0.0"; 3], "etcd://[::1]:1").unwrap_err();
        assert!(error.contains("hostname is needed"), "{error}");
    }
}
