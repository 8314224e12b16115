//! The rules of nftables, as text for `nft -f`: one text is one transaction.

use std::collections::BTreeSet;
use std::fmt::Write;

use tepui_container::Port;

use crate::settings::Settings;
use crate::tables::Mapping;

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

/// The whole table with what is mapped, whatever was there before.
pub(crate) fn whole<'a>(settings: &Settings, mapped: impl Iterator<Item = &'a Mapping>) -> String {
    let table = format!("inet {}", settings.bridge);
    let mut text = format!("add table {table}\ndelete table {table}\n");
    text.push_str(&base(settings));
    // A port leads to one container, whatever records say.
    let mut taken = BTreeSet::new();
    for mapping in mapped {
        let mut own = mapping.clone();
        own.ports.retain(|port| taken.insert((port.protocol.name(), port.host)));
        text.push_str(&map_ports(&settings.bridge, &own));
    }
    text
}

/// Maps ports of the host to a container, all or none.
pub(crate) fn map_ports(bridge: &str, mapping: &Mapping) -> String {
    maps(mapping)
        .map(|(map, all)| format!("add element inet {bridge} {map} {{ {} }}\n", all.join(", ")))
        .collect()
}

/// Ends what [`map_ports`] did. What is not there any more is no error: it is added first.
pub(crate) fn unmap_ports(bridge: &str, mapping: &Mapping) -> String {
    let both = |(map, all): (&str, Vec<String>)| {
        let all = all.join(", ");
        ["add", "delete"].map(|verb| format!("{verb} element inet {bridge} {map} {{ {all} }}\n"))
    };
    maps(mapping).flat_map(both).collect()
}

/// Every element that these mappings are.
pub(crate) fn elements_of<'a>(mapped: impl Iterator<Item = &'a Mapping>) -> BTreeSet<String> {
    mapped.flat_map(maps).flat_map(|(_, all)| all).collect()
}

/// The elements of a mapping by the map that they belong to, as `nft` lists them.
fn maps(mapping: &Mapping) -> impl Iterator<Item = (&'static str, Vec<String>)> {
    let list = |address: String| {
        let element = |port: &Port| {
            let (protocol, host, inside) = (port.protocol.name(), port.host, port.container);
            format!("{protocol} . {host} : {address} . {inside}")
        };
        mapping.ports.iter().map(element).collect::<Vec<_>>()
    };
    let four = mapping.four.map(|address| ("ports4", list(address.to_string())));
    let six = mapping.six.map(|address| ("ports6", list(address.to_string())));
    four.into_iter().chain(six).filter(|(_, all)| !all.is_empty())
}

/// Parts what `nft list table` prints: everything but elements of maps, and these.
pub(crate) fn split(listing: &str) -> (String, BTreeSet<String>) {
    const BEGIN: &str = "elements = {";
    let (mut skeleton, mut elements) = (String::new(), BTreeSet::new());
    let mut rest = listing;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        skeleton.push_str(before.trim_end());
        let (inside, further) = after.split_once('}').unwrap_or((after, ""));
        let all = inside.split(',').map(|one| one.split_whitespace().collect::<Vec<_>>().join(" "));
        elements.extend(all.filter(|one| !one.is_empty()));
        rest = further;
    }
    skeleton.push_str(rest);
    (skeleton, elements)
}

#[cfg(test)]
mod tests {
    // Helpers of a test: what is not there fails it.
    #![allow(clippy::unwrap_used)]

    use super::*;
    use tepui_container::Protocol;

    fn mapping(ports: &[(u16, u16, Protocol)], four: &str, six: Option<&str>) -> Mapping {
        let port = |&(host, container, protocol): &_| Port { host, container, protocol };
        Mapping {
            ports: ports.iter().map(port).collect(),
            four: Some(four.parse().unwrap()),
            six: six.map(|six| six.parse().unwrap()),
        }
    }

    #[test]
    fn ports_are_mapped_for_both_families_in_one_text() {
        let ports = [(31000, 80, Protocol::Tcp), (31000, 53, Protocol::Udp)];
        assert_eq!(
            map_ports("tepui0", &mapping(&ports, "10.0.0.2", Some("fd00::2"))),
            "add element inet tepui0 ports4 { tcp . 31000 : 10.0.0.2 . 80, udp . 31000 : 10.0.0.2 . 53 }\n\
             add element inet tepui0 ports6 { tcp . 31000 : fd00::2 . 80, udp . 31000 : fd00::2 . 53 }\n"
        );
        assert_eq!(map_ports("tepui0", &mapping(&[], "10.0.0.2", Some("fd00::2"))), "");
        let gone = unmap_ports("tepui0", &mapping(&ports[..1], "10.0.0.2", None));
        assert_eq!(
            gone,
            "add element inet tepui0 ports4 { tcp . 31000 : 10.0.0.2 . 80 }\n\
             delete element inet tepui0 ports4 { tcp . 31000 : 10.0.0.2 . 80 }\n"
        );
    }

    #[test]
    fn a_listing_is_parted_into_rules_and_mapped_ports() {
        let listing = |elements: &str| {
            format!(
                "table inet t {{\n\tmap ports4 {{\n\t\ttype a : b{elements}\n\t}}\n\n\
                 \tmap ports6 {{\n\t\ttype c : d{elements}\n\t}}\n\n\tchain guard {{\n\
                 \t\tmeta l4proto {{ tcp, udp }} drop\n\t}}\n}}\n"
            )
        };
        let (bare, none) = split(&listing(""));
        assert_eq!((bare.as_str(), none), (listing("").as_str(), BTreeSet::new()));
        let some = "\n\t\telements = { tcp . 31000 : 10.0.0.2 . 80,\n\t\t\t     udp . 31000 : 10.0.0.2 . 53 }";
        let (same, found) = split(&listing(some));
        assert_eq!(same, bare);
        let ports = [(31000, 80, Protocol::Tcp), (31000, 53, Protocol::Udp)];
        assert_eq!(found, elements_of([mapping(&ports, "10.0.0.2", None)].iter()));
    }

    #[test]
    fn the_whole_table_replaces_what_was_there_and_gives_a_port_to_one() {
        let one = mapping(&[(31000, 80, Protocol::Tcp)], "10.0.0.2", None);
        let other =
            mapping(&[(31000, 81, Protocol::Tcp), (31001, 81, Protocol::Tcp)], "10.0.0.3", None);
        let settings = Settings {
            bridge: "t".into(),
            subnet4: "10.0.0.0/24".parse().unwrap(),
            subnet6: "fd00::/64".parse().unwrap(),
            records: "/r".into(),
            namespaces: "/n".into(),
            cni_config: None,
            cni_plugins: Vec::new(),
        };
        let text = whole(&settings, [&one, &other].into_iter());
        assert!(text.starts_with("add table inet t\ndelete table inet t\nadd table inet t\n"));
        let elements: Vec<_> = text.lines().filter(|line| line.contains("element")).collect();
        assert_eq!(
            elements,
            [
                "add element inet t ports4 { tcp . 31000 : 10.0.0.2 . 80 }",
                "add element inet t ports4 { tcp . 31001 : 10.0.0.3 . 81 }",
            ]
        );
    }
}
