//! What every backend must do; each backend's tests call [`run`].

use crate::backend::{Batch, Key, Op, Revision, Store, StoreError};

/// Runs every case on a store of its own.
///
/// `fresh` makes a new empty place; the function it returns opens that place, again and again.
/// The previous handle is always dropped, without any farewell, before the next is opened.
///
/// # Panics
/// When the backend breaks a rule; the message names the case.
pub fn run<Open: Fn() -> Box<dyn Store>>(fresh: impl Fn() -> Open) {
    for (name, case) in CASES {
        println!("store suite: {name}");
        let open = fresh();
        case(&open);
    }
}

type Case = fn(&dyn Fn() -> Box<dyn Store>);

const CASES: &[(&str, Case)] = &[
    ("a new store is empty", a_new_store_is_empty),
    ("what was committed is there after a reopen", what_was_committed_survives),
    ("a later change of the same key wins", a_later_change_wins),
    ("a deleted record stays deleted", a_deleted_record_stays_deleted),
    ("a prefix loads its records in the order of keys", a_prefix_loads_in_order),
    ("values are any bytes of any length", values_are_any_bytes),
    ("revisions grow by one, also across a reopen", revisions_grow_by_one),
    ("terms grow, also across a reopen", terms_grow),
    ("only the current term writes", only_the_current_term_writes),
    ("nothing is written before leadership is taken", nothing_before_acquire),
    ("a long random history loads as its model says", a_random_history_matches_its_model),
];

fn put(key: &str, value: impl AsRef<[u8]>) -> Op {
    Op::Put { key: key.to_owned(), value: value.as_ref().to_vec() }
}

fn delete(key: &str) -> Op {
    Op::Delete { key: key.to_owned() }
}

fn batch(ops: impl IntoIterator<Item = Op>) -> Batch {
    Batch { ops: ops.into_iter().collect() }
}

fn commit_one(store: &mut dyn Store, ops: impl IntoIterator<Item = Op>) -> Revision {
    let term = store.acquire().expect("acquire");
    store.commit(term, batch(ops)).expect("commit")
}

fn load(store: &dyn Store, prefix: &str) -> Vec<(Key, Vec<u8>)> {
    store.load(prefix).expect("load")
}

fn record(key: &str, value: &str) -> (Key, Vec<u8>) {
    (key.to_owned(), value.as_bytes().to_vec())
}

fn a_new_store_is_empty(open: &dyn Fn() -> Box<dyn Store>) {
    assert_eq!(load(&*open(), ""), []);
    assert_eq!(load(&*open(), "agents/"), []);
}

fn what_was_committed_survives(open: &dyn Fn() -> Box<dyn Store>) {
    commit_one(&mut *open(), [put("a", "1"), put("b", "2")]);
    assert_eq!(load(&*open(), ""), [record("a", "1"), record("b", "2")]);
    commit_one(&mut *open(), [put("a", "3")]);
    assert_eq!(load(&*open(), ""), [record("a", "3"), record("b", "2")]);
}

fn a_later_change_wins(open: &dyn Fn() -> Box<dyn Store>) {
    commit_one(
        &mut *open(),
        [put("a", "1"), put("a", "2"), put("b", "1"), delete("b"), delete("c"), put("c", "1")],
    );
    assert_eq!(load(&*open(), ""), [record("a", "2"), record("c", "1")]);
}

fn a_deleted_record_stays_deleted(open: &dyn Fn() -> Box<dyn Store>) {
    commit_one(&mut *open(), [put("a", "1"), put("b", "1")]);
    commit_one(&mut *open(), [delete("a"), delete("never")]);
    assert_eq!(load(&*open(), ""), [record("b", "1")]);
    commit_one(&mut *open(), [delete("b")]);
    assert_eq!(load(&*open(), ""), []);
}

fn a_prefix_loads_in_order(open: &dyn Fn() -> Box<dyn Store>) {
    let keys =
        ["apps/b", "agents/10", "apps", "agents/2", "apps/ä", "apps/a/b", "apps0", "agents/"];
    commit_one(&mut *open(), keys.iter().map(|key| put(key, key)));
    let store = open();
    let names = |prefix: &str| -> Vec<Key> {
        load(&*store, prefix).into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(names("apps/"), ["apps/a/b", "apps/b", "apps/ä"]);
    assert_eq!(names("agents/"), ["agents/", "agents/10", "agents/2"]);
    assert_eq!(names("apps"), ["apps", "apps/a/b", "apps/b", "apps/ä", "apps0"]);
    assert_eq!(names("zzz"), Vec::<Key>::new());
    let mut all = keys.map(str::to_owned).to_vec();
    all.sort();
    assert_eq!(names(""), all);
}

fn values_are_any_bytes(open: &dyn Fn() -> Box<dyn Store>) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = every_byte.iter().copied().cycle().take(3_000_000).collect();
    commit_one(
        &mut *open(),
        [put("empty", []), put("every", &every_byte), put("large", &large), put("", b"root")],
    );
    assert_eq!(
        load(&*open(), ""),
        [
            (String::new(), b"root".to_vec()),
            ("empty".to_owned(), Vec::new()),
            ("every".to_owned(), every_byte),
            ("large".to_owned(), large),
        ]
    );
}

fn revisions_grow_by_one(open: &dyn Fn() -> Box<dyn Store>) {
    assert_eq!(commit_one(&mut *open(), [put("a", "1")]), Revision(1));
    assert_eq!(commit_one(&mut *open(), []), Revision(2));
    let mut store = open();
    let term = store.acquire().expect("acquire");
    assert_eq!(store.commit(term, batch([delete("x")])).expect("commit"), Revision(3));
    assert_eq!(store.commit(term, batch([put("a", "1")])).expect("commit"), Revision(4));
}

fn terms_grow(open: &dyn Fn() -> Box<dyn Store>) {
    let mut last = open().acquire().expect("acquire");
    for _ in 0..3 {
        let mut store = open();
        for _ in 0..2 {
            let term = store.acquire().expect("acquire");
            assert!(term > last, "{term:?} after {last:?}");
            last = term;
        }
    }
}

fn only_the_current_term_writes(open: &dyn Fn() -> Box<dyn Store>) {
    let mut store = open();
    let old = store.acquire().expect("acquire");
    store.commit(old, batch([put("a", "old")])).expect("commit");
    let new = store.acquire().expect("acquire");
    let refused = store.commit(old, batch([put("a", "late")]));
    assert!(
        matches!(refused, Err(StoreError::Fenced { ours, current }) if ours == old && current == new),
        "{refused:?}"
    );
    let from_nowhere = tepui_types::Term(new.0 + 1);
    let refused = store.commit(from_nowhere, batch([put("a", "early")]));
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    assert_eq!(load(&*store, ""), [record("a", "old")]);
    assert_eq!(store.commit(new, batch([put("a", "new")])).expect("commit"), Revision(2));
    drop(store);
    let mut store = open();
    let refused = store.commit(old, batch([put("a", "late")]));
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    assert_eq!(load(&*store, ""), [record("a", "new")]);
}

fn nothing_before_acquire(open: &dyn Fn() -> Box<dyn Store>) {
    let refused = open().commit(tepui_types::Term(1), batch([put("a", "1")]));
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    assert_eq!(load(&*open(), ""), []);
}

fn a_random_history_matches_its_model(open: &dyn Fn() -> Box<dyn Store>) {
    let mut model = std::collections::BTreeMap::new();
    let mut entropy = tepui_types::Entropy::seeded(49);
    for _ in 0..20 {
        let mut store = open();
        assert_eq!(load(&*store, ""), model.clone().into_iter().collect::<Vec<_>>());
        let term = store.acquire().expect("acquire");
        for _ in 0..20 {
            let mut ops = Vec::new();
            for _ in 0..entropy.next_u64() % 6 {
                let key = format!("k/{}", entropy.next_u64() % 40);
                if entropy.next_u64().is_multiple_of(3) {
                    model.remove(&key);
                    ops.push(Op::Delete { key });
                } else {
                    let length = usize::try_from(entropy.next_u64() % 5000).unwrap_or(0);
                    let value = vec![entropy.next_u64().to_le_bytes()[0]; length];
                    model.insert(key.clone(), value.clone());
                    ops.push(Op::Put { key, value });
                }
            }
            store.commit(term, batch(ops)).expect("commit");
        }
    }
    assert_eq!(load(&*open(), ""), model.into_iter().collect::<Vec<_>>());
}
