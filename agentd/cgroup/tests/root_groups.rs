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
