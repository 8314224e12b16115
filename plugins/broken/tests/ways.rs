//! Each way of being broken is refused or contained, with one line that says what it is.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::chown;

use support::{Rig, example, reported};
use tepui_plugin_abi::MAGIC;
use tepui_plugin_host::{Kind, PluginAllocator, Runner, Shelf, Standing};

#[test]
fn what_is_no_plugin_is_refused_before_anything_of_it_runs() {
    let rig = Rig::new();
    rig.install_bytes("text", b"#!/bin/sh\n");
    assert_eq!(rig.refusal("text"), "plugin text: its file is no library at all (no ELF)");
    rig.install("no_plugin", "no-plugin");
    assert!(rig.refusal("no-plugin").contains("a library without a plugin's card"));
    assert!(rig.refusal("nowhere").contains("No such file"));
    assert!(rig.refusal("../x").contains("is no name of a plugin"));
}

#[test]
fn what_was_built_for_something_else_is_refused_by_what_differs() {
    let rig = Rig::new();
    rig.install("wrong_abi", "wrong-abi");
    let why = rig.refusal("wrong-abi");
    assert_eq!(
        why,
        "plugin wrong-abi: it was built for version 9 of the plugin boundary, and this daemon has 1"
    );
    rig.install("wrong_layout", "wrong-layout");
    let why = rig.refusal("wrong-layout");
    assert!(why.starts_with("plugin wrong-layout: its functions differ from those of"), "{why}");
    assert!(why.len() < 600 && why.contains("u32") && why.contains("u64"), "{why}");
    rig.install("other_kind", "other-kind");
    let why = rig.refusal("other-kind");
    assert!(why.ends_with("of the kind isolator, and one of the kind allocator is needed here"));
    rig.install("lies", "lies");
    let why = rig.refusal("lies");
    assert_eq!(why, "plugin lies: its card says allocator, and its module isolator");
    rig.install("dominant", "misbehaves");
    assert_eq!(rig.refusal("misbehaves"), "plugin misbehaves: it calls itself 'dominant'");
}

#[test]
fn a_kind_that_nothing_uses_yet_and_panics_that_would_end_the_daemon_are_refused() {
    let rig = Rig::new();
    let patched = |from: &str, to: &str| {
        let mut bytes = example("dominant");
        let at = bytes.windows(from.len()).position(|some| some == from.as_bytes()).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        rig.install_bytes("dominant", &bytes);
        rig.refusal("dominant")
    };
    let why = patched("kind=allocator/1\nname=dominant", "kind=hook/0\nname=dominant\nx=");
    assert!(why.ends_with("of the kind hook, for which no daemon has a use yet"), "{why}");
    let why = patched("kind=allocator/1", "kind=allocator/7");
    assert!(why.ends_with("it speaks version 7 of the kind allocator, and this daemon 1"), "{why}");
    assert!(patched("panic=unwind", "panic=abort\n").contains("panics would end this daemon"));
}

#[test]
fn a_file_that_others_can_change_or_that_changed_is_refused() {
    let mut rig = Rig::new();
    let path = rig.install("dominant", "dominant");
    rig.set_mode(&path, 0o666);
    let why = rig.refusal("dominant");
    assert!(why.ends_with("can be changed by others than its owner (mode 0666)"), "{why}");
    rig.set_mode(&path, 0o644);
    if chown(&path, Some(4711), None).is_ok() {
        assert!(rig.refusal("dominant").ends_with("is owned by user 4711, not by root"));
        chown(&path, Some(0), None).unwrap();
    }
    rig.configure(&format!("[dominant]\nsha256 = '{}'", "0".repeat(64)));
    let why = rig.refusal("dominant");
    assert!(why.contains("has the hash") && why.contains("0000 is configured"), "{why}");
    rig.configure("");
    assert!(rig.open("dominant").is_ok());
}

#[test]
fn a_loaded_file_that_is_written_over_is_refused_and_another_one_in_its_place_is_not() {
    let rig = Rig::new();
    let path = rig.install("dominant", "dominant");
    rig.open("dominant").unwrap();
    // What a program maps is the file itself: only its end may change without harm to this test.
    let mut bytes = example("dominant");
    bytes.push(0);
    let file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut &file, &[0]).unwrap();
    assert!(rig.refusal("dominant").contains("was written over while it was loaded"));
    rig.install_bytes("dominant", &bytes);
    assert!(rig.open("dominant").is_ok());
}

#[test]
fn a_library_that_is_loaded_again_and_again_is_held_open_once() {
    let rig = Rig::new();
    let path = rig.install("dominant", "dominant").canonicalize().unwrap();
    for _ in 0..3 {
        let plugin = rig.open("dominant").unwrap();
        assert!(plugin.round(Default::default()).is_ok());
    }
    let leads_there = |entry: &fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|to| to == path);
    let held = fs::read_dir("/proc/self/fd").unwrap().flatten().filter(leads_there).count();
    assert_eq!(held, 1);
}

#[test]
fn a_library_that_was_copied_in_part_is_refused_before_anybody_reads_it() {
    let rig = Rig::new();
    let bytes = example("dominant");
    let card = bytes.windows(MAGIC.len()).position(|some| some == MAGIC).unwrap();
    for there in [card + 4096, bytes.len() - 1] {
        rig.install_bytes("dominant", &bytes[..there]);
        let whole = bytes.len();
        assert_eq!(
            rig.refusal("dominant"),
            format!(
                "plugin dominant: its file is not a whole library: {there} of {whole} bytes that its \
                 head and tables name"
            )
        );
    }
    rig.install_bytes("dominant", &bytes);
    assert!(rig.open("dominant").is_ok());
}

#[test]
fn what_the_system_did_not_load_may_be_written_over() {
    let rig = Rig::new();
    let good = example("dominant");
    let mut lacks = good.clone();
    let needed = b"libc.so.6\0";
    let places: Vec<usize> =
        (0..lacks.len() - needed.len()).filter(|at| lacks[*at..].starts_with(needed)).collect();
    assert!(!places.is_empty());
    for at in places {
        lacks[at..at + 9].copy_from_slice(b"nowhere.6");
    }
    let path = rig.install_bytes("dominant", &lacks);
    let why = rig.refusal("dominant");
    assert!(
        why.contains("the system cannot load its library") && why.contains("nowhere.6"),
        "{why}"
    );
    fs::write(&path, &good).unwrap();
    assert!(rig.open("dominant").is_ok());
}

#[test]
fn one_that_does_not_open_is_refused_with_its_own_words() {
    let mut rig = Rig::new();
    rig.install("misbehaves", "misbehaves");
    let mut why = |how: &str| {
        rig.configure(&format!("[misbehaves]\nbudget_ms = 50\nsettings.how = '{how}'"));
        rig.refusal("misbehaves")
    };
    assert_eq!(why("refuses"), "plugin misbehaves: open was refused: nothing here is good enough");
    assert_eq!(why("panics_on_load"), "plugin misbehaves: open panicked: cannot stand it here");
    assert_eq!(why("hangs_on_load"), "plugin misbehaves: it took longer than 500 ms to load");
    assert!(why("dances").contains("unknown variant `dances`"));
}

#[test]
fn a_plugin_is_tried_before_a_daemon_needs_it_also_one_for_another_host() {
    let mut rig = Rig::new();
    let path = rig.install("misbehaves", "misbehaves");
    let mut tried = |how: &str| {
        rig.configure(&format!("[misbehaves]\nsettings.how = '{how}'"));
        let on = |shelf: &Shelf| shelf.try_plugin("misbehaves", Kind::Allocator);
        rig.set_mode(&path, 0o644);
        let here = on(&rig.shelf);
        assert_eq!(on(&rig.elsewhere()), here);
        rig.set_mode(&path, 0o666);
        let why = on(&rig.shelf).unwrap_err();
        assert!(why.contains("mode 0666"), "{why}");
        assert_eq!(on(&rig.elsewhere()), here, "whoever owns it here");
        here
    };
    assert_eq!(tried("behaves"), Ok(()));
    let why = tried("refuses").unwrap_err();
    assert_eq!(why, "plugin misbehaves: open was refused: nothing here is good enough");
    assert!(tried("dances").unwrap_err().contains("unknown variant `dances`"));
    let why = rig.elsewhere().try_plugin("misbehaves", Kind::Isolator).unwrap_err();
    assert!(why.ends_with("one of the kind isolator is needed here"), "{why}");
}

#[test]
fn one_that_fails_is_listed_and_counted() {
    let mut rig = Rig::new();
    rig.install("misbehaves", "misbehaves");
    rig.configure("[misbehaves]\nsettings.how = 'panics'");
    let plugin: PluginAllocator = rig.open("misbehaves").unwrap();
    let failure = plugin.round(Default::default()).unwrap_err();
    assert_eq!(failure.to_string(), "round panicked: lost the plan");
    plugin.condemn(&failure, "drf");
    let report = reported(&rig.board, "misbehaves");
    assert!(matches!(report.standing, Standing::Failed { .. }));
    let families = rig.board.families().unwrap();
    let errors = families.iter().find(|one| one.name() == "tepui_plugin_errors_total").unwrap();
    assert!((errors.get_metric()[0].get_counter().get_value() - 1.0).abs() < f64::EPSILON);
    assert!(plugin.round(Default::default()).unwrap_err().to_string().contains("failed before"));
}

#[test]
fn an_isolator_that_loosens_what_runs_are_held_to_is_put_out_of_use() {
    use tepui_plugin_host::isolator::{Host, PluginIsolator, Setting, Wanted};
    let rig = Rig::new();
    rig.install("other_kind", "other-kind");
    let isolator = PluginIsolator::open(&rig.shelf, "other-kind", 1, &rig.board).unwrap();
    isolator.probe(&Host::default()).unwrap();
    let wanted = Wanted { memory_bytes: Some(100), ..Wanted::default() };
    assert_eq!(isolator.prepare(&wanted), Setting::default());
    let Standing::Failed { reason, .. } = reported(&rig.board, "other-kind").standing else {
        panic!("it is still in use");
    };
    assert_eq!(reason, "prepare answered nonsense: memory of 200 where a run was given 100");
    assert_eq!(isolator.prepare(&wanted), Setting::default());
}

#[test]
fn an_instance_belongs_to_the_thread_that_opened_it_and_ends_with_its_handle() {
    let rig = Rig::new();
    rig.install("dominant", "dominant");
    let runner = Runner::start(&rig.shelf, "dominant", Kind::Allocator, 1, &rig.board).unwrap();
    let why = runner.call("dance", 99, Vec::new()).unwrap_err().to_string();
    assert_eq!(why, "dance was refused: an allocator of this sdk has no method 99");
    let why = runner.call("apply", 1, vec![0xff; 9]).unwrap_err().to_string();
    assert!(why.starts_with("apply was refused: a list of inputs is malformed"), "{why}");
}
