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
        let rules = Self(HostNetwork::new(&format!("tepui-test-{name}-{}", std::process::id())));
        match nft(&rules.0.rules()) {
            Ok(()) => Some(rules),
            Err(reason) => {
                eprintln!("skipped: nftables does not count here: {reason}");
                None
            }
        }
    }
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

/// Sends datagrams and a stream to itself, says so, and ends a connection at each line it is told.
const TALKS: &str = "
import socket, sys
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('127.0.0.1', 0))
for i in range(100): u.sendto(b'x' * 700, u.getsockname()); u.recv(1000)
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
    c, s = pairs.pop(); c.close(); s.close()
    print(flush=True)
";

fn hear(child: &mut Child) {
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
}

fn tell(child: &mut Child) {
    child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    hear(child);
}

#[test]
fn nftables_counts_what_programs_count() {
    let Some(rig) = Rig::new("host", &[Feature::Network, Feature::Tcp]) else { return };
    let Some(rules) = Rules::new("same") else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, group) = rig.task(&mut driver, "talks", &[]);
    let (other, _) = rig.leaf("idle");
    let mut idle = spawn_python(&other, "import sys; print(flush=True); sys.stdin.read()");
    let mut child = spawn_python(&leaf, TALKS);
    hear(&mut child);
    hear(&mut idle);
    let sample = rules.0.read(&leaf, &mut Former::default()).unwrap();
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
    let (leaf, _) = rig.leaf("talks");
    let mut child = spawn_python(&leaf, TALKS);
    hear(&mut child);
    let mut former = Former::default();
    // Another pair of eyes, for what was seen serves a moment longer.
    let mut look = || -> std::io::Result<Sample> {
        HostNetwork::new(&format!("tepui-test-outlive-{}", std::process::id()))
            .read(&leaf, &mut former)
    };
    let packets = |sample: &Sample| sample.network.as_ref().unwrap().value.sent.total().packets;
    let before = look().unwrap();
    nft(&rules.0.rules()).unwrap();
    assert!(packets(&look().unwrap()) >= packets(&before), "made again, they keep their counts");
    nft(&(rules.0.no_rules() + &rules.0.rules())).unwrap();
    assert!(packets(&look().unwrap()) >= packets(&before), "replaced as one, they are there");
    nft(&rules.0.no_rules()).unwrap();
    assert_eq!(look().unwrap_err().kind(), std::io::ErrorKind::NotFound);
    nft(&rules.0.rules()).unwrap();
    assert!(packets(&look().unwrap()) >= packets(&before), "what they counted is remembered");
    tell(&mut child);
    let after = look().unwrap().tcp.unwrap().value;
    assert_eq!((after.ended, after.round_trips.count()), (2, 2), "both ends were its own");
    drop(child.stdin.take());
    child.wait().unwrap();
}
