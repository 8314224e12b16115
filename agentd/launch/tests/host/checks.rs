//! Short commands beside a run.

use std::time::Duration;

use tepui_launch::{CheckOutcome, CheckSpec, Ending, LaunchError, Launcher, Program, Rights};

use crate::workbench::{Bench, id, is_root, watch};

fn check(bench: &Bench, line: &str, timeout: Duration) -> CheckSpec {
    CheckSpec {
        sandbox: bench.sandbox("checked"),
        program: Program::Shell(line.to_owned()),
        env: vec![("PORT".to_owned(), "31000".to_owned())],
        user: None,
        answers: false,
        timeout,
        beside: Some(id("checked")),
        network: None,
    }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_exit_code_and_the_beginning_of_the_output_are_reported() {
    let mut bench = Bench::new();
    bench.start("checked", "sleep 100020").await;
    let line = "echo port $PORT; pwd >&2; exit 3";
    let reply = bench.launcher.exec_check(check(&bench, line, LONG)).await.unwrap();
    assert_eq!(reply.outcome, CheckOutcome::Ended(Ending::Exited(3)));
    let output = String::from_utf8(reply.output).unwrap();
    assert!(output.contains("port 31000"), "{output}");
    let flood = bench.launcher.exec_check(check(&bench, "seq 1 1000000", LONG)).await.unwrap();
    assert_eq!(flood.outcome, CheckOutcome::Ended(Ending::Exited(0)));
    assert_eq!(flood.output.len(), 4096);
    bench.launcher.kill_tree(&id("checked")).unwrap();
    assert_eq!(bench.ending().await, Ending::Signaled { signal: 9, core_dumped: false });
}

#[tokio::test]
async fn a_check_that_takes_too_long_is_killed_with_all_it_started() {
    let bench = Bench::new();
    let gate = bench.gate("checked");
    let line = "setsid sh -c 'trap \"\" TERM; sleep 100021' & echo $$ $! > gate; wait";
    let spec = check(&bench, line, Duration::from_millis(300));
    let (reply, pids) = tokio::join!(bench.launcher.exec_check(spec), gate.passed());
    assert_eq!(reply.unwrap().outcome, CheckOutcome::TimedOut);
    for pid in pids.split_whitespace() {
        watch(pid).gone();
    }
}

#[tokio::test]
async fn a_check_nobody_waits_for_is_killed() {
    let bench = Bench::new();
    let gate = bench.gate("checked");
    let launcher = bench.launcher.clone();
    let spec = check(&bench, "echo $$ > gate; sleep 100022", LONG);
    let waiting = tokio::spawn(async move { launcher.exec_check(spec).await });
    let process = watch(&gate.passed().await);
    waiting.abort();
    assert!(waiting.await.is_err());
    process.gone();
}

#[tokio::test]
async fn a_failing_check_does_not_touch_its_run() {
    let mut bench = Bench::new();
    let gate = bench.gate("checked");
    bench.start("checked", "echo on > gate; sleep 100023").await;
    gate.passed().await;
    let spec = check(&bench, "sleep 100024", Duration::from_millis(50));
    let reply = bench.launcher.exec_check(spec).await.unwrap();
    assert_eq!(reply.outcome, CheckOutcome::TimedOut);
    assert!(bench.launcher.usage(&id("checked")).unwrap().processes >= 1);
    assert!(bench.events.try_recv().is_err());
    bench.launcher.kill_tree(&id("checked")).unwrap();
    bench.ending().await;
}

#[tokio::test]
async fn a_check_that_cannot_be_started_says_why() {
    let bench = Bench::new();
    let mut spec = check(&bench, "true", LONG);
    spec.sandbox = "/no/such/place".into();
    let reply: Result<_, LaunchError> = bench.launcher.exec_check(spec).await;
    let CheckOutcome::NotStarted(reason) = reply.unwrap().outcome else { panic!("it started") };
    assert!(reason.contains("failed to enter sandbox '/no/such/place'"), "{reason}");
}

/// A task that may do next to nothing, and then tells it; what is beside it tells the same.
#[tokio::test]
async fn what_is_beside_a_confined_run_has_its_rights_and_its_namespaces() {
    if !is_root() {
        return;
    }
    let line = "grep -E '^(Cap|NoNewPrivs)' /proc/self/status; readlink /proc/self/ns/ipc";
    let mut bench = Bench::new();
    let gate = bench.gate("checked");
    let mut spec = bench.spec("checked", &format!("({line}) > gate; exec sleep 100022"));
    spec.confinement.rights = Rights {
        bounding: Some(1 << 10),
        no_new_privileges: true,
        own_ipc: true,
        ..Rights::default()
    };
    let (started, own) = tokio::join!(bench.launcher.start(spec), gate.passed());
    started.unwrap();
    assert!(own.contains("CapBnd:\t0000000000000400") && own.contains("NoNewPrivs:\t1"), "{own}");
    for _ in 0..2 {
        bench.launcher.recover(vec![bench.known("checked")]).await;
        let reply = bench.launcher.exec_check(check(&bench, line, LONG)).await.unwrap();
        assert_eq!(String::from_utf8(reply.output).unwrap(), own);
        // An agent that was started anew knows them too.
        bench = bench.restart();
    }
    bench.launcher.recover(vec![bench.known("checked")]).await;
    bench.launcher.kill_tree(&id("checked")).unwrap();
    bench.ending().await;
}
