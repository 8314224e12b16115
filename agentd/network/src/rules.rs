//! The rules of nftables, as text for `nft -f`: one text is one transaction.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use tepui_container::Port;

use crate::settings::Settings;

/// The bridge's table with everything but ports: made when absent, made right when present; mapped
/// ports stay.
pub(crate) fn base(settings: &Settings) -> String {
    let Settings { bridge, subnet4, subnet6, .. } = settings;
    let table = format!("inet {bridge}");
    let mut text = format!("add table {table}\n");
    for (name, address) in [("ports4", "ipv4_addr"), ("ports6", "ipv6_addr")] {
        let kind = format!("inet_proto . inet_service : {address} . inet_service");
        let _ = writeln!(text, "add map {table} {name} {{ type {kind}; }}");
    }
    let chains = [
        ("guard", "filter hook prerouting priority raw"),
        ("incoming", "nat hook prerouting priority dstnat"),
        ("own", "nat hook output priority -100"),
        ("outgoing", "nat hook postrouting priority srcnat"),
    ];
    for (name, hook) in chains {
        let _ = writeln!(text, "add chain {table} {name} {{ type {hook}; policy accept; }}");
        let _ = writeln!(text, "flush chain {table} {name}");
    }
    let mut rule = |chain: &str, rule: &str| {
        let _ = writeln!(text, "add rule {table} {chain} {rule}");
    };
    // The host's loopback is routed into the bridge for its own sake, and never out of it.
    rule("guard", &format!("iifname \"{bridge}\" ip daddr 127.0.0.0/8 drop"));
    // Link-local addresses are the host's own affair, above all those where a cloud tells secrets;
    // only names are asked for there.
    for cloud in ["ip daddr 169.254.0.0/16", "ip6 daddr fd00:ec2::254"] {
        let what = "meta l4proto { tcp, udp } th dport != 53";
        rule("guard", &format!("iifname \"{bridge}\" {cloud} {what} drop"));
    }
    for chain in ["incoming", "own"] {
        for (family, map) in [("ip", "ports4"), ("ip6", "ports6")] {
            let to = format!("dnat {family} to meta l4proto . th dport map @{map}");
            rule(chain, &format!("fib daddr type local {to}"));
        }
    }
    rule("outgoing", &format!("ip saddr {subnet4} oifname != \"{bridge}\" masquerade"));
    rule("outgoing", &format!("ip6 saddr {subnet6} oifname != \"{bridge}\" masquerade"));
    // Answers must come back the way that the question took.
    let back = format!("oifname \"{bridge}\" ct status dnat");
    rule("outgoing", &format!("{back} ip saddr 127.0.0.0/8 masquerade"));
    // By source and not by way: where the kernel filters bridges too, there is no incoming link.
    rule("outgoing", &format!("{back} ip saddr {subnet4} masquerade"));
    rule("outgoing", &format!("{back} ip6 saddr {subnet6} masquerade"));
    text
}

/// Maps ports of the host to a container, all or none.
pub(crate) fn map_ports(
    bridge: &str,
    ports: &[Port],
    four: Option<Ipv4Addr>,
    six: Option<Ipv6Addr>,
) -> String {
    elements(ports, four, six)
        .map(|(map, all)| format!("add element inet {bridge} {map} {{ {all} }}\n"))
        .collect()
}

/// Ends what [`map_ports`] did. What is not there any more is no error: it is added first.
pub(crate) fn unmap_ports(
    bridge: &str,
    ports: &[Port],
    four: Option<Ipv4Addr>,
    six: Option<Ipv6Addr>,
) -> String {
    elements(ports, four, six)
        .flat_map(|(map, all)| {
            ["add", "delete"]
                .map(|verb| format!("{verb} element inet {bridge} {map} {{ {all} }}\n"))
        })
        .collect()
}

fn elements(
    ports: &[Port],
    four: Option<Ipv4Addr>,
    six: Option<Ipv6Addr>,
) -> impl Iterator<Item = (&'static str, String)> {
    let list = |address: String| {
        let all = ports.iter().map(|port| {
            let (protocol, host, inside) = (port.protocol.name(), port.host, port.container);
            format!("{protocol} . {host} : {address} . {inside}")
        });
        all.collect::<Vec<_>>().join(", ")
    };
    let four = four.map(|address| ("ports4", list(address.to_string())));
    let six = six.map(|address| ("ports6", list(address.to_string())));
    four.into_iter().chain(six).filter(|(_, all)| !all.is_empty())
}

#[cfg(test)]
mod tests {
    // Helpers of a test: what is not there fails it.
    #![allow(clippy::unwrap_used)]

    use super::*;
    use tepui_container::Protocol;

    #[test]
    fn ports_are_mapped_for_both_families_in_one_text() {
        let ports = [
            Port { host: 31000, container: 80, protocol: Protocol::Tcp },
            Port { host: 31000, container: 53, protocol: Protocol::Udp },
        ];
        let (four, six) = (Some("10.0.0.2".parse().unwrap()), Some("fd00::2".parse().unwrap()));
        assert_eq!(
            map_ports("tepui0", &ports, four, six),
            "add element inet tepui0 ports4 { tcp . 31000 : 10.0.0.2 . 80, udp . 31000 : 10.0.0.2 . 53 }\n\
             add element inet tepui0 ports6 { tcp . 31000 : fd00::2 . 80, udp . 31000 : fd00::2 . 53 }\n"
        );
        assert_eq!(map_ports("tepui0", &[], four, six), "");
        let gone = unmap_ports("tepui0", &ports[..1], four, None);
        assert_eq!(
            gone,
            "add element inet tepui0 ports4 { tcp . 31000 : 10.0.0.2 . 80 }\n\
             delete element inet tepui0 ports4 { tcp . 31000 : 10.0.0.2 . 80 }\n"
        );
    }
}
