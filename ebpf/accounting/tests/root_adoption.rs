//! Enforcement without an agent, and while a new one takes over (I-52).

#![allow(clippy::unwrap_used)]

mod rig;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rig::{Rig, free_ports, python, set, spawn_python};
use tepui_accounting::{
    Driver, Feature, GroupId, Operation, Place, Policy, Proof, Sample, plan, probe,
    prove_port_enforcement,
};

/// Tells this test binary, started again, that it is the agent that will be killed.
const VICTIM: &str = "TEPUI_TEST_AGENT_ROOT";

fn bind_script(port: u16) -> String {
    format!(
        "import socket, errno
s = socket.socket()
try: s.bind(('127.0.0.1', {port})); print('ok')
except OSError as e: print(errno.errorcode[e.errno])"
    )
}

/// Not a test of its own: the agent of the next test, in a process that can be killed.
#[test]
fn an_agent_that_enforces_until_it_is_killed() {
    let Some(root) = std::env::var_os(VICTIM).map(PathBuf::from) else { return };
    let pins = std::env::var_os("TEPUI_TEST_AGENT_PINS").map(PathBuf::from).unwrap();
    let own: u16 = std::env::var("TEPUI_TEST_AGENT_PORT").unwrap().parse().unwrap();
    let place = Place { root, others: Vec::new(), depth: 1, pins };
    let plan = plan(&probe(&place.pins), &[Feature::Ports].into());
    let mut driver = Driver::load(place.clone(), &plan, Policy::default()).unwrap();
    let group = GroupId::of(&place.root.join("task")).unwrap();
    driver.register_task(group, &set(&[own]), None).unwrap();
    driver.attach().unwrap();
    println!("enforcing");
    loop {
        std::thread::park();
    }
}

#[test]
fn enforcement_stays_when_the_agent_is_killed_and_is_adopted_by_the_next() {
    let Some(rig) = Rig::new("killed", &[Feature::Ports]) else { return };
    let (leaf, group) = rig.leaf("task");
    let [own, foreign] = free_ports();
    let mut agent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "an_agent_that_enforces_until_it_is_killed", "--nocapture"])
        .env(VICTIM, &rig.place.root)
        .env("TEPUI_TEST_AGENT_PINS", &rig.place.pins)
        .env("TEPUI_TEST_AGENT_PORT", own.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(agent.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("enforcing")));
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert_eq!(python(&leaf, &bind_script(foreign)), "EPERM");
    assert_eq!(python(&leaf, &bind_script(own)), "ok");
    // The next agent reads what happened meanwhile, and enforces on.
    let mut driver = rig.load(Policy::default());
    assert_eq!(driver.registered().unwrap(), vec![group]);
    let entries: BTreeMap<_, _> = driver.entries().unwrap().into_iter().collect();
    assert_eq!((entries["task_ports"], entries["task_denials"]), (1, 2), "{entries:?}");
    let adopted = driver.attach().unwrap();
    assert_eq!((adopted.replaced.len(), adopted.fresh.len()), (8, 0), "{adopted:?}");
    let events = driver.take_denials().unwrap();
    assert_eq!(events.iter().map(|e| (e.group, e.port)).collect::<Vec<_>>(), [(group, foreign)]);
    assert_eq!(driver.denials(group).unwrap().unwrap().of(Operation::Bind), 1);
    assert_eq!(python(&leaf, &bind_script(foreign)), "EPERM");
    assert_eq!(python(&leaf, &bind_script(own)), "ok");
}

/// Binds the port it has and the port it has not in turns, 1,000 times a second over all families,
/// until its input ends. Prints attempts, foreign binds that went through, own binds refused.
fn hammer(own: u16, foreign: u16) -> String {
    format!(
        "import socket, errno, select, sys, time
kinds = [(f, k) for f in (socket.AF_INET, socket.AF_INET6)
         for k in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
n = went = refused = 0
begin = time.time()
print('on', flush=True)
while n % 100 or not select.select([sys.stdin], [], [], 0)[0]:
    family, kind = kinds[n // 2 % 4]
    s = socket.socket(family, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind(('', {foreign} if n % 2 else {own}))
        if n % 2: went += 1
    except OSError as e:
        if n % 2 == 0 or e.errno != errno.EPERM: refused += 1
    s.close()
    n += 1
    ahead = begin + n / 1000 - time.time()
    if ahead > 0: time.sleep(ahead)
print(n, went, refused, round(n / (time.time() - begin)))"
    )
}

#[test]
fn no_bind_slips_through_while_agents_come_and_go() {
    let Some(rig) = Rig::new("swap", &[Feature::Ports]) else { return };
    let mut driver = rig.start(Policy::default());
    let [own, foreign] = free_ports();
    let (leaf, group) = rig.task(&mut driver, "hammer", &[own]);
    let mut child = spawn_python(&leaf, &hammer(own, foreign));
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    const AGENTS: usize = 40;
    for _ in 0..AGENTS {
        drop(driver);
        driver = rig.load(Policy::default());
        driver.register_task(group, &set(&[own]), None).unwrap();
        assert_eq!(driver.attach().unwrap().replaced.len(), 8);
    }
    drop(child.stdin.take());
    line.clear();
    out.read_line(&mut line).unwrap();
    child.wait().unwrap();
    println!("{AGENTS} agents; attempts, foreign allowed, own refused, per second: {line}");
    let words: Vec<u64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert_eq!(words[1..3], [0, 0]);
    let denied = driver.denials(group).unwrap().unwrap().of(Operation::Bind);
    assert_eq!(denied, words[0] / 2);
}

#[test]
fn a_new_root_group_takes_over_from_one_that_is_gone() {
    let Some(rig) = Rig::new("root", &[Feature::Ports]) else { return };
    let driver = rig.start(Policy::default());
    drop(driver);
    let root = tepui_cgroup::Leaf::at(rig.place.root.clone());
    root.remove().unwrap();
    root.ensure().unwrap();
    let mut driver = rig.start(Policy::default());
    let [port] = free_ports();
    let (leaf, _) = rig.task(&mut driver, "task", &[]);
    assert_eq!(python(&leaf, &bind_script(port)), "EPERM");
}

/// Listens without bind and waits for datagrams on a port of no offer until its input ends, then
/// prints how many connections and datagrams came.
const HIDDEN: &str = "
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0); s.listen(1000)
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
u.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0); u.bind(('::', 0))
print(s.getsockname()[1], u.getsockname()[1], flush=True)
sys.stdin.read()
s.setblocking(False); u.setblocking(False)
came = [0, 0]
for at, get in enumerate([lambda: s.accept(), lambda: u.recv(100)]):
    while True:
        try: get(); came[at] += 1
        except BlockingIOError: break
print(*came, flush=True)
";

#[test]
fn no_packet_slips_through_while_agents_come_and_go() {
    let Some(rig) = Rig::new("packets", &[Feature::Ports]) else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, group) = rig.task(&mut driver, "hidden", &[]);
    let mut child = spawn_python(&leaf, HIDDEN);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut read = || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        line.split_whitespace().map(|word| word.parse().unwrap()).collect::<Vec<u16>>()
    };
    let ports = read();
    let stop = Arc::new(AtomicBool::new(false));
    let sender = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || attack(ports[0], ports[1], &stop))
    };
    for _ in 0..20 {
        drop(driver);
        driver = rig.load(Policy::default());
        driver.register_task(group, &set(&[]), None).unwrap();
        driver.attach().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let (connections, datagrams) = sender.join().unwrap();
    drop(child.stdin.take());
    assert_eq!(read(), [0, 0]);
    child.wait().unwrap();
    let denials = driver.denials(group).unwrap().unwrap();
    println!("{connections} connections and {datagrams} datagrams tried, {denials:?}");
    assert!(connections > 10);
    assert_eq!(denials.of(Operation::Datagram), datagrams);
    assert!(denials.of(Operation::Connection) >= connections);
}

/// Tries both ports over both families until told to stop.
fn attack(stream: u16, datagram: u16, stop: &AtomicBool) -> (u64, u64) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (mut connections, mut datagrams) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        for host in ["127.0.0.1", "[::1]"] {
            let address: SocketAddr = format!("{host}:{stream}").parse().unwrap();
            assert!(TcpStream::connect_timeout(&address, Duration::from_millis(5)).is_err());
            connections += 1;
        }
        for _ in 0..10 {
            socket.send_to(b"hidden?", ("127.0.0.1", datagram)).unwrap();
            datagrams += 1;
        }
    }
    (connections, datagrams)
}

#[test]
fn what_the_next_agent_does_not_use_is_retired_but_enforcement_stays() {
    let Some(mut rig) = Rig::new("retire", &[Feature::Ports, Feature::Cpu]) else { return };
    drop(rig.start(Policy::default()));
    let ports = ["tepui_bind4", "tepui_ingress"].map(|name| rig.link(name));
    let cpu = rig.place.pins.join("link-tepui_runtime");
    assert!(cpu.exists() && ports.iter().all(|pin| pin.exists()));
    rig.plan.programs.clear();
    let mut driver = rig.start(Policy::default());
    driver.retire_others().unwrap();
    assert!(!cpu.exists() && ports.iter().all(|pin| pin.exists()));
    driver.end_enforcement().unwrap();
    assert!(!ports.iter().any(|pin| pin.exists()));
}

#[test]
fn a_root_group_that_comes_later_is_reached_before_its_first_task() {
    let Some(mut rig) = Rig::new("later", &[Feature::Ports]) else { return };
    let later = rig.subtree.leaf("later").unwrap();
    // Both are on one level for the test's sake: a task below either is two levels below the top.
    let (first, _) = rig.leaf("first");
    rig.place.root = first.path().to_owned();
    rig.place.others = vec![later.path().to_owned()];
    let mut driver = rig.start(Policy::default());
    driver.reach().unwrap();
    later.ensure().unwrap();
    driver.reach().unwrap();
    let task = tepui_cgroup::Leaf::at(later.path().join("task"));
    task.ensure().unwrap();
    let [own, foreign] = rig::free_ports();
    driver.register_task(GroupId::of(task.path()).unwrap(), &set(&[own]), None).unwrap();
    let bind = |port: u16| {
        let script = format!(
            "import socket\ns = socket.socket()\ntry: s.bind(('', {port})); print('bound')\n\
             except PermissionError: print('refused')"
        );
        python(&task, &script)
    };
    assert_eq!((bind(own), bind(foreign)), ("bound".to_owned(), "refused".to_owned()));
    // The next agent has its root elsewhere: what is below the former one stays enforced.
    drop(driver);
    rig.place.root = rig.subtree.path().to_owned();
    rig.place.others.clear();
    rig.place.depth = 2;
    let next = rig.start(Policy::default());
    assert_eq!((bind(own), bind(foreign)), ("bound".to_owned(), "refused".to_owned()));
    drop(next);
    // A group that is gone takes its link along.
    task.remove().unwrap();
    later.remove().unwrap();
    let count = |rig: &Rig| std::fs::read_dir(&rig.place.pins).unwrap().count();
    let before = count(&rig);
    drop(rig.start(Policy::default()));
    assert!(count(&rig) < before);
}

#[test]
fn an_agent_that_died_while_it_attached_is_completed_by_the_next() {
    let Some(rig) = Rig::new("half", &[Feature::Ports]) else { return };
    drop(rig.start(Policy::default()));
    for program in ["tepui_bind6", "tepui_ingress", "tepui_sock_create"] {
        std::fs::remove_file(rig.link(program)).unwrap();
    }
    let mut driver = rig.load(Policy::default());
    let adopted = driver.attach().unwrap();
    assert_eq!((adopted.replaced.len(), adopted.fresh.len()), (5, 3), "{adopted:?}");
    let again = driver.attach().unwrap();
    assert_eq!((again.replaced.len(), again.fresh.len()), (8, 0), "{again:?}");
    assert_eq!(prove_port_enforcement(&mut driver).unwrap(), Proof::Enforced);
}

#[test]
fn a_counter_of_another_build_makes_room_for_ours() {
    let Some(rig) = Rig::new("other", &[Feature::Cpu, Feature::Faults]) else { return };
    drop(rig.start(Policy::default()));
    // The pin holds a program that is not ours of that name.
    let pin = |name: &str| rig.place.pins.join(format!("link-{name}"));
    std::fs::rename(pin("tepui_fault"), pin("tepui_runtime")).unwrap();
    let mut driver = rig.load(Policy::default());
    let adopted = driver.attach().unwrap();
    assert_eq!(adopted.replaced, ["tepui_runtime"]);
    assert_eq!(adopted.fresh, ["tepui_fault"]);
    let (leaf, _) = rig.task(&mut driver, "counted", &[]);
    python(&leaf, "sum(range(3_000_000))");
    let (bpf, file) = Rig::settled(&driver, &leaf);
    let (counted, file) = (bpf.cpu.unwrap().value.as_secs_f64(), file.as_secs_f64());
    assert!((counted / file - 1.0).abs() < 0.001, "{counted} against {file}");
}

#[test]
fn ten_thousand_tasks_leave_nothing_behind() {
    let Some(rig) = Rig::new("churn", Feature::ALL) else { return };
    let mut driver = rig.start(Policy::default());
    let ports = set(&[31000, 31002]);
    let groups: Vec<_> = (1..=10_000).map(|id| GroupId::from_raw(id << 40)).collect();
    let begin = std::time::Instant::now();
    for group in &groups {
        driver.register_task(*group, &ports, None).unwrap();
        driver.read(*group).unwrap();
    }
    assert_eq!(driver.registered().unwrap().len(), groups.len());
    for group in &groups {
        driver.unregister_task(*group).unwrap();
        driver.unregister_task(*group).unwrap();
    }
    println!("{:?} per task to register, read and forget", begin.elapsed() / 10_000);
    assert_eq!(driver.registered().unwrap(), vec![]);
    assert!(groups.iter().all(|group| driver.read(*group).unwrap() == Sample::default()));
    // A table that is full says so.
    let full = (1..20_000).find_map(|id| {
        driver.register_task(GroupId::from_raw(id << 40), &ports, None).err().map(|e| (id, e))
    });
    let (id, error) = full.unwrap();
    println!("{id}: {error}");
    assert!(id > 16_000);
}
