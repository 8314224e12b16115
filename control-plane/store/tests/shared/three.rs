//! Three servers, one of which dies while it is written to: what was acknowledged is there, and no
//! term is anybody else's too (invariants I-12, I-15, I-16).

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tepui_ensemble::Kind;
use tepui_ensemble::servers::Server;
use tepui_store::{Batch, Store, StoreError};
use tepui_types::Term;

use crate::place::{Place, put};

/// Writes before the first server dies, and after each event.
const WRITES: usize = 60;
const PATIENCE: Duration = Duration::from_secs(60);

/// What writers saw.
#[derive(Default)]
struct Seen {
    /// Terms in the order in which they were won, by one lock after the other.
    terms: Mutex<Vec<Term>>,
    acknowledged: Mutex<BTreeSet<String>>,
    count: AtomicUsize,
    stop: AtomicBool,
}

impl Seen {
    fn wait_for(&self, more: usize) {
        let wanted = self.count.load(Ordering::Relaxed) + more;
        let begin = Instant::now();
        while self.count.load(Ordering::Relaxed) < wanted {
            assert!(begin.elapsed() < PATIENCE, "nothing is written any more");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Leads again and again, some writes long each time, and takes the lead from the others.
fn write(place: &Place, address: &tepui_ensemble::Address, name: &str, seen: &Seen) {
    let mut store = place.open(address, name);
    let mut number = 0;
    while !seen.stop.load(Ordering::Relaxed) {
        let term = match store.acquire() {
            Ok(term) => term,
            // A server was away for longer than a request takes.
            Err(StoreError::Failed { .. }) => continue,
            Err(other) => panic!("{name}: {other:?}"),
        };
        seen.terms.lock().unwrap().push(term);
        for _ in 0..10 {
            number += 1;
            let key = format!("{name}/{number:06}");
            let value = format!("{}", term.0);
            match store.commit(term, Batch { ops: vec![put(&key, value)] }) {
                Ok(_) => {
                    seen.acknowledged.lock().unwrap().insert(key);
                    seen.count.fetch_add(1, Ordering::Relaxed);
                }
                Err(StoreError::Fenced { ours, current }) => {
                    assert!(ours == term && current > term, "{ours:?} {current:?}");
                    break;
                }
                Err(StoreError::Failed { .. }) => break,
                Err(other) => panic!("{name}: {other:?}"),
            }
        }
    }
}

fn a_server_dies_and_nothing_is_lost(kind: Kind) {
    let mut place = Place::new(Server::three(kind));
    let address = place.fresh();
    let seen = Seen::default();
    for victim in 0..2 {
        seen.stop.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            for writer in ["a", "b"] {
                let (place, address, seen) = (&place, &address, &seen);
                scope.spawn(move || write(place, address, &format!("{writer}{victim}"), seen));
            }
            seen.wait_for(WRITES);
            place.server.kill(victim);
            seen.wait_for(WRITES);
            seen.stop.store(true, Ordering::Relaxed);
        });
        place.server.start_again(victim);
    }
    let terms = seen.terms.into_inner().unwrap();
    let different: BTreeSet<Term> = terms.iter().copied().collect();
    assert_eq!(different.len(), terms.len(), "a term was won twice");
    let store = place.open(&address, "reader");
    let there: BTreeSet<String> = store.load("").unwrap().into_iter().map(|(key, _)| key).collect();
    let acknowledged = seen.acknowledged.into_inner().unwrap();
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(
        lost.is_empty(),
        "of {} acknowledged writes these are lost: {lost:?}",
        acknowledged.len()
    );
}

#[test]
fn on_three_etcds_one_dies_and_nothing_is_lost() {
    a_server_dies_and_nothing_is_lost(Kind::Etcd);
}

#[test]
fn on_three_zookeepers_one_dies_and_nothing_is_lost() {
    a_server_dies_and_nothing_is_lost(Kind::ZooKeeper);
}
