//! What nftables and sockets tell of tasks on the host's network, against programs and against what is
//! known; prints why it was skipped where that cannot be.

#![allow(clippy::unwrap_used)]

mod rig;

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use rig::{Rig, spawn_python};
use tepui_accounting::files::Former;
use tepui_accounting::{Feature, HostNetwork, Policy, Sample, Source};

/// Rules of one test; they go with it.
struct Rules(HostNetwork);

impl Rules {
    /// `None`, with the reason printed, where the host cannot count so.
    fn new(name: &str) -> Option<Self> {
        let rules = Self(network(name));
        match nft(&rules.0.rules()) {
            Ok(()) => Some(rules),
            Err(reason) => {
                eprintln!("skipped: nftables does not count here: {reason}");
                None
            }
        }
    }
}

/// Groups of tests are two levels deep, in a container's own hierarchy or the host's.
fn network(name: &str) -> HostNetwork {
    HostNetwork::new(&format!("tepui-test-{name}-{}", std::process::id()), 2..=8)
}

impl Drop for Rules {
    fn drop(&mut self) {
        nft(&self.0.no_rules()).unwrap();
    }
}

fn nft(script: &str) -> Result<(), String> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    nft.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = nft.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(words) }
}

/// Sends datagrams and three streams to itself, says so, and for each line that it is told ends a
/// connection or sends as many datagrams again.
const TALKS: &str = "
import socket, sys
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('127.0.0.1', 0))
def datagrams():
    for i in range(100): u.sendto(b'x' * 700, u.getsockname()); u.recv(1000)
datagrams()
l = socket.socket(socket.AF_INET6); l.bind(('::1', 0)); l.listen()
pairs = []
for i in range(3):
    c = socket.create_connection(l.getsockname()[:2]); s, _ = l.accept()
    c.sendall(b'y' * 50000)
    got = 0
    while got < 50000: got += len(s.recv(65536))
    pairs.append((c, s))
print(flush=True)
for line in sys.stdin:
    if line == 'more\\n':
        datagrams()
    else:
        c, s = pairs.pop(); c.close(); s.close()
    print(flush=True)
";

fn hear(child: &mut Child) {
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
}

fn tell(child: &mut Child, word: &str) {
    writeln!(child.stdin.as_mut().unwrap(), "{word}").unwrap();
    hear(child);
}

#[test]
fn nftables_counts_what_programs_count() {
    let Some(rig) = Rig::new("host", &[Feature::Network, Feature::Tcp]) else { return };
    let Some(rules) = Rules::new("same") else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, group) = rig.task(&mut driver, "talks", &[]);
    let (other, idle_group) = rig.leaf("idle");
    for group in [group, idle_group] {
        rules.0.register(group).unwrap();
    }
    let mut idle = spawn_python(&other, "import sys; print(flush=True); sys.stdin.read()");
    let mut child = spawn_python(&leaf, TALKS);
    hear(&mut child);
    hear(&mut idle);
    let mut former = Former::default();
    let sample = rules.0.read(&leaf, &mut former).unwrap();
    let counted = driver.read(group).unwrap();
    println!("nftables {sample:?}\nprograms {counted:?}");
    let (ours, theirs) = (sample.network.unwrap(), counted.network.unwrap().value);
    assert_eq!(ours.source, Source::Netlink);
    assert_eq!(ours.value.sent.udp, theirs.sent.udp);
    assert_eq!((ours.value.received.udp.packets, ours.value.received.udp.bytes), (100, 72_800));
    assert!(ours.value.sent.tcp.bytes > 150_000 && theirs.sent.tcp.bytes > 150_000);
    // The answer to a first segment is sent by no socket yet, as nftables sees it.
    let near = |one: u64, other: u64| one.abs_diff(other) <= 3 * 2 * 80;
    assert!(near(ours.value.sent.tcp.bytes, theirs.sent.tcp.bytes));
    assert!(near(ours.value.received.tcp.bytes, theirs.received.tcp.bytes));
    let (ours, theirs) = (sample.tcp.unwrap().value, counted.tcp.unwrap().value);
    assert_eq!((ours.connected, ours.accepted, ours.ended), (3, 3, 0));
    assert_eq!((theirs.connected, theirs.accepted, theirs.ended), (3, 3, 0));
    tell(&mut child, "end");
    // Both ends were its own; whoever is not seen in two looks is gone.
    let mut ended = || rules.0.read(&leaf, &mut former).unwrap().tcp.unwrap().value.ended;
    let first = ended();
    while ended() == 0 {
        std::thread::yield_now();
    }
    assert!(first <= 2 && ended() == 2);
    let nothing = rules.0.read(&other, &mut Former::default()).unwrap();
    assert_eq!(nothing.network.unwrap().value.sent.total().packets, 0);
    for mut child in [child, idle] {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

#[test]
fn counts_outlive_their_rules_and_connections_that_ended_stay_counted() {
    let Some(rig) = Rig::new("outlive", &[]) else { return };
    let Some(rules) = Rules::new("outlive") else { return };
    let (leaf, group) = rig.leaf("talks");
    let mut former = Former::default();
    let mut look = |rules: &HostNetwork| rules.read(&leaf, &mut former);
    let mut child = spawn_python(&leaf, TALKS);
    hear(&mut child);
    assert!(look(&rules.0).unwrap().network.is_none(), "not registered, not counted");
    rules.0.register(group).unwrap();
    tell(&mut child, "more");
    let packets = |sample: &Sample| sample.network.as_ref().unwrap().value.sent.udp.packets;
    assert_eq!(packets(&look(&rules.0).unwrap()), 100);
    nft(&rules.0.rules()).unwrap();
    rules.0.register(group).unwrap();
    assert_eq!(packets(&look(&rules.0).unwrap()), 100, "made again, they keep their counts");
    // Another process of the agent finds the counts of the one before.
    let next = network("outlive");
    next.register(group).unwrap();
    next.forget_others().unwrap();
    assert_eq!(packets(&next.read(&leaf, &mut Former::default()).unwrap()), 100);
    nft(&rules.0.no_rules()).unwrap();
    assert_eq!(look(&rules.0).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    rules.0.give_up();
    nft(&rules.0.rules()).unwrap();
    assert!(look(&rules.0).is_err(), "not before it is registered again");
    rules.0.begin_anew().unwrap();
    tell(&mut child, "more");
    assert_eq!(packets(&look(&rules.0).unwrap()), 200, "what they counted is remembered");
    rules.0.forget(group).unwrap();
    assert!(look(&rules.0).unwrap().network.is_none());
    drop(child.stdin.take());
    child.wait().unwrap();
}
