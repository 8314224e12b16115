//! Figures of tasks against the kernel's own; prints why it was skipped where that cannot be.

#![allow(clippy::unwrap_used)]

mod rig;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rig::{Rig, python, spawn_python};
use tepui_accounting::files::{self, Former};
use tepui_accounting::{Driver, Exit, Feature, Policy, Sample, Sender};
use tepui_cgroup::Leaf;

/// How far BPF's figure of processor time may be from the kernel's.
const CPU_TOLERANCE: f64 = 0.001;

fn cpu_against_file(name: &str, scripts: &[&str]) {
    let Some(rig) = Rig::new(name, &[Feature::Cpu, Feature::RunQueue]) else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, _) = rig.task(&mut driver, name, &[]);
    let children: Vec<_> = scripts.iter().map(|script| spawn_python(&leaf, script)).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let (bpf, file) = Rig::settled(&driver, &leaf);
    let counted = bpf.cpu.as_ref().unwrap().value;
    let off = counted.as_secs_f64() / file.as_secs_f64() - 1.0;
    let waits = &bpf.waits.as_ref().unwrap().value;
    println!(
        "{name}: bpf {counted:?}, cpu.stat {file:?}, {:+.4} %; {:?}, waited {:?}, p99 {:?}",
        off * 100.0,
        bpf.switches.as_ref().unwrap().value,
        bpf.wait.as_ref().unwrap().value,
        waits.quantile(0.99),
    );
    assert!(off.abs() < CPU_TOLERANCE, "{off}");
    assert!(waits.count() > 0);
}

#[test]
fn cpu_time_of_busy_processes_is_the_kernels() {
    let busy = "import time\nend = time.time() + 2\nwhile time.time() < end: pass";
    cpu_against_file("busy", &[busy, busy]);
}

#[test]
fn cpu_time_of_a_sleepy_process_is_the_kernels() {
    let sleepy = "import time\nend = time.time() + 2\nwhile time.time() < end: time.sleep(0.0002)";
    cpu_against_file("sleepy", &[sleepy]);
}

#[test]
fn who_ran_instead_is_told_apart() {
    let Some(rig) = Rig::new("instead", &[Feature::RunQueue]) else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, group) = rig.task(&mut driver, "wants", &[]);
    let (rival, _) = rig.task(&mut driver, "rival", &[]);
    let (stranger, _) = rig.leaf("stranger");
    let busy = "import os, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
end = time.time() + 0.5
while time.time() < end: pass";
    let told = |driver: &Driver| {
        let by = driver.read(group).unwrap().preempted.unwrap().value;
        [by.by_itself, by.by_other_task, by.by_system]
    };
    for (kind, beside) in [&leaf, &rival, &stranger].into_iter().enumerate() {
        let before = told(&driver);
        let mut rounds = 0;
        let more: [u64; 3] = loop {
            let both = [&leaf, beside].map(|place| spawn_python(place, busy));
            for child in both {
                assert!(child.wait_with_output().unwrap().status.success());
            }
            let now = told(&driver);
            let more = std::array::from_fn(|of| now[of] - before[of]);
            rounds += 1;
            // A turn is some milliseconds long; on a crowded host a round has few.
            if more[kind] >= 10 || rounds == 20 {
                break more;
            }
        };
        println!("itself, another task, the system: {more:?}");
        assert!(more[kind] >= 10, "{more:?}");
        // The system is everywhere; who is no rival here has run nothing.
        for other in [0, 1].into_iter().filter(|other| *other != kind) {
            assert_eq!(more[other], 0, "{more:?}");
        }
    }
}

#[test]
fn bytes_of_counted_datagrams_are_exact() {
    let Some(rig) = Rig::new("bytes", &[Feature::Network]) else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, group) = rig.task(&mut driver, "sender", &[]);
    let outside = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = outside.local_addr().unwrap().port();
    let script = format!(
        "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(1000): s.sendto(b'x' * 700, ('127.0.0.1', {port}))"
    );
    python(&leaf, &script);
    let net = driver.read(group).unwrap().network.unwrap().value;
    assert_eq!((net.sent.udp.packets, net.sent.udp.bytes), (1000, 1000 * (700 + 28)));
    assert_eq!(net.sent.total(), net.sent.udp);
    assert_eq!(net.received.total().packets, 0);
}

/// Raises loopback of a fresh network namespace, and sends a stream through it.
const STREAM: &str = "
import socket, struct, fcntl, threading, ctypes
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x40000000) == 0
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(s, 0x8914, struct.pack('16sh22x', b'lo', 1))
s.close()
l = socket.socket(); l.bind(('127.0.0.1', 4000)); l.listen()
def serve():
    c, _ = l.accept()
    while c.recv(65536): pass
    c.close()
t = threading.Thread(target=serve); t.start()
c = socket.socket(); c.connect(('127.0.0.1', 4000))
c.sendall(b'x' * 5000000); c.shutdown(1)
while c.recv(10): pass
t.join(); c.close(); l.close()
for line in open('/proc/net/dev'):
    if line.strip().startswith('lo:'):
        f = line.split(); print(f[1], f[2], f[9], f[10])
";

#[test]
fn bytes_of_a_stream_are_those_of_its_interface() {
    let features = [Feature::Network, Feature::Tcp];
    let Some(rig) = Rig::new("stream", &features) else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, group) = rig.task(&mut driver, "stream", &[]);
    let printed = python(&leaf, STREAM);
    let interface: Vec<u64> = printed.split(' ').map(|word| word.parse().unwrap()).collect();
    let sample = driver.read(group).unwrap();
    let net = sample.network.unwrap().value;
    println!("interface {interface:?}, bpf {net:?}");
    let (received, sent) = (net.received.tcp, net.sent.tcp);
    assert_eq!([received.bytes, received.packets], interface[0..2]);
    // What goes out is counted before the kernel cuts it up, so without the headers that this
    // adds: 20 bytes of IP and 32 of TCP for each piece.
    let content = |bytes: u64, packets: u64| bytes - 52 * packets;
    assert_eq!(content(sent.bytes, sent.packets), content(interface[2], interface[3]));
    assert!(sent.bytes > 5_000_000);
    let tcp = sample.tcp.unwrap().value;
    println!("{tcp:?}");
    assert_eq!((tcp.connected, tcp.accepted, tcp.ended), (1, 1, 2));
    assert!(tcp.round_trips.count() >= 1);
}

fn next_exits(driver: &mut Driver) -> Vec<Exit> {
    driver.take_exits().unwrap()
}

#[test]
fn an_end_names_its_status_and_the_sender_of_the_signal() {
    let Some(rig) = Rig::new("exits", &[Feature::Exits]) else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, group) = rig.task(&mut driver, "mortal", &[]);
    let (other, killers) = rig.task(&mut driver, "killer", &[]);
    python(&leaf, "pass");
    assert_eq!(next_exits(&mut driver), vec![]);
    assert_eq!(spawn_python(&leaf, "exit(7)").wait_with_output().unwrap().status.code(), Some(7));
    let exits = next_exits(&mut driver);
    assert_eq!(exits.len(), 1, "{exits:?}");
    assert_eq!((exits[0].code(), exits[0].signal(), &exits[0].sender), (Some(7), None, &None));
    // By another task.
    let victim = spawn_python(&leaf, "import sys\nprint(flush=True)\nsys.stdin.read()");
    let pid = victim.id();
    python(&other, &format!("import os\nos.kill({pid}, 15)"));
    victim.wait_with_output().unwrap();
    let exits = next_exits(&mut driver);
    assert_eq!(exits.len(), 1, "{exits:?}");
    assert_eq!((exits[0].pid, exits[0].signal(), exits[0].group), (pid, Some(15), group));
    let Some(Sender::Process { comm, group: from, .. }) = &exits[0].sender else {
        panic!("{exits:?}")
    };
    assert!(comm.starts_with("python"), "{comm}");
    assert_eq!(*from, Some(killers));
    // By the kernel: a fault of its own.
    spawn_python(&leaf, "import ctypes\nctypes.string_at(0)").wait_with_output().unwrap();
    let exits = next_exits(&mut driver);
    assert_eq!((exits[0].signal(), &exits[0].sender), (Some(11), &Some(Sender::Kernel)));
    assert!(exits[0].peak_pages > 100);
    let endings = driver.read(group).unwrap().endings.unwrap().value;
    assert_eq!((endings.exits, endings.failures, endings.signalled), (4, 1, 2));
}

#[test]
fn a_process_of_many_threads_ends_once() {
    let Some(rig) = Rig::new("threads", &[Feature::Exits]) else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, group) = rig.task(&mut driver, "parallel", &[]);
    let script = "import os, threading, time
for i in range(200):
    if os.fork() == 0:
        for _ in range(16): threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
        os._exit(i % 2)
    os.wait()";
    python(&leaf, script);
    let endings = driver.read(group).unwrap().endings.unwrap().value;
    assert_eq!((endings.exits, endings.failures, endings.signalled), (201, 100, 0));
}

#[test]
fn the_sender_of_a_real_time_signal_is_named() {
    let Some(rig) = Rig::new("realtime", &[Feature::Exits]) else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, group) = rig.task(&mut driver, "mortal", &[]);
    for signal in [34, 64] {
        let script = format!("import os\nos.kill(os.getpid(), {signal})");
        spawn_python(&leaf, &script).wait_with_output().unwrap();
        let exits = next_exits(&mut driver);
        assert_eq!(exits.len(), 1, "{exits:?}");
        assert_eq!(exits[0].signal(), Some(signal));
        let is_own = |sender: &Sender| {
            matches!(sender, Sender::Process { pid, group: from, .. }
                if (*pid, *from) == (exits[0].pid, Some(group)))
        };
        assert!(exits[0].sender.as_ref().is_some_and(is_own), "{exits:?}");
    }
}

#[test]
fn written_bytes_reach_the_task_that_wrote_them() {
    let Some(rig) = Rig::new("block", &[Feature::Block]) else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, group) = rig.task(&mut driver, "writer", &[]);
    let file = std::env::temp_dir().join(format!("tepui-block-{}", std::process::id()));
    let script = format!(
        "import os, mmap
f = os.open('{0}', os.O_CREAT | os.O_RDWR | os.O_DIRECT)
b = mmap.mmap(-1, 1 << 20); b.write(b'x' * (1 << 20))
for i in range(8): os.pwrite(f, b, i << 20)
os.fsync(f)
for i in range(4): os.preadv(f, [b], i << 20)
os.unlink('{0}')",
        file.display()
    );
    let output = rig::python_output(&leaf, &script);
    if !output.status.success() {
        eprintln!("skipped: no direct i/o here: {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let block = driver.read(group).unwrap().block.unwrap().value;
    println!("{block:?}");
    if block.written.requests == 0 {
        eprintln!("skipped: the folder for temporary files is on no block device");
        return;
    }
    assert!((8 << 20..9 << 20).contains(&block.written.bytes), "{block:?}");
    // What the interpreter reads of itself comes on top where nobody has read it before.
    assert!(block.read.bytes >= 4 << 20, "{block:?}");
    assert!(block.latency > Duration::ZERO && block.latencies.count() > 0);
}

#[test]
fn files_tell_the_same_where_there_is_no_bpf() {
    let Some(rig) = Rig::new("files", &[Feature::Cpu, Feature::RunQueue, Feature::Faults]) else {
        return;
    };
    let mut driver = rig.start(Policy::default());
    let (leaf, group) = rig.task(&mut driver, "both", &[]);
    let script = "import time, sys
b = bytearray(20 << 20)
end = time.time() + 1
while time.time() < end: time.sleep(0.001)
print(flush=True)
sys.stdin.read()";
    let mut child = spawn_python(&leaf, script);
    let mut line = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    wait_until_asleep(child.id());
    let by_files = || files::read(&leaf, &mut Former::default()).unwrap();
    // It may have slept on its way to where it rests.
    let (bpf, file) = loop {
        let (before, bpf, after) = (by_files(), driver.read(group).unwrap(), by_files());
        if before.cpu == after.cpu {
            break (bpf, after);
        }
    };
    println!("bpf {bpf:?}\nfiles {file:?}");
    let near = |a: f64, b: f64, share: f64| (a - b).abs() <= share * a.max(b) + 5.0;
    let micros = |sample: &Sample| sample.cpu.as_ref().unwrap().value.as_micros() as f64;
    assert!(near(micros(&bpf), micros(&file), 0.001));
    let voluntary = |sample: &Sample| sample.switches.as_ref().unwrap().value.voluntary as f64;
    assert!(near(voluntary(&bpf), voluntary(&file), 0.01));
    let faults = |sample: &Sample| sample.page_faults.as_ref().unwrap().value as f64;
    // Faults of system calls are in files only.
    assert!(faults(&bpf) > 500.0 && near(faults(&bpf), faults(&file), 0.1));
    let wait = |sample: &Sample| sample.wait.as_ref().unwrap().value.as_micros() as f64;
    // What a process waited before it came into the group is in its files only.
    assert!(wait(&bpf) > 0.0 && wait(&bpf) <= wait(&file) + 1000.0);
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn what_files_have_counted_does_not_shrink_with_the_end_of_a_process() {
    let Some(rig) = Rig::new("shrink", &[]) else { return };
    let (leaf, _) = rig.leaf("two");
    let script = "import sys, time
for i in range(100): time.sleep(0.001)
print(flush=True)
sys.stdin.read()";
    let mut children = [(); 2].map(|()| spawn_python(&leaf, script));
    let mut line = [0];
    for child in &mut children {
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    }
    let mut former = Former::default();
    let mut look = || files::read(&leaf, &mut former).unwrap().switches.unwrap().value.voluntary;
    let before = look();
    assert!(before >= 200, "{before}");
    for mut child in children {
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(look() >= before);
    }
}

fn wait_until_asleep(pid: u32) {
    let asleep = |text: String| text.contains(") S ");
    for _ in 0..10_000 {
        if std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(asleep) {
            return;
        }
        std::thread::yield_now();
    }
    panic!("process {pid} does not rest");
}

#[test]
fn counters_survive_the_agent() {
    let Some(rig) = Rig::new("survive", &[Feature::Cpu]) else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, group) = rig.task(&mut driver, "lasting", &[]);
    let work = "import time\nend = time.time() + 0.3\nwhile time.time() < end: pass";
    python(&leaf, work);
    drop(driver);
    python(&leaf, work);
    let mut driver = rig.load(Policy::default());
    driver.register_task(group, &rig::set(&[]), None).unwrap();
    let adopted = driver.attach().unwrap();
    assert_eq!(adopted.kept, vec!["tepui_runtime"]);
    python(&leaf, work);
    let (bpf, file) = Rig::settled(&driver, &leaf);
    let (counted, file) = (bpf.cpu.unwrap().value.as_secs_f64(), file.as_secs_f64());
    assert!((counted / file - 1.0).abs() < CPU_TOLERANCE, "{counted} against {file}");
}

/// A group in which 30 MB may be had: where the memory controller is in version 1, a group of it.
struct Tight(PathBuf);

impl Tight {
    fn beside(leaf: &Leaf) -> Option<Self> {
        let limit = |folder: &Path, file: &str| {
            std::fs::write(folder.join(file), (30 << 20).to_string()).is_ok()
        };
        if let Some(parent) = leaf.path().parent() {
            let _ = std::fs::write(parent.join("cgroup.subtree_control"), "+memory");
        }
        if limit(leaf.path(), "memory.max") {
            return Some(Self(leaf.path().to_owned()));
        }
        let name = format!("tepui-test-oom-{}", std::process::id());
        let folder = Path::new("/sys/fs/cgroup/memory").join(name);
        std::fs::create_dir(&folder).ok()?;
        let tight = Self(folder);
        limit(&tight.0, "memory.limit_in_bytes").then_some(tight)
    }
}

impl Drop for Tight {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn the_victim_of_the_out_of_memory_killer_is_named() {
    let Some(rig) = Rig::new("oom", &[Feature::Exits]) else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, group) = rig.task(&mut driver, "greedy", &[]);
    let Some(tight) = Tight::beside(&leaf) else {
        eprintln!("skipped: no memory controller here");
        return;
    };
    let script = format!(
        "open('{}/cgroup.procs', 'w').write('0')
b = bytearray(100 << 20)",
        tight.0.display()
    );
    let status = rig::python_output(&leaf, &script).status;
    let exits = next_exits(&mut driver);
    println!("{status}: {exits:?}");
    assert_eq!(exits.len(), 1, "{exits:?}");
    assert!(exits[0].out_of_memory && exits[0].signal() == Some(9));
    assert_eq!(exits[0].sender, Some(Sender::Kernel));
    assert!(exits[0].peak_pages > 4000);
    assert_eq!(driver.read(group).unwrap().oom_kills.unwrap().value, 1);
}

/// Starts a child with a given process id, as `clone3(2)` can, which ends well at once.
const TAKES_ID: &str = "
import ctypes, os, struct
wanted = (ctypes.c_int * 1)(VICTIM)
args = struct.pack('11Q', 0, 0, 0, 0, 17, 0, 0, 0, ctypes.addressof(wanted), 1, 0)
libc = ctypes.CDLL(None, use_errno=True)
child = libc.syscall(435, args, len(args))
if child == 0: os._exit(0)
assert child == VICTIM, os.strerror(ctypes.get_errno())
os.waitpid(child, 0)";

#[test]
fn who_has_the_id_of_a_former_victim_is_none() {
    let Some(rig) = Rig::new("former", &[Feature::Exits]) else { return };
    let mut driver = rig.start(Policy::default());
    let (stranger, _) = rig.leaf("stranger");
    let (leaf, group) = rig.task(&mut driver, "later", &[]);
    let Some(tight) = Tight::beside(&stranger) else {
        eprintln!("skipped: no memory controller here");
        return;
    };
    let script = format!(
        "open('{}/cgroup.procs', 'w').write('0')
b = bytearray(100 << 20)",
        tight.0.display()
    );
    let victim = spawn_python(&stranger, &script);
    let id = victim.id();
    assert!(!victim.wait_with_output().unwrap().status.success());
    python(&leaf, &TAKES_ID.replace("VICTIM", &id.to_string()));
    assert_eq!(next_exits(&mut driver), vec![]);
    let sample = driver.read(group).unwrap();
    assert_eq!((sample.endings.unwrap().value.exits, sample.oom_kills.unwrap().value), (2, 0));
}

#[test]
fn segments_sent_again_are_counted() {
    let Some(rig) = Rig::new("again", &[Feature::Tcp, Feature::Ports]) else { return };
    let mut driver = rig.start(Policy::default());
    let (deaf, _) = rig.task(&mut driver, "deaf", &[]);
    let (caller, group) = rig.task(&mut driver, "caller", &[]);
    let text = "import socket, sys
s = socket.socket(); s.listen(); print(s.getsockname()[1], flush=True); sys.stdin.read()";
    let mut child = spawn_python(&deaf, text);
    let mut line = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    let text = format!(
        "import socket
s = socket.socket(); s.settimeout(1.5)
try: s.connect(('127.0.0.1', {}))
except TimeoutError: pass",
        line.trim()
    );
    python(&caller, &text);
    drop(child.stdin.take());
    child.wait().unwrap();
    let tcp = driver.read(group).unwrap().tcp.unwrap().value;
    assert_eq!((tcp.retransmits, tcp.connected), (1, 0));
}

#[test]
fn packets_thrown_away_are_counted_in_both_directions() {
    let Some(rig) = Rig::new("drops", &[Feature::Drops]) else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, group) = rig.task(&mut driver, "lossy", &[]);
    // In: more than the socket has room for, compared with the kernel's own count for it.
    let text = "import socket, os
r = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); r.bind(('127.0.0.1', 0))
r.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(500): s.sendto(b'x' * 500, r.getsockname())
inode = os.fstat(r.fileno()).st_ino
for line in open('/proc/net/udp'):
    f = line.split()
    if f[9] == str(inode): print(f[12])";
    let lost: u64 = python(&leaf, text).parse().unwrap();
    let drops = driver.read(group).unwrap().drops.unwrap().value;
    assert!(lost > 400);
    assert_eq!((drops.received, drops.sent), (lost, Some(0)));
    // Out: a device queue without room, in a network namespace of its own.
    let text = "import socket, subprocess, ctypes
assert ctypes.CDLL(None).unshare(0x40000000) == 0
for command in ['ip link set lo up', 'tc qdisc add dev lo root bfifo limit 1']:
    subprocess.run(command.split(), check=True)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(50): s.sendto(b'x', ('127.0.0.1', 9))";
    let output = rig::python_output(&leaf, text);
    if !output.status.success() {
        eprintln!("skipped in part: {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let sent = driver.read(group).unwrap().drops.unwrap().value.sent.unwrap();
    println!("{lost} datagrams lost at the socket, {sent} packets on the way out");
    assert!((50..60).contains(&sent), "{sent}");
}
