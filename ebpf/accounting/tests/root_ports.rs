//! Port enforcement against the real kernel; prints why it was skipped where that cannot be.

#![allow(clippy::unwrap_used)]

mod rig;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use rig::{Rig, free_ports, python, set, spawn_python};
use tepui_accounting::{
    Driver, Feature, GroupId, Mode, Operation, Policy, Proof, Transport, prove_port_enforcement,
};

const PRELUDE: &str = "
import socket, errno, sys, os
def attempt(family, kind, address, *options):
    s = socket.socket(family, kind)
    for option in options: s.setsockopt(*option)
    try:
        s.bind(address)
        return 'ok'
    except OSError as e:
        return errno.errorcode[e.errno]
V4, V6, TCP, UDP = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM, socket.SOCK_DGRAM
REUSE = (socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
BOTH = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
";

fn script(text: &str) -> String {
    format!("{PRELUDE}{text}")
}

fn ports_rig(name: &str) -> Option<Rig> {
    Rig::new(name, &[Feature::Ports])
}

/// Every way to bind `port`, one word each.
fn matrix(port: u16) -> String {
    script(&format!(
        "p = {port}
print(' '.join([
    attempt(V4, TCP, ('0.0.0.0', p)), attempt(V4, TCP, ('127.0.0.1', p)),
    attempt(V4, UDP, ('0.0.0.0', p)), attempt(V4, UDP, ('127.0.0.1', p)),
    attempt(V6, TCP, ('::', p)), attempt(V6, TCP, ('::1', p)),
    attempt(V6, UDP, ('::', p)), attempt(V6, UDP, ('::1', p)),
    attempt(V6, TCP, ('::', p), BOTH), attempt(V6, UDP, ('::', p), BOTH),
    attempt(V6, TCP, ('::ffff:127.0.0.1', p), BOTH),
    attempt(V6, UDP, ('::ffff:127.0.0.1', p), BOTH),
    attempt(V4, TCP, ('0.0.0.0', p), REUSE), attempt(V4, UDP, ('0.0.0.0', p), REUSE),
]))"
    ))
}

#[test]
fn the_host_proves_port_enforcement_or_says_why_not() {
    let Some(rig) = ports_rig("prove") else { return };
    let mut driver = rig.load(Policy::default());
    assert_eq!(prove_port_enforcement(&mut driver).unwrap(), Proof::Open);
    assert!(!driver.has_feature(Feature::Ports));
    driver.attach().unwrap();
    assert!(driver.has_feature(Feature::Ports) && !driver.has_feature(Feature::Cpu));
    assert_eq!(prove_port_enforcement(&mut driver).unwrap(), Proof::Enforced);
    driver.set_policy(Policy { mode: Mode::Observe, ..Policy::default() }).unwrap();
    assert_eq!(prove_port_enforcement(&mut driver).unwrap(), Proof::Enforced);
    assert_eq!(driver.take_denials().unwrap(), vec![]);
    assert_eq!(driver.registered().unwrap(), vec![]);
    driver.remove().unwrap();
    assert!(!rig.place.pins.exists());
}

#[test]
fn a_task_binds_its_own_ports_and_no_others_in_every_family() {
    let Some(rig) = ports_rig("matrix") else { return };
    let mut driver = rig.start(Policy::default());
    let [own, foreign] = free_ports();
    let (leaf, group) = rig.task(&mut driver, "web", &[own]);
    assert_eq!(python(&leaf, &matrix(own)), ["ok"; 14].join(" "));
    assert_eq!(python(&leaf, &matrix(foreign)), ["EPERM"; 14].join(" "));
    let denials = driver.denials(group).unwrap().unwrap();
    assert_eq!((denials.of(Operation::Bind), denials.total()), (14, 14));
    let events = driver.take_denials().unwrap();
    assert_eq!(events.len(), 14);
    assert!(events.iter().all(|e| e.group == group && e.port == foreign && e.registered));
    assert!(events.iter().all(|e| e.comm.starts_with("python") && e.pid.is_some()));
    assert_eq!(events.iter().filter(|e| e.transport == Transport::Udp).count(), 7);
    assert_eq!(denials.last.as_ref(), events.last());
}

#[test]
fn a_group_that_nobody_registered_has_no_ports() {
    let Some(rig) = ports_rig("stranger") else { return };
    let mut driver = rig.start(Policy::default());
    let [port] = free_ports();
    let (leaf, group) = rig.leaf("stranger");
    assert_eq!(python(&leaf, &matrix(port)), ["EPERM"; 14].join(" "));
    let events = driver.take_denials().unwrap();
    assert!(events.iter().all(|e| e.group == group && !e.registered), "{events:?}");
    assert_eq!(driver.strangers_denials().unwrap().of(Operation::Bind), 14);
    assert_eq!(driver.denials(group).unwrap(), None);
    driver.register_task(group, &set(&[port]), None).unwrap();
    assert_eq!(python(&leaf, &matrix(port)), ["ok"; 14].join(" "));
    driver.unregister_task(group).unwrap();
    assert_eq!(python(&leaf, &matrix(port)), ["EPERM"; 14].join(" "));
}

#[test]
fn observe_lets_pass_and_counts() {
    let Some(rig) = ports_rig("observe") else { return };
    let mut driver = rig.start(Policy { mode: Mode::Observe, ..Policy::default() });
    let [port] = free_ports();
    let (leaf, group) = rig.task(&mut driver, "watched", &[]);
    assert_eq!(python(&leaf, &matrix(port)), ["ok"; 14].join(" "));
    assert_eq!(driver.denials(group).unwrap().unwrap().of(Operation::Bind), 14);
    assert!(driver.take_denials().unwrap().iter().all(|event| event.mode == Mode::Observe));
}

#[test]
fn kill_mode_refuses_and_asks_for_the_end_of_the_task() {
    let Some(rig) = ports_rig("kill") else { return };
    let mut driver = rig.start(Policy::default());
    let [port] = free_ports();
    let (leaf, group) = rig.leaf("killed");
    driver.register_task(group, &set(&[]), Some(Mode::Kill)).unwrap();
    assert_eq!(python(&leaf, &matrix(port)), ["EPERM"; 14].join(" "));
    assert!(driver.take_denials().unwrap().iter().all(|event| event.mode == Mode::Kill));
}

#[test]
fn bind_to_port_0_gets_a_port_that_nobody_reaches_and_strict_refuses_it() {
    let Some(rig) = ports_rig("any") else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, group) = rig.task(&mut driver, "any", &[]);
    assert_eq!(python(&leaf, &matrix(0)), ["ok"; 14].join(" "));
    assert_eq!(driver.denials(group).unwrap().unwrap().ephemeral_binds, 14);
    driver.set_policy(Policy { strict: true, ..Policy::default() }).unwrap();
    assert_eq!(python(&leaf, &matrix(0)), ["EPERM"; 14].join(" "));
    assert_eq!(driver.denials(group).unwrap().unwrap().of(Operation::BindAny), 14);
}

/// Starts a server in the group that prints its port and echoes once per line of its input.
fn server(leaf: &tepui_cgroup::Leaf, text: &str) -> (std::process::Child, u16) {
    let mut child = spawn_python(leaf, &script(text));
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().parse().unwrap_or_else(|_| {
        let mut error = String::new();
        std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut error).unwrap();
        panic!("no port but {line:?}: {error}")
    });
    (child, port)
}

fn connects(address: &str, port: u16, patience: Duration) -> bool {
    let address: SocketAddr = format!("{address}:{port}").parse().unwrap();
    TcpStream::connect_timeout(&address, patience).is_ok()
}

/// Whether a connection comes about. On loopback it does at once or never.
fn reaches(address: &str, port: u16) -> bool {
    connects(address, port, Duration::from_millis(300))
}

fn answers(address: &str, port: u16) -> bool {
    connects(address, port, Duration::from_secs(10))
}

#[test]
fn listen_without_bind_and_after_bind_to_0_is_reached_by_nobody() {
    let Some(rig) = ports_rig("listen") else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, group) = rig.task(&mut driver, "quiet", &[]);
    let wait = "\nprint(s.getsockname()[1], flush=True)\nsys.stdin.read()";
    for (text, addresses) in [
        ("s = socket.socket(V4, TCP); s.listen()", &["127.0.0.1"][..]),
        ("s = socket.socket(V6, TCP); s.setsockopt(*BOTH); s.listen()", &["127.0.0.1", "[::1]"]),
        ("s = socket.socket(V4, TCP); s.bind(('', 0)); s.listen()", &["127.0.0.1"]),
        ("s = socket.socket(V6, TCP); s.bind(('::', 0)); s.listen()", &["127.0.0.1", "[::1]"]),
    ] {
        let (mut child, port) = server(&leaf, &format!("{text}{wait}"));
        for address in addresses {
            assert!(!reaches(address, port), "{text} at {address}");
        }
        drop(child.stdin.take());
        child.wait().unwrap();
    }
    let denials = driver.denials(group).unwrap().unwrap();
    assert!(denials.of(Operation::Connection) >= 6, "{denials:?}");
    // The same servers on their own port are reached, so it was the filter that stopped them.
    let [own] = free_ports();
    let (leaf, _) = rig.task(&mut driver, "loud", &[own]);
    let text = format!(
        "s = socket.socket(V6, TCP); s.setsockopt(*BOTH); s.bind(('::', {own})); s.listen()"
    );
    let (mut child, port) = server(&leaf, &format!("{text}{wait}"));
    assert!(answers("127.0.0.1", port) && answers("[::1]", port));
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn a_datagram_reaches_only_own_ports_and_askers() {
    let Some(rig) = ports_rig("datagram") else { return };
    let mut driver = rig.start(Policy { own_loopback: false, ..Policy::default() });
    let (leaf, group) = rig.task(&mut driver, "udp", &[]);
    let outside = UdpSocket::bind("127.0.0.1:0").unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    outside.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let peer = outside.local_addr().unwrap().port();
    // Sends without bind, then waits for one datagram: the answer must come, the stranger's not.
    let text = |family: &str, address: &str| {
        format!(
            "s = socket.socket({family}, UDP); s.settimeout(5)
s.sendto(b'ask', ('{address}', {peer}))
print(s.recv(100).decode())"
        )
    };
    for (family, address) in [("V4", "127.0.0.1"), ("V6", "::ffff:127.0.0.1")] {
        let child = spawn_python(&leaf, &script(&text(family, address)));
        let mut buffer = [0; 100];
        let (_, from) = outside.recv_from(&mut buffer).unwrap();
        for _ in 0..3 {
            stranger.send_to(b"stranger", ("127.0.0.1", from.port())).unwrap();
        }
        outside.send_to(b"answer", from).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "answer");
    }
    assert_eq!(driver.denials(group).unwrap().unwrap().of(Operation::Datagram), 6);
}

#[test]
fn clients_work_as_ever() {
    let Some(rig) = ports_rig("client") else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, group) = rig.task(&mut driver, "client", &[]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let echo = std::thread::spawn(move || {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().unwrap();
            std::io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap();
        }
    });
    let text = format!(
        "out = []
for family, address, bound in [(V4, '127.0.0.1', None), (V4, '127.0.0.1', ('', 0)),
                               (V6, '::ffff:127.0.0.1', None)]:
    s = socket.socket(family, TCP); s.settimeout(5)
    if bound: s.bind(bound)
    s.connect((address, {port})); s.sendall(b'x' * 100000); s.shutdown(1)
    n = 0
    while True:
        d = s.recv(65536)
        if not d: break
        n += len(d)
    out.append(str(n))
print(' '.join(out))"
    );
    assert_eq!(python(&leaf, &script(&text)), "100000 100000 100000");
    echo.join().unwrap();
    // A connected UDP client, as resolvers make them.
    let answerer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = answerer.local_addr().unwrap().port();
    let echo = std::thread::spawn(move || {
        let mut buffer = [0; 100];
        let (length, from) = answerer.recv_from(&mut buffer).unwrap();
        answerer.send_to(&buffer[..length], from).unwrap();
    });
    let text = format!(
        "s = socket.socket(V4, UDP); s.settimeout(5); s.connect(('127.0.0.1', {port}))
s.send(b'name'); print(s.recv(100).decode())"
    );
    assert_eq!(python(&leaf, &script(&text)), "name");
    echo.join().unwrap();
    assert_eq!(driver.denials(group).unwrap().unwrap().total(), 0);
}

#[test]
fn a_task_reaches_itself_over_loopback_and_others_do_not() {
    let Some(rig) = ports_rig("own") else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, _) = rig.task(&mut driver, "self", &[]);
    let (other, _) = rig.task(&mut driver, "other", &[]);
    let serve = "s = socket.socket(V6, TCP); s.setsockopt(*BOTH); s.listen()
u = socket.socket(V6, UDP); u.setsockopt(*BOTH); u.bind(('::', 0)); u.settimeout(1)
print(s.getsockname()[1], flush=True)
print(u.getsockname()[1], flush=True)
sys.stdin.read()
try: print(u.recv(100).decode())
except TimeoutError: print('nothing')";
    for (from, patience, tcp, udp) in
        [(&leaf, 10.0, "ok ok ok", "hi"), (&other, 0.3, "late late late", "nothing")]
    {
        let mut child = spawn_python(&leaf, &script(serve));
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut read = || {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            line.trim().to_owned()
        };
        let (stream, datagram) = (read(), read());
        let text = format!(
            "out = []
for family, address in [(V4, '127.0.0.1'), (V6, '::1'), (V6, '::ffff:127.0.0.1')]:
    s = socket.socket(family, TCP); s.settimeout({patience})
    try: s.connect((address, {stream})); out.append('ok')
    except TimeoutError: out.append('late')
socket.socket(V4, UDP).sendto(b'hi', ('127.0.0.1', {datagram}))
print(' '.join(out))"
        );
        assert_eq!(python(from, &script(&text)), tcp);
        drop(child.stdin.take());
        assert_eq!(read(), udp);
        child.wait().unwrap();
    }
}

#[test]
fn a_group_below_a_tasks_group_is_the_task() {
    let Some(rig) = ports_rig("nested") else { return };
    let mut driver = rig.start(Policy::default());
    let [own, foreign] = free_ports();
    let (leaf, group) = rig.task(&mut driver, "pod", &[own]);
    let inner = tepui_cgroup::Leaf::at(leaf.path().join("inner"));
    inner.ensure().unwrap();
    assert_eq!(python(&inner, &matrix(own)), ["ok"; 14].join(" "));
    assert_eq!(python(&inner, &matrix(foreign)), ["EPERM"; 14].join(" "));
    assert!(driver.take_denials().unwrap().iter().all(|event| event.group == group));
}

#[test]
fn tasks_may_be_some_levels_below_the_root_group() {
    let Some(mut rig) = Rig::new("deep", &[Feature::Ports, Feature::Cpu]) else { return };
    rig.place.depth = 7;
    assert!(Driver::load(rig.place.clone(), &rig.plan, Policy::default()).is_err());
    rig.place.depth = 3;
    let mut driver = rig.start(Policy::default());
    let [own, foreign] = free_ports();
    let (role, _) = rig.leaf("role");
    let deep = tepui_cgroup::Leaf::at(role.path().join("app"));
    deep.ensure().unwrap();
    let task = tepui_cgroup::Leaf::at(deep.path().join("task"));
    task.ensure().unwrap();
    let group = GroupId::of(task.path()).unwrap();
    driver.register_task(group, &set(&[own]), None).unwrap();
    assert_eq!(python(&task, &matrix(own)), ["ok"; 14].join(" "));
    assert_eq!(python(&task, &matrix(foreign)), ["EPERM"; 14].join(" "));
    assert!(driver.take_denials().unwrap().iter().all(|event| event.group == group));
    let (bpf, file) = Rig::settled(&driver, &task);
    let (counted, file) = (bpf.cpu.unwrap().value.as_secs_f64(), file.as_secs_f64());
    assert!((counted / file - 1.0).abs() < 0.001, "{counted} against {file}");
    // Its neighbours, which nobody registered, have nothing.
    assert_eq!(python(&deep, &matrix(own)), ["EPERM"; 14].join(" "));
}

#[test]
fn a_port_of_another_task_cannot_be_shared_or_taken_by_connecting_first() {
    let Some(rig) = ports_rig("steal") else { return };
    let mut driver = rig.start(Policy { own_loopback: false, ..Policy::default() });
    let [port] = free_ports();
    let (owner, _) = rig.task(&mut driver, "owner", &[port]);
    let (thief, _) = rig.task(&mut driver, "thief", &[]);
    let hold = format!(
        "s = socket.socket(V4, TCP); s.setsockopt(*REUSE); s.bind(('', {port})); s.listen()
print({port}, flush=True)
sys.stdin.read()"
    );
    let (mut child, _) = server(&owner, &hold);
    assert_eq!(python(&thief, &matrix(port)), ["EPERM"; 14].join(" "));
    drop(child.stdin.take());
    child.wait().unwrap();
    // A socket that was a client and turns into a server keeps its port, but nobody gets there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let turn = format!(
        "s = socket.socket(V4, TCP); s.bind(('', 0)); s.connect(('127.0.0.1', {}))
import ctypes
assert ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16) == 0
s.listen(); print(s.getsockname()[1], flush=True)
sys.stdin.read()",
        listener.local_addr().unwrap().port()
    );
    let (mut child, port) = server(&thief, &turn);
    assert!(!reaches("127.0.0.1", port));
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn taking_ports_away_closes_what_listens_on_them() {
    let Some(rig) = ports_rig("revoke") else { return };
    let mut driver = rig.start(Policy::default());
    let [port] = free_ports();
    let (leaf, group) = rig.task(&mut driver, "task", &[port]);
    let text = format!(
        "s = socket.socket(V4, TCP); s.bind(('', {port})); s.listen()
print({port}, flush=True)
sys.stdin.read()"
    );
    let (mut child, _) = server(&leaf, &text);
    assert!(answers("127.0.0.1", port));
    driver.register_task(group, &set(&[]), None).unwrap();
    assert!(!reaches("127.0.0.1", port));
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn a_flood_of_denials_is_counted_whole_and_reported_in_part() {
    let Some(rig) = ports_rig("flood") else { return };
    let mut driver = rig.start(Policy::default());
    let [port] = free_ports();
    let (leaf, group) = rig.task(&mut driver, "flood", &[]);
    let text = format!("for i in range(20000): attempt(V4, TCP, ('', {port}))");
    python(&leaf, &script(&text));
    let denials = driver.denials(group).unwrap().unwrap();
    let reported = driver.take_denials().unwrap().len();
    println!("{reported} of {} reported", denials.total());
    assert_eq!(denials.total(), 20_000);
    assert_eq!(denials.total(), u64::from(denials.quiet) + u64::try_from(reported).unwrap());
    assert!(reported < 1000);
    assert_eq!(driver.lost_events().unwrap(), 0);
}

#[test]
fn other_protocols_with_ports_are_held_to_the_same_ones() {
    let Some(rig) = ports_rig("others") else { return };
    let mut driver = rig.start(Policy::default());
    let [own, foreign] = free_ports();
    let (leaf, _) = rig.task(&mut driver, "others", &[own]);
    // MPTCP, UDP-Lite: as TCP and UDP, where the kernel has them. SCTP, DCCP: not at all.
    let text = format!(
        "def one(kind, protocol, port):
    try: s = socket.socket(V4, kind, protocol)
    except OSError as e: return 'none' if e.errno != errno.EPERM else 'EPERM'
    try: s.bind(('127.0.0.1', port)); return 'ok'
    except OSError as e: return errno.errorcode[e.errno]
for kind, protocol in [(TCP, 262), (UDP, 136), (TCP, 132), (socket.SOCK_SEQPACKET, 132), (6, 33)]:
    print(one(kind, protocol, {own}), one(kind, protocol, {foreign}))"
    );
    let printed = python(&leaf, &script(&text));
    println!("{printed}");
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines[..2].iter().all(|line| ["ok EPERM", "none none"].contains(line)), "{lines:?}");
    assert!(lines[2..].iter().all(|line| ["EPERM EPERM", "none none"].contains(line)), "{lines:?}");
    // MPTCP that listens without bind is reached no more than TCP.
    let text = "s = socket.socket(V4, TCP, 262 if os.path.exists('/proc/sys/net/mptcp') else 0)
s.listen(); print(s.getsockname()[1], flush=True); sys.stdin.read()";
    let (mut child, port) = server(&leaf, text);
    assert!(!reaches("127.0.0.1", port));
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn an_answer_is_known_behind_extension_headers_too() {
    let Some(rig) = ports_rig("extended") else { return };
    let mut driver = rig.start(Policy { own_loopback: false, ..Policy::default() });
    let (leaf, group) = rig.task(&mut driver, "asker", &[]);
    let (outside, others) = rig.task(&mut driver, "outside", &[]);
    driver.register_task(others, &tepui_accounting::PortSet::every_port(), None).unwrap();
    // Answers with a header of destination options and one of hop-by-hop options before UDP.
    let answerer = "s = socket.socket(V6, UDP); s.bind(('::1', 0)); s.settimeout(10)
t = socket.socket(V6, UDP); t.bind(('::1', 0))
for option in (59, 54):
    for one in (s, t): one.setsockopt(socket.IPPROTO_IPV6, option, bytes([0, 0, 1, 4, 0, 0, 0, 0]))
print(s.getsockname()[1], flush=True)
_, who = s.recvfrom(100)
t.sendto(b'stranger', who); s.sendto(b'answer', who)";
    let (mut child, port) = server(&outside, answerer);
    let asker = format!(
        "s = socket.socket(V6, UDP); s.settimeout(10)
s.sendto(b'ask', ('::1', {port})); print(s.recv(100).decode())"
    );
    assert_eq!(python(&leaf, &script(&asker)), "answer");
    child.wait().unwrap();
    assert_eq!(driver.denials(group).unwrap().unwrap().of(Operation::Datagram), 1);
}
