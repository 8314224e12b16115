use nix::sys::signal::Signal;
use tepui_container::{ExecOrder, Tty};

use crate::rig::{Host, Running, host, is_able};

fn waiting() -> (Host, Running) {
    let host = host()
        .shell("echo up; while :; do sleep 0.01; done")
        .with(|order| order.user = Some("web".into()));
    let mut running = host.start();
    assert_eq!(running.line(), "up");
    (host, running)
}

fn end(running: Running) {
    running.signal(Signal::SIGKILL);
    running.end();
}

#[test]
fn a_further_process_is_in_the_container_with_its_rights_and_no_more() {
    if !is_able() {
        return;
    }
    let (host, running) = waiting();
    let text = host.join("id -u; hostname; echo $EXTRA; cat /srv/second").printed();
    assert_eq!(text, "1234\nbox\nmore\nsecond layer\n");
    let status = host.join("cat /proc/self/status").printed();
    for expected in
        ["CapInh:\t0000000000000000", "CapEff:\t0000000000000000", "Seccomp:\t2", "NoNewPrivs:\t1"]
    {
        assert!(status.contains(expected), "{expected} in {status}");
    }
    end(running);
}

#[test]
fn a_container_of_an_earlier_release_that_has_one_folder_is_joined_too() {
    if !is_able() {
        return;
    }
    let host =
        host().shell("echo up; while :; do sleep 0.01; done").with(|order| order.scratch = None);
    let mut running = host.start();
    assert_eq!(running.line(), "up");
    assert_eq!(host.join("hostname").printed(), "box\n");
    end(running);
}

#[test]
fn a_container_whose_state_is_being_written_is_joined_when_it_is() {
    if !is_able() {
        return;
    }
    let (host, running) = waiting();
    let state = host.path("scratch/state/c/state.json");
    let whole = host.path("scratch/state/c/whole.json");
    // Until it is told that it runs.
    while !std::fs::read_to_string(&state).unwrap().contains("running") {
        std::thread::yield_now();
    }
    std::fs::rename(&state, &whole).unwrap();
    nix::unistd::mkfifo(&state, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let text = std::thread::scope(|scope| {
        let joined = scope.spawn(|| host.join("hostname").printed());
        // It opens when it is read, and has nothing in it.
        let nothing = std::fs::OpenOptions::new().write(true).open(&state).unwrap();
        std::fs::rename(&whole, &state).unwrap();
        drop(nothing);
        joined.join().unwrap()
    });
    assert_eq!(text, "box\n");
    end(running);
}

#[test]
fn a_further_process_ends_on_its_own() {
    if !is_able() {
        return;
    }
    let (host, running) = waiting();
    assert_eq!(host.join("exit 9").status.code(), Some(9));
    let absent = ExecOrder {
        argv: vec!["/bin/nothing".into()],
        environment: Vec::new(),
        working_directory: None,
        tty: None,
    };
    let ended = host.join_with(&absent);
    assert!(ended.refusal.contains("'/bin/nothing' does not exist"), "{}", ended.refusal);
    end(running);
}

#[test]
fn nothing_joins_a_container_that_is_over() {
    if !is_able() {
        return;
    }
    let (host, running) = waiting();
    end(running);
    assert_ne!(host.join("true").refusal, "");
}

#[test]
fn a_terminal_has_the_size_that_was_asked_for() {
    if !is_able() {
        return;
    }
    let tty = Some(Tty { rows: 33, columns: 121 });
    let shown = host().shell("stty size; test -t 1 && echo tty").with(|order| order.tty = tty);
    assert_eq!(shown.run().printed(), "33 121\r\ntty\r\n");
    let (host, running) = waiting();
    let joined = ExecOrder {
        argv: vec!["/bin/stty".into(), "size".into()],
        environment: Vec::new(),
        working_directory: None,
        tty,
    };
    assert_eq!(host.join_with(&joined).printed(), "33 121\r\n");
    end(running);
}

#[test]
fn much_may_be_typed_at_once_at_a_terminal_that_shows_all_of_it() {
    if !is_able() {
        return;
    }
    let (host, running) = waiting();
    let cat = ExecOrder {
        argv: vec!["/bin/cat".into(), "-n".into()],
        environment: Vec::new(),
        working_directory: None,
        tty: Some(Tty { rows: 24, columns: 80 }),
    };
    let line = "x".repeat(99) + "\n";
    let shown = host.join_typing(&cat, line.repeat(4000) + "\u{4}").printed();
    // The terminal shows what is typed as far as it finds the time, and the program all that it read.
    assert_eq!(shown.matches('\t').count(), 4000);
    assert!(shown.contains("  4000\t"));
    end(running);
}
