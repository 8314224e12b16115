//! Which TCP ports a tree of processes listens on: the kernel's socket table, joined with the
//! sockets that the processes hold.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

/// Listening sockets of one network namespace: inode to port.
type Listeners = HashMap<u64, u16>;

/// `LISTEN` in the state column of `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// Socket tables by network namespace, each read once.
#[derive(Debug, Default)]
pub(crate) struct SocketTables {
    by_namespace: HashMap<PathBuf, Listeners>,
}

impl SocketTables {
    /// Ports on which any of the processes listens.
    pub(crate) fn ports_of(&mut self, pids: &[Pid]) -> BTreeSet<u16> {
        let mut ports = BTreeSet::new();
        for pid in pids {
            let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
            let listeners = self.listeners_near(&process);
            if listeners.is_empty() {
                continue;
            }
            let held = sockets_of(&process);
            ports.extend(held.iter().filter_map(|inode| listeners.get(inode)));
        }
        ports
    }

    fn listeners_near(&mut self, process: &Path) -> &Listeners {
        let namespace = fs::read_link(process.join("ns/net")).unwrap_or_default();
        self.by_namespace.entry(namespace).or_insert_with(|| read_listeners(process))
    }
}

fn read_listeners(process: &Path) -> Listeners {
    ["net/tcp", "net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(process.join(table)).ok())
        .flat_map(|text| text.lines().skip(1).filter_map(parse_listener).collect::<Vec<_>>())
        .collect()
}

/// Inode and port of a line, when the socket listens. Columns: `sl local remote st …×5 inode`.
fn parse_listener(line: &str) -> Option<(u64, u16)> {
    let mut columns = line.split_ascii_whitespace();
    let local = columns.nth(1)?;
    let state = columns.nth(1)?;
    let inode = columns.nth(5)?;
    let (_, port) = local.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    (state == LISTEN).then_some((inode.parse().ok()?, port))
}

fn sockets_of(process: &Path) -> HashSet<u64> {
    let Ok(entries) = fs::read_dir(process.join("fd")) else { return HashSet::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            inode.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

    #[test]
    fn only_listening_sockets_count() {
        let listening = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 \
                         00000000  1000        0 54321 1 0 100 0 0 10 0";
        let connected = listening.replace(" 0A ", " 01 ");
        assert_eq!(parse_listener(listening), Some((54321, 8080)));
        assert_eq!(parse_listener(&connected), None);
        assert_eq!(parse_listener("garbage"), None);
    }

    #[test]
    fn this_process_is_seen_listening_on_either_family() {
        let four = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(four.local_addr().unwrap()).unwrap();
        let ports = SocketTables::default().ports_of(&[rustix::process::getpid()]);
        assert!(ports.contains(&four.local_addr().unwrap().port()));
        assert!(!ports.contains(&client.local_addr().unwrap().port()));
        let Ok(six) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
        let ports = SocketTables::default().ports_of(&[rustix::process::getpid()]);
        assert!(ports.contains(&six.local_addr().unwrap().port()));
    }
}
