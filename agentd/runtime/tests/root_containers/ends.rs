use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;

use crate::rig::{host, is_able};

#[test]
fn the_exit_code_is_the_tasks() {
    if !is_able() {
        return;
    }
    for code in [0, 3, 255] {
        let ended = host().shell(&format!("exit {code}")).run();
        assert_eq!((ended.status.code(), ended.refusal.as_str()), (Some(code), ""));
    }
}

#[test]
fn a_signal_that_ends_the_task_ends_the_runtime() {
    if !is_able() {
        return;
    }
    // The first process of a container is out of reach for its own SIGKILL: the host sends it.
    let host = host().shell("echo up; exec sleep 1000");
    let mut running = host.start();
    assert_eq!(running.line(), "up");
    let children = format!("/proc/{0}/task/{0}/children", running.pid());
    let init: i32 = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(init), Signal::SIGKILL).unwrap();
    assert_eq!(running.end().status.signal(), Some(9));
}

#[test]
fn a_request_to_end_reaches_the_task_as_the_signal_it_wants() {
    if !is_able() {
        return;
    }
    for (stop, name) in [(None, "TERM"), (Some("SIGUSR2"), "USR2"), (Some("1"), "HUP")] {
        let line =
            format!("trap 'echo got {name}; exit 5' {name}; echo up; while :; do sleep 0.01; done");
        let host = host().shell(&line).with(|order| order.stop_signal = stop.map(str::to_owned));
        let mut running = host.start();
        assert_eq!(running.line(), "up");
        running.signal(Signal::SIGTERM);
        let ended = running.end();
        assert_eq!((ended.status.code(), ended.out), (Some(5), format!("got {name}\n")));
    }
}

#[test]
fn everything_in_a_container_goes_with_its_runtime() {
    if !is_able() {
        return;
    }
    let host = host().shell("sleep 1000 & echo up; wait");
    let mut running = host.start();
    assert_eq!(running.line(), "up");
    running.signal(Signal::SIGKILL);
    // The pipe ends when the last process that could write to it is gone.
    let ended = running.end();
    assert_eq!((ended.status.signal(), ended.out), (Some(9), String::new()));
}

#[test]
fn a_container_leaves_no_mount_on_its_host() {
    if !is_able() {
        return;
    }
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let host = host().shell("echo up; while :; do sleep 0.01; done");
    let mut running = host.start();
    assert_eq!(running.line(), "up");
    let dir = host.path("").to_string_lossy().into_owned();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&dir), "{mounts}\n\nbefore: {before}");
    running.signal(Signal::SIGKILL);
    running.end();
}
