#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tokio::sync::mpsc::channel;

use super::*;
use crate::News;
use crate::servers::Server;

const PATIENCE: Duration = Duration::from_secs(60);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Connects as soon as somebody answers.
async fn connect(address: &Address) -> Etcd {
    let connected = async {
        loop {
            if let Ok(etcd) = Etcd::connect(address, Pace::default()).await {
                return etcd;
            }
        }
    };
    tokio::time::timeout(PATIENCE, connected).await.unwrap()
}

/// What is told first of what followed a revision.
async fn told_from(etcd: &Etcd, revision: i64) -> News {
    let (sender, mut news) = channel(1);
    tokio::select! {
        ended = etcd.follow_from(revision, &sender) => panic!("the watch ended: {ended:?}"),
        told = tokio::time::timeout(PATIENCE, news.recv()) => told.unwrap().unwrap().unwrap(),
    }
}

fn meta(value: &[u8]) -> News {
    News::Changes(vec![(Place::Meta, Some(value.to_vec()))])
}

#[test]
fn whoever_is_logged_in_stays_so_when_users_change() {
    let server = Server::etcd_with_login();
    let runtime = runtime();
    let etcd = runtime.block_on(connect(&server.address("/x")));
    let (_, before) = runtime.block_on(etcd.load_at()).unwrap();
    server.add_user("ada");
    let stamp = runtime.block_on(etcd.swap(None, b"first", &[])).unwrap();
    server.add_user("grace");
    assert_eq!(runtime.block_on(told_from(&etcd, before)), meta(b"first"));
    server.add_user("mary");
    assert_eq!(runtime.block_on(etcd.meta()).unwrap(), Some((b"first".to_vec(), stamp)));
}

/// As after the time of a token, which is longer than anybody waits here.
#[test]
fn whoever_is_logged_in_stays_so_when_a_server_forgot_it() {
    let mut server = Server::etcd_with_tls_and_login();
    let address = server.address("/x");
    let runtime = runtime();
    let watching = runtime.block_on(connect(&address));
    let asking = runtime.block_on(connect(&address));
    let (_, before) = runtime.block_on(watching.load_at()).unwrap();
    server.restart();
    let other = runtime.block_on(connect(&address));
    runtime.block_on(other.swap(None, b"first", &[])).unwrap();
    assert_eq!(runtime.block_on(told_from(&watching, before)), meta(b"first"));
    assert_eq!(runtime.block_on(asking.meta()).unwrap().unwrap().0, b"first");
}

#[test]
fn a_connection_that_the_other_side_ended_is_known_however_deep_it_lies() {
    #[derive(Debug, thiserror::Error)]
    #[error("it failed")]
    struct Around(#[source] Wrong);
    let of = |kind: io::ErrorKind| -> Wrong { Box::new(io::Error::from(kind)) };
    for kind in [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset] {
        let wrong = of(kind);
        assert!(is_cut(&*wrong), "{kind}");
        assert!(is_cut(&Around(Box::new(Around(of(kind))))), "{kind}");
    }
    for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::TimedOut] {
        assert!(!is_cut(&Around(of(kind))), "{kind}");
    }
    let other: Wrong = "broken pipe".into();
    assert!(!is_cut(&*other), "a text is no error of the system");
}
