//! Files of `/etc` that a container gets.

use crate::wish::Dns;

/// `/etc/resolv.conf`: the host's, or what the task wants instead. With a network of its own a
/// container cannot ask a resolver on the host's loopback; the `upstream` file is read then.
#[must_use]
pub fn resolver_file(dns: &Dns, host: &str) -> String {
    let lines = |word: &str| -> Vec<String> {
        let of = |line: &str| line.split_whitespace().next() == Some(word);
        host.lines().filter(|line| of(line)).map(str::to_owned).collect()
    };
    let own = |word: &str, values: &[String]| vec![format!("{word} {}", values.join(" "))];
    let servers = if dns.servers.is_empty() {
        lines("nameserver")
    } else {
        dns.servers.iter().map(|server| format!("nameserver {server}")).collect()
    };
    let search = if dns.search.is_empty() { lines("search") } else { own("search", &dns.search) };
    let options =
        if dns.options.is_empty() { lines("options") } else { own("options", &dns.options) };
    let mut text: String = [search, servers, options].concat().join("\n");
    text.push('\n');
    text
}

/// Whether every server of a resolver file is on the loopback of whoever reads it.
#[must_use]
pub fn asks_only_itself(resolver: &str) -> bool {
    let servers = resolver.lines().filter_map(|line| line.strip_prefix("nameserver"));
    let mut servers = servers.map(str::trim).peekable();
    servers.peek().is_some() && servers.all(|server| server.starts_with("127.") || server == "::1")
}

/// `/etc/hosts`: the container's own names, and what the task adds.
#[must_use]
pub fn hosts_file(dns: &Dns, hostname: &str, addresses: &[String]) -> String {
    let mut text =
        String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for address in addresses {
        text.push_str(&format!("{address}\t{hostname}\n"));
    }
    for (name, address) in &dns.hosts {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resolver_is_the_hosts_except_for_what_the_task_says() {
        let host = "# made by hand\nsearch example.org\nnameserver 10.0.0.2\noptions edns0\n";
        let same = resolver_file(&Dns::default(), host);
        assert_eq!(same, "search example.org\nnameserver 10.0.0.2\noptions edns0\n");
        let dns = Dns { servers: vec!["10.9.9.9".into()], ..Dns::default() };
        assert_eq!(
            resolver_file(&dns, host),
            "search example.org\nnameserver 10.9.9.9\noptions edns0\n"
        );
    }

    #[test]
    fn a_resolver_on_the_loopback_is_noticed() {
        assert!(asks_only_itself("nameserver 127.0.0.53\n"));
        assert!(!asks_only_itself("nameserver 127.0.0.53\nnameserver 10.0.0.1\n"));
        assert!(!asks_only_itself(""));
    }

    #[test]
    fn the_container_knows_its_own_name() {
        let dns = Dns { hosts: vec![("db".into(), "10.0.0.9".into())], ..Dns::default() };
        let text = hosts_file(&dns, "web", &["10.88.0.2".to_owned()]);
        assert!(text.ends_with("10.88.0.2\tweb\n10.0.0.9\tdb\n"), "{text}");
    }
}
