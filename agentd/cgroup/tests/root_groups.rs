//! Against the host's own hierarchy; prints why it was skipped where groups cannot be made.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use rustix::process::Pid;
use tepui_cgroup::{Mount, Subtree};

/// A subtree for one test, or the reason why this host has none.
fn subtree(name: &str) -> Option<Subtree> {
    let made = Mount::probe().and_then(|mount| {
        Subtree::ensure(&mount, &format!("tepui-test-{name}-{}", std::process::id()))
    });
    match made {
        Ok(subtree) => Some(subtree),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn sleeper() -> (Child, Pid) {
    let child =
        Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("sleep starts");
    let pid = Pid::from_child(&child);
    (child, pid)
}

#[test]
fn a_placed_process_is_listed_killed_and_its_group_removed() {
    let Some(subtree) = subtree("place") else { return };
    let (mut child, pid) = sleeper();
    let leaf = subtree.leaf("run-1").unwrap();
    leaf.ensure().unwrap();
    leaf.ensure().unwrap();
    leaf.place(pid).unwrap();
    assert_eq!(leaf.pids().unwrap(), vec![pid]);
    assert!(leaf.is_populated().unwrap());
    leaf.cpu().unwrap();
    assert!(leaf.remove().is_err(), "a populated group must not vanish");
    leaf.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert!(!leaf.is_populated().unwrap());
    leaf.remove().unwrap();
    leaf.remove().unwrap();
    assert_eq!(leaf.pids().unwrap(), vec![]);
    leaf.kill().unwrap();
    tepui_cgroup::Leaf::at(subtree.path().to_owned()).remove().unwrap();
}

#[test]
fn groups_below_a_group_are_killed_and_removed_with_it() {
    let Some(subtree) = subtree("nested") else { return };
    let (mut child, pid) = sleeper();
    let leaf = subtree.leaf("run-1").unwrap();
    leaf.ensure().unwrap();
    let inner = tepui_cgroup::Leaf::at(leaf.path().join("inner"));
    inner.ensure().unwrap();
    inner.place(pid).unwrap();
    assert_eq!(leaf.pids().unwrap(), vec![pid]);
    leaf.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    leaf.remove().unwrap();
    assert!(!leaf.exists());
    tepui_cgroup::Leaf::at(subtree.path().to_owned()).remove().unwrap();
}

#[test]
fn the_proof_ends_the_process_it_was_given() {
    let Some(subtree) = subtree("proof") else { return };
    let (mut child, pid) = sleeper();
    let leaf = subtree.prove(pid).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    leaf.remove().unwrap();
    tepui_cgroup::Leaf::at(subtree.path().to_owned()).remove().unwrap();
}

#[test]
fn fresh_groups_are_never_shared_and_a_sweep_removes_only_empty_ones() {
    let Some(subtree) = subtree("sweep") else { return };
    let (mut child, pid) = sleeper();
    let (used, empty) = (subtree.fresh_leaf().unwrap(), subtree.fresh_leaf().unwrap());
    assert_ne!(used, empty);
    used.place(pid).unwrap();
    assert_eq!(subtree.sweep(std::time::Duration::from_secs(3600)).unwrap(), 0);
    assert_eq!(subtree.sweep(std::time::Duration::ZERO).unwrap(), 1);
    assert!(used.exists() && !empty.exists());
    used.kill().unwrap();
    child.wait().unwrap();
    used.remove().unwrap();
    tepui_cgroup::Leaf::at(subtree.path().to_owned()).remove().unwrap();
}

/// A client in this group, which leaves it when it is told something.
const CLIENT: &str = "echo $$ >$0/cgroup.procs; exec 3<>/dev/tcp/127.0.0.1/$1; read word <&3; \
                      echo $$ >$0/../cgroup.procs; echo gone >&3; read word <&3";

#[test]
fn a_client_is_where_its_socket_was_made_and_unclear_when_that_group_is_gone() {
    use std::io::{Read, Write};
    let Some(subtree) = subtree("client") else { return };
    let clients = tepui_cgroup::Clients::probe().expect("a kernel since 5.8");
    let task = subtree.fresh_leaf().unwrap();
    let own = task.path().join("made-by-itself");
    std::fs::create_dir(&own).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut bash = Command::new("bash");
    let mut child = bash.args(["-c", CLIENT]).arg(&own).arg(port).spawn().unwrap();
    let (mut server, peer) = listener.accept().unwrap();
    let local = server.local_addr().unwrap();
    assert_eq!(clients.origin(peer, local), tepui_cgroup::Origin::Group(own.clone()));
    server.write_all(b"leave\n").unwrap();
    server.read_exact(&mut [0; 5]).unwrap();
    std::fs::remove_dir(&own).unwrap();
    let origin = clients.origin(peer, local);
    assert!(matches!(origin, tepui_cgroup::Origin::Unclear(_)), "{origin:?}");
    server.write_all(b"end\n").unwrap();
    child.wait().unwrap();
    task.remove().unwrap();
    tepui_cgroup::Leaf::at(subtree.path().to_owned()).remove().unwrap();
}
