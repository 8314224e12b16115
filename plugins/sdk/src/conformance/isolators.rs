//! What every isolator promises.

use crate::{Host, Isolate, Setting, Wanted};

fn host(controllers: &[&str]) -> Host {
    let controllers = controllers.iter().map(|one| (*one).to_owned()).collect();
    Host { units: true, controllers, root: true }
}

fn run(name: &str) -> Wanted {
    Wanted {
        run: name.to_owned(),
        cpu_milli: Some(500),
        memory_bytes: Some(64 << 20),
        processes: Some(100),
        ..Wanted::default()
    }
}

fn is_list(text: &str) -> bool {
    let number = |text: &str| text.parse::<u16>().ok();
    text.split(',').all(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last)
    })
}

/// Never looser than what the run was given, and nothing with which it would not start.
fn check(wanted: &Wanted, set: &Setting) {
    let kept = |given: Option<u64>, set: Option<u64>, what: &str| {
        assert!(
            set != Some(0) || given == set,
            "a promise is broken: {what} of 0, with which no run starts"
        );
        if let (Some(given), Some(set)) = (given, set) {
            assert!(set <= given, "a promise is broken: {what} {set} is more than {given}");
        }
    };
    kept(wanted.memory_bytes, set.memory_bytes, "memory");
    kept(wanted.processes, set.processes, "processes");
    kept(wanted.cpu_milli, set.cpu_milli, "processor share");
    kept(wanted.cpu_quota_milli, set.cpu_quota_milli, "processor quota");
    kept(wanted.io_weight, set.io_weight, "share of disks");
    if let Some(list) = &set.processors {
        assert!(is_list(list), "a promise is broken: '{list}' is no list of processors");
    }
    let weight = set.io_weight.unwrap_or(1);
    assert!((1..=10_000).contains(&weight), "a promise is broken: io weight {weight}");
}

pub(super) fn all<I: Isolate>(open: &impl Fn() -> I) {
    let everything = host(&["cpu", "cpuset", "memory", "pids", "io"]);
    let mut isolator = open();
    if let Err(why) = isolator.probe(&everything) {
        assert!(!why.trim().is_empty(), "a promise is broken: a refusal has no reason");
        return;
    }
    // Nothing that a host lacks ends an isolator.
    let _ = open().probe(&Host::default());
    isolator.clean_up("never-prepared");
    for n in 0..50 {
        let wanted = run(&format!("run-{n}"));
        check(&wanted, &isolator.prepare(&wanted));
    }
    let wanted = run("run-7");
    let (one, other) = (isolator.prepare(&wanted), isolator.prepare(&wanted));
    assert_eq!(one, other, "a promise is broken: a run stays as it was prepared");
    check(&Wanted::default(), &isolator.prepare(&Wanted::default()));
    let own = Wanted { processors: Some("0".to_owned()), ..run("run-of-one") };
    let set = isolator.prepare(&own);
    check(&own, &set);
    let more = set.processors.filter(|list| list != "0" && list != "0-0");
    assert_eq!(more, None, "a promise is broken: a run has more processors than it was given");
    for n in 0..50 {
        isolator.clean_up(&format!("run-{n}"));
    }
    isolator.clean_up("run-7");
}
