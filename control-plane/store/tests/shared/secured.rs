//! Servers that ask who one is, and paths below other paths.

use std::time::Duration;

use tepui_ensemble::servers::Server;
use tepui_ensemble::{Address, Change, Ensemble, EnsembleError, Place as Where, Tls};
use tepui_store::Store;

use crate::everything;
use crate::place::Place;

fn connect(place: &Place, address: &Address) -> Result<(), EnsembleError> {
    place.runtime.block_on(async {
        // A client that is refused may try for longer than anybody waits.
        let connected = tokio::time::timeout(Duration::from_secs(20), Ensemble::connect(address));
        connected.await.expect("it says no in time").map(|_| ())
    })
}

/// An error and what is below it, as the log shows them.
fn reasons(error: &dyn std::error::Error) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(|error| error.to_string().to_lowercase()).collect::<Vec<_>>().join(": ")
}

#[test]
fn etcd_with_tls_and_a_login_keeps_everything_for_whoever_may() {
    let place = Place::new(Server::etcd_with_tls_and_login());
    let right = place.fresh();
    connect(&place, &right).unwrap();
    for login in [None, Some(("root".into(), "wrong".into())), Some(("eve".into(), "x".into()))] {
        let refused = connect(&place, &Address { login: login.clone(), ..right.clone() });
        assert!(matches!(refused, Err(EnsembleError::Denied { .. })), "{login:?}: {refused:?}");
    }
    let tls = right.tls.clone().unwrap();
    for wrong in [
        None,
        Some(place.server.wrong_authority()),
        Some(Tls { ca: None, ..tls.clone() }),
        Some(Tls { identity: None, ..tls.clone() }),
    ] {
        let refused = connect(&place, &Address { tls: wrong.clone(), ..right.clone() });
        assert!(
            matches!(refused, Err(EnsembleError::Unavailable { .. })),
            "{wrong:?}: {refused:?}"
        );
        // Whoever reads the log knows what to mend, though a server that closes may do so before its
        // reason was read.
        let reasons = reasons(&refused.unwrap_err());
        assert!(wrong.is_none() || reasons.contains("certificate"), "{wrong:?}: {reasons}");
    }
    let nowhere = Tls { ca: Some("/nowhere/ca.pem".into()), ..tls };
    let refused = connect(&place, &Address { tls: Some(nowhere), ..right });
    assert!(
        matches!(&refused, Err(EnsembleError::Address(why)) if why.contains("/nowhere/ca.pem"))
    );
    everything(&place);
}

#[test]
fn zookeeper_with_a_login_keeps_everything_for_whoever_may() {
    let place = Place::new(Server::zookeeper().with_login("ada", "s@cret"));
    let deep = place.server.address("/a/b/c");
    let mut store = place.open(&deep, "one");
    store.acquire().unwrap();
    for login in [None, Some(("ada".into(), "wrong".into()))] {
        let stranger = Address { login: login.clone(), ..deep.clone() };
        let refused = connect(&place, &stranger);
        assert!(matches!(refused, Err(EnsembleError::Denied { .. })), "{login:?}: {refused:?}");
        // Who leads everybody may know: clients of Mesos have no login either.
        let reader = place.runtime.block_on(Ensemble::connect_to_read(&stranger)).unwrap();
        let (meta, stamp) = place.runtime.block_on(reader.meta()).unwrap().unwrap();
        let change = Change::Create(Where::Record("x".into()), vec![1]);
        for changes in [vec![], vec![change]] {
            let swapped = place.runtime.block_on(reader.swap(Some(stamp), &meta, &changes));
            assert!(swapped.is_err(), "{login:?}");
        }
        assert!(
            place.runtime.block_on(reader.load()).is_err(),
            "{login:?}: records are not theirs"
        );
    }
    assert!(store.load("").unwrap().is_empty(), "nothing of theirs was written");
    everything(&place);
}

#[test]
fn whoever_only_reads_leaves_no_traces() {
    let place = Place::new(Server::zookeeper());
    let mistyped = place.server.address("/tepiu");
    let reader = place.runtime.block_on(Ensemble::connect_to_read(&mistyped)).unwrap();
    assert!(place.runtime.block_on(reader.meta()).unwrap().is_none());
    assert!(place.runtime.block_on(reader.load()).is_err(), "there is no such folder");
}
