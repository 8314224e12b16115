//! What a container shares with the one that it is below.

use nix::sys::signal::Signal;
use tepui_container::Ipc;

use crate::rig::{Host, Running, host, is_able};

/// A container that goes on, with something in its shared memory.
fn above() -> (Host, Running) {
    let host = host().shell("echo kept >/dev/shm/word; echo up; while :; do sleep 0.01; done");
    let mut running = host.start();
    assert_eq!(running.line(), "up");
    (host, running)
}

fn namespaces(host: &Host) -> Vec<String> {
    let text = host.join("readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc").printed();
    text.lines().map(str::to_owned).collect()
}

const LOOK: &str = "readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc; cat /dev/shm/word; \
                    grep -c 'while :' /proc/1/cmdline";

#[test]
fn a_container_below_another_shares_its_processes_and_memory_and_never_the_hosts() {
    if !is_able() {
        return;
    }
    let (host_above, running) = above();
    let bundle = host_above.bundle();
    let below = host().shell(LOOK).with(|order| {
        let isolation = &mut order.isolation;
        (isolation.shares_processes, isolation.ipc) = (true, Ipc::Above);
        (isolation.processes_of, isolation.ipc_of) = (Some(bundle.clone()), Some(bundle.clone()));
    });
    let printed = below.run().printed();
    let shown: Vec<&str> = printed.lines().collect();
    assert_eq!(shown[..2], namespaces(&host_above), "its namespaces");
    assert_eq!(shown[2..], ["kept", "1"], "its shared memory, and its first process");
    let changed = host().shell("echo changed >/dev/shm/word").with(|order| {
        order.isolation.ipc = Ipc::Above;
        order.isolation.ipc_of = Some(bundle.clone());
    });
    changed.run().printed();
    assert_eq!(host_above.join("cat /dev/shm/word").printed(), "changed\n");
    running.signal(Signal::SIGKILL);
    running.end();
    let late = host().shell("true").with(|order| {
        order.isolation.shares_processes = true;
        order.isolation.processes_of = Some(bundle);
    });
    let refusal = late.run().refusal;
    assert!(refusal.contains("the container above is over"), "{refusal}");
}

#[test]
fn a_container_above_cannot_lead_its_shared_memory_elsewhere() {
    if !is_able() {
        return;
    }
    let line = "cd /dev && umount shm 2>/dev/null; rmdir shm 2>/dev/null; ln -s /srv shm; echo up; \
                while :; do sleep 0.01; done";
    let host_above = host().shell(line).with(|order| order.privileged = true);
    let mut running = host_above.start();
    assert_eq!(running.line(), "up");
    let bundle = host_above.bundle();
    let below = host().shell("cat /dev/shm/second").with(|order| {
        order.isolation.ipc = Ipc::Above;
        order.isolation.ipc_of = Some(bundle);
    });
    assert_ne!(below.run().refusal, "");
    running.signal(Signal::SIGKILL);
    running.end();
}
