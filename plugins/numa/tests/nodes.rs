//! Where tasks run on hosts with several nodes, by a folder that looks like the kernel's.
#![allow(clippy::unwrap_used)]

use std::fs;

use numa::{Numa, Settings};
use tepui_plugin_sdk::{Host, Isolate, Wanted, conformance};

/// A host with these lists of processors, node by node.
fn kernel(lists: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (number, list) in lists.iter().enumerate() {
        let node = folder.path().join(format!("node{number}"));
        fs::create_dir(&node).unwrap();
        fs::write(node.join("cpulist"), format!("{list}\n")).unwrap();
    }
    fs::write(folder.path().join("online"), "0\n").unwrap();
    folder
}

fn host() -> Host {
    Host { units: true, controllers: vec!["cpuset".into()], root: true }
}

fn probed(kernel: &tempfile::TempDir, strict: bool) -> Result<Numa, String> {
    let mut numa = Numa::new(Settings { strict, sysfs: kernel.path().into() });
    numa.probe(&host())?;
    Ok(numa)
}

fn run(name: &str, milli: u64) -> Wanted {
    Wanted { run: name.into(), cpu_milli: Some(milli), ..Wanted::default() }
}

fn place(numa: &mut Numa, name: &str, milli: u64) -> Option<String> {
    numa.prepare(&run(name, milli)).processors
}

#[test]
fn tasks_spread_over_nodes_by_the_room_that_is_left() {
    let kernel = kernel(&["0-3,8-11", "4-7,12-15"]);
    let mut numa = probed(&kernel, true).unwrap();
    assert_eq!(place(&mut numa, "a", 6000).unwrap(), "0-3,8-11");
    assert_eq!(place(&mut numa, "b", 1000).unwrap(), "4-7,12-15");
    assert_eq!(place(&mut numa, "c", 1000).unwrap(), "4-7,12-15");
    numa.clean_up("a");
    assert_eq!(place(&mut numa, "d", 1000).unwrap(), "0-3,8-11");
}

#[test]
fn a_task_stays_on_its_node_when_its_limits_change() {
    let kernel = kernel(&["0-1", "2-3"]);
    let mut numa = probed(&kernel, false).unwrap();
    assert_eq!(place(&mut numa, "a", 100).unwrap(), "0-1");
    assert_eq!(place(&mut numa, "b", 100).unwrap(), "2-3");
    assert_eq!(place(&mut numa, "a", 1900).unwrap(), "0-1");
}

#[test]
fn who_asks_for_processors_gets_them_and_who_is_larger_than_a_node_gets_all() {
    let kernel = kernel(&["0-1", "2-3"]);
    let mut numa = probed(&kernel, false).unwrap();
    let own = Wanted { processors: Some("1".into()), ..run("a", 100) };
    assert_eq!(numa.prepare(&own).processors, None);
    assert_eq!(place(&mut numa, "b", 3000), None);
}

#[test]
fn one_node_is_refused_only_when_that_is_asked_for() {
    let single = kernel(&["0-7"]);
    let why = probed(&single, true).unwrap_err();
    assert!(why.contains("one memory node only"), "{why}");
    assert_eq!(place(&mut probed(&single, false).unwrap(), "a", 100), None);
    // Memory without processors is no place to run.
    assert!(probed(&kernel(&["0-7", ""]), true).is_err());
}

#[test]
fn what_cannot_be_read_is_said() {
    let why = probed(&kernel(&["0-3", "7-4"]), false).unwrap_err();
    assert!(why.contains("node1/cpulist holds '7-4'"), "{why}");
    let why = probed(&kernel(&[]), false).unwrap_err();
    assert!(why.contains("no node"), "{why}");
    let mut numa = Numa::new(Settings { strict: false, sysfs: "/nowhere".into() });
    assert!(numa.probe(&host()).unwrap_err().contains("/nowhere"));
    assert!(numa.probe(&Host::default()).unwrap_err().contains("cpuset"));
}

#[test]
fn it_keeps_what_every_isolator_promises() {
    let kernel = kernel(&["0-3", "4-7"]);
    let settings = Settings { strict: true, sysfs: kernel.path().into() };
    conformance::isolator(|| Numa::new(settings.clone()));
    conformance::isolator(|| Numa::new(Settings::default()));
}
