//! The suite on etcd and ZooKeeper, and what several control planes on one store can rely on.

#![allow(clippy::unwrap_used)]

mod place;
mod secured;
mod three;

use tepui_election::Leadership;
use tepui_ensemble::News;
use tepui_ensemble::servers::Server;
use tepui_store::{Batch, Campaign, Op, Revision, Store, StoreError, suite};
use tepui_types::Term;

use place::{Place, put};

pub(crate) fn everything(place: &Place) {
    suite::run(|| {
        let address = place.fresh();
        move || -> Box<dyn Store> { Box::new(place.open(&address, "one")) }
    });
    a_batch_of_any_size_is_whole_or_not_there(place);
    a_copy_that_follows_has_what_the_leader_wrote(place);
    of_two_that_stand_up_one_leads(place);
    a_new_store_may_begin_above_a_term(place);
    a_leader_that_wrote_since_stays(place);
    a_former_leader_writes_nothing_more(place);
    a_write_that_came_through_after_all_is_the_leaders_own(place);
    a_leader_of_a_store_that_was_emptied_writes_nothing_into_it(place);
    who_stands_by_begins_anew_in_a_store_that_was_emptied(place);
    who_steps_down_leaves_the_place_free(place);
}

#[test]
fn on_etcd() {
    everything(&Place::new(Server::etcd()));
}

#[test]
fn on_zookeeper() {
    everything(&Place::new(Server::zookeeper()));
}

fn a_batch_of_any_size_is_whole_or_not_there(place: &Place) {
    let address = place.fresh();
    let mut store = place.open(&address, "one");
    let term = store.acquire().unwrap();
    let many: Vec<Op> = (0..3_000).map(|n| put(&format!("k/{n:05}"), vec![1; 1_000])).collect();
    assert_eq!(store.commit(term, Batch { ops: many }).unwrap(), Revision(1));
    let large = put("large", vec![7; 2_500_000]);
    assert_eq!(store.commit(term, Batch { ops: vec![large.clone()] }).unwrap(), Revision(2));
    drop(store);
    let mut store = place.open(&address, "two");
    assert_eq!(store.load("k/").unwrap().len(), 3_000);
    assert_eq!(store.load("large").unwrap()[0].1, vec![7; 2_500_000]);
    // A shorter value in its place leaves none of the parts behind.
    let term = store.acquire().unwrap();
    store.commit(term, Batch { ops: vec![put("large", "short")] }).unwrap();
    let left = place.runtime.block_on(place.ensemble(&address).load()).unwrap();
    assert_eq!(left.len(), 3_000 + 1 + 1, "records, one of them short, and who leads");
}

fn a_copy_that_follows_has_what_the_leader_wrote(place: &Place) {
    let address = place.fresh();
    let mut store = place.open(&address, "one");
    let term = store.acquire().unwrap();
    store.commit(term, Batch { ops: vec![put("before", "1")] }).unwrap();
    let follower = std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            place
                .follow(&address, |leadership| leadership.revision == 202 && leadership.staged == 0)
        });
        for n in 0..200 {
            let op = if n % 3 == 2 {
                Op::Delete { key: format!("k/{}", n - 1) }
            } else {
                put(&format!("k/{n}"), n.to_string())
            };
            store.commit(term, Batch { ops: vec![op] }).unwrap();
        }
        store.commit(term, Batch { ops: vec![put("long", vec![5; 1_500_000])] }).unwrap();
        follower.join().unwrap()
    });
    assert_eq!(follower.records("").unwrap(), store.load("").unwrap());
    // It takes over with what it has: nothing is read again, and it knows what is there.
    let mut successor = place.open(&address, "two");
    let seen = follower.leadership().cloned();
    assert_eq!(successor.campaign(seen.as_ref(), true, Term(0)).unwrap(), Campaign::Won(Term(2)));
    let replica = place.follow(&address, |leadership| leadership.term == Term(2));
    successor.adopt(&replica).unwrap();
    let ops = vec![put("long", "short"), put("k/0", "again"), Op::Delete { key: "before".into() }];
    successor.commit(Term(2), Batch { ops }).unwrap();
    assert_eq!(successor.load("before").unwrap(), []);
    assert_eq!(successor.load("long").unwrap()[0].1, b"short");
}

fn of_two_that_stand_up_one_leads(place: &Place) {
    let address = place.fresh();
    for round in 0..20_u64 {
        let seen = (round > 0)
            .then(|| place.follow(&address, |leadership| leadership.term == Term(round)));
        let seen = seen.and_then(|replica| replica.leadership().cloned());
        let won: Vec<bool> = std::thread::scope(|scope| {
            let tries: Vec<_> = ["a", "b", "c"]
                .into_iter()
                .map(|name| {
                    let (place, address, seen) = (&place, &address, &seen);
                    scope.spawn(move || {
                        let mut store = place.open(address, name);
                        store.campaign(seen.as_ref(), true, Term(0)).unwrap() != Campaign::Lost
                    })
                })
                .collect();
            tries.into_iter().map(|attempt| attempt.join().unwrap()).collect()
        });
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}: {won:?}");
    }
}

/// A store that was emptied begins anew, and agents do not.
fn a_new_store_may_begin_above_a_term(place: &Place) {
    let address = place.fresh();
    let mut first = place.open(&address, "one").above(Term(40));
    assert_eq!(first.campaign(None, true, Term(0)).unwrap(), Campaign::Won(Term(41)));
    let seen = place.follow(&address, |_| true).leadership().cloned();
    let mut next = place.open(&address, "two").above(Term(40));
    assert_eq!(next.campaign(seen.as_ref(), true, Term(0)).unwrap(), Campaign::Won(Term(42)));
}

fn a_leader_that_wrote_since_stays(place: &Place) {
    let address = place.fresh();
    let mut leader = place.open(&address, "one");
    let term = leader.acquire().unwrap();
    let seen = place.follow(&address, |_| true).leadership().cloned();
    leader.commit(term, Batch::default()).unwrap();
    let mut standby = place.open(&address, "two");
    assert_eq!(standby.campaign(seen.as_ref(), false, Term(0)).unwrap(), Campaign::Lost);
    leader.commit(term, Batch::default()).unwrap();
    assert_eq!(standby.campaign(None, true, Term(0)).unwrap(), Campaign::Lost);
    assert_eq!(standby.campaign(seen.as_ref(), true, Term(0)).unwrap(), Campaign::Won(Term(2)));
}

fn a_former_leader_writes_nothing_more(place: &Place) {
    let address = place.fresh();
    let mut former = place.open(&address, "one");
    let old = former.acquire().unwrap();
    former.commit(old, Batch { ops: vec![put("a", "1")] }).unwrap();
    let mut leader = place.open(&address, "two");
    let new = leader.acquire().unwrap();
    for ops in [vec![put("a", "late")], vec![], vec![put("b", vec![0; 2_000_000])]] {
        let refused = former.commit(old, Batch { ops });
        assert!(
            matches!(refused, Err(StoreError::Fenced { ours, current }) if ours == old && current == new),
            "{refused:?}"
        );
    }
    assert_eq!(leader.load("").unwrap(), [("a".to_owned(), b"1".to_vec())]);
    leader.commit(new, Batch { ops: vec![put("a", "2")] }).unwrap();
}

/// The answer to a write is lost, the store is full when it is made again, and takes it once there is
/// room: it is there already.
fn a_write_that_came_through_after_all_is_the_leaders_own(place: &Place) {
    let address = place.fresh();
    let mut leader = place.open(&address, "one");
    let term = leader.acquire().unwrap();
    leader.commit(term, Batch::default()).unwrap();
    let ensemble = place.ensemble(&address);
    let (meta, stamp) = place.runtime.block_on(ensemble.meta()).unwrap().unwrap();
    let mut record = Leadership::decode(&meta).unwrap();
    record.writes += 1;
    record.revision += 1;
    let lost = record.encode();
    place.runtime.block_on(ensemble.swap(Some(stamp), &lost, &[])).unwrap();
    assert_eq!(leader.commit(term, Batch::default()).unwrap(), Revision(record.revision));
    let next = Revision(record.revision + 1);
    assert_eq!(leader.commit(term, Batch { ops: vec![put("a", "1")] }).unwrap(), next);
}

fn a_leader_of_a_store_that_was_emptied_writes_nothing_into_it(place: &Place) {
    let address = place.fresh();
    for (leads_by_now, late) in [(false, "late".into()), (true, vec![0; 2_000_000])] {
        let mut leader = place.open(&address, "one").above(Term(5));
        let ours = leader.acquire().unwrap();
        leader.commit(ours, Batch { ops: vec![put("a", "1")] }).unwrap();
        place.server.empty(&address);
        let mut next = place.open(&address, "two");
        let current = if leads_by_now { next.acquire().unwrap() } else { Term(0) };
        let refused = leader.commit(ours, Batch { ops: vec![put("a", late)] });
        assert!(
            matches!(refused, Err(StoreError::SetBack { ours: term, current: found })
                if term == ours && found == current),
            "{refused:?}"
        );
        assert_eq!(next.load("").unwrap(), []);
        place.server.empty(&address);
    }
}

fn who_stands_by_begins_anew_in_a_store_that_was_emptied(place: &Place) {
    let address = place.fresh();
    let ensemble = place.ensemble(&address);
    let mut standby = place.with(ensemble.clone(), "two");
    let mut leader = place.open(&address, "one");
    let term = leader.acquire().unwrap();
    leader.commit(term, Batch { ops: vec![put("a", "1")] }).unwrap();
    place.server.empty(&address);
    let told = place.runtime.block_on(async { ensemble.follow().recv().await.unwrap() });
    assert_eq!(told.unwrap(), News::Snapshot(Vec::new()));
    // The leader may not have found out yet: no two lead in one term (invariant I-16).
    assert_eq!(standby.campaign(None, true, term).unwrap(), Campaign::Won(Term(2)));
    let late = leader.commit(term, Batch { ops: vec![put("a", "late")] });
    assert!(matches!(late, Err(StoreError::Fenced { current: Term(2), .. })), "{late:?}");
    standby.commit(Term(2), Batch { ops: vec![put("b", "1")] }).unwrap();
    assert_eq!(standby.load("").unwrap(), [("b".to_owned(), b"1".to_vec())]);
}

fn who_steps_down_leaves_the_place_free(place: &Place) {
    let address = place.fresh();
    let mut leader = place.open(&address, "one");
    let term = leader.acquire().unwrap();
    leader.commit(term, Batch { ops: vec![put("a", "1")] }).unwrap();
    leader.resign().unwrap();
    let replica = place.follow(&address, |leadership| leadership.leader.is_none());
    assert_eq!(replica.leadership().unwrap().term, term);
    assert!(matches!(leader.commit(term, Batch::default()), Err(StoreError::Fenced { .. })));
    let mut next = place.open(&address, "two");
    let won = next.campaign(replica.leadership(), false, Term(0)).unwrap();
    assert_eq!(won, Campaign::Won(Term(term.0 + 1)));
}
