//! What becomes of the command's output.

use tepui_launch::{Ending, Launcher, LogPolicy};

use crate::workbench::Bench;

#[tokio::test]
async fn both_streams_are_kept_apart_and_complete() {
    let mut bench = Bench::new();
    bench.start("streams", "echo out; echo err >&2; seq 1 50000").await;
    assert_eq!(bench.ended().await.lost_output_bytes, 0);
    assert_eq!(bench.read("streams", "stderr"), "err\n");
    let expected: String = std::iter::once("out".to_owned())
        .chain((1..=50000).map(|n| n.to_string()))
        .fold(String::new(), |mut text, line| {
            text.push_str(&line);
            text.push('\n');
            text
        });
    assert!(bench.read("streams", "stdout") == expected, "output differs");
}

#[tokio::test]
async fn files_are_rotated_by_size_and_only_so_many_are_kept() {
    let mut bench = Bench::new();
    let mut spec = bench.spec("rotate", "for i in 1 2 3 4 5; do printf aaaaaaaaa$i; done");
    spec.log_policy = LogPolicy { max_bytes: 10, keep: 2 };
    bench.launcher.start(spec).await.unwrap();
    assert_eq!(bench.ending().await, Ending::Exited(0));
    let found = ["stdout", "stdout.1", "stdout.2"].map(|name| bench.read("rotate", name));
    assert_eq!(found, ["aaaaaaaaa5", "aaaaaaaaa4", "aaaaaaaaa3"]);
    assert!(!bench.sandbox("rotate").join("stdout.3").exists());
}

#[tokio::test]
async fn a_command_that_replaces_its_log_by_a_link_writes_to_nothing_else() {
    let mut bench = Bench::new();
    let victim = bench.dir.path().join("victim");
    std::fs::write(&victim, "kept").unwrap();
    let line = format!("rm stdout; ln -s {} stdout; seq 1 1000", victim.display());
    let mut spec = bench.spec("link", &line);
    spec.log_policy = LogPolicy { max_bytes: 100, keep: 1 };
    bench.launcher.start(spec).await.unwrap();
    assert_eq!(bench.ending().await, Ending::Exited(0));
    assert_eq!(std::fs::read_to_string(victim).unwrap(), "kept");
}

#[tokio::test]
async fn a_command_that_closes_its_output_goes_on() {
    let mut bench = Bench::new();
    let gate = bench.gate("quiet");
    bench.start("quiet", "exec >&- 2>&-; echo on > gate; exit 3").await;
    assert_eq!(gate.passed().await, "on\n");
    assert_eq!(bench.ending().await, Ending::Exited(3));
}
