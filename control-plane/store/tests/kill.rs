//! Acknowledged batches survive `kill -9` of the process that committed them, whole (invariants
//! I-12 and I-49).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use tepui_store::{Batch, Embedded, Op, Store};
use tepui_types::{Entropy, Uuid};

/// Set in the child: the directory it writes to. Its other half is the round, `TEPUI_KILL_ROUND`.
const PLACE: &str = "TEPUI_KILL_PLACE";
const KEYS_PER_BATCH: u64 = 7;
const ROUNDS: u64 = 12;

fn open(place: &Path) -> Embedded {
    Embedded::open(place, Uuid::from_bytes([1; 16])).expect("the store opens")
}

/// Every batch writes its number under the same keys and one key of its own, with a value that
/// takes several pages now and then.
fn batch(number: u64) -> Batch {
    let shared = (0..KEYS_PER_BATCH)
        .map(|i| Op::Put { key: format!("shared/{i}"), value: number.to_string().into_bytes() });
    let length = if number.is_multiple_of(10) { 20_000 } else { 100 };
    let own = Op::Put { key: format!("own/{number:08}"), value: vec![0; length] };
    Batch { ops: shared.chain([own]).collect() }
}

/// Not a test of its own: the process that is killed. Does nothing unless it is the child.
#[test]
fn the_killed_process_commits_until_it_dies() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let mut store = open(Path::new(&place));
    let term = store.acquire().unwrap();
    let first = store.load("own/").unwrap().len() as u64;
    let mut out = std::io::stdout();
    for number in first.. {
        store.commit(term, batch(number)).unwrap();
        writeln!(out, "acknowledged {number}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn every_acknowledged_batch_survives_kill_nine_and_none_is_half_there() {
    let place = tempfile::tempdir().unwrap();
    let mut entropy = Entropy::seeded(9);
    let mut acknowledged = None;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_killed_process_commits_until_it_dies", "--nocapture"])
            .env(PLACE, place.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut until_kill = entropy.below(300) + 1;
        for line in lines {
            if let Some(number) = line.strip_prefix("acknowledged ") {
                acknowledged = Some(number.parse::<u64>().unwrap());
                until_kill = until_kill.saturating_sub(1);
                // The child goes on while the signal is on its way; what it still acknowledges
                // is read from the pipe.
                if until_kill == 0 {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        let last = acknowledged.expect("the child acknowledged something");
        let store = open(place.path());
        let own = store.load("own/").unwrap();
        let newest = own.len() as u64 - 1;
        assert!(newest >= last, "round {round}: {last} was acknowledged, {newest} is the newest");
        let shared: BTreeMap<_, _> = store.load("shared/").unwrap().into_iter().collect();
        assert_eq!(shared.len() as u64, KEYS_PER_BATCH);
        for (key, value) in shared {
            assert_eq!(
                value,
                newest.to_string().into_bytes(),
                "round {round}: {key} is of another batch"
            );
        }
        assert_eq!(own.last().unwrap().0, format!("own/{newest:08}"));
    }
}
