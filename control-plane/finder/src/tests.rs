#![allow(clippy::unwrap_used)]

use tepui_ensemble::servers::Server;
use tepui_types::{Term, Uuid};

use super::*;

fn parse(text: &str) -> Result<Finder<String>, EnsembleError> {
    Finder::parse(&[text.to_owned()], &TlsFiles::default(), |text| Ok(text.to_owned()))
}

#[test]
fn a_list_has_commas_and_so_have_the_stores_in_it() {
    for (text, addresses) in [
        ("a:1", vec!["a:1"]),
        ("a:1, http://b:2 ,", vec!["a:1", "http://b:2"]),
        ("zk://a:1,b:2,c:3/mesos", vec!["zk://a:1,b:2,c:3/mesos"]),
        ("zk://a:1,b:2/x,h:3,etcd://c:4,d:5", vec!["zk://a:1,b:2/x", "h:3", "etcd://c:4,d:5"]),
        ("etcd://a:1,http://b:2", vec!["etcd://a:1", "http://b:2"]),
        ("zk://u:p,w@a:1,b:2/x", vec!["zk://u:p,w@a:1,b:2/x"]),
        ("", vec![]),
    ] {
        assert_eq!(split(text), addresses, "{text}");
    }
}

#[tokio::test]
async fn listed_control_planes_are_tried_in_their_order() {
    let finder = parse("b:1,a:2").unwrap();
    let found: Vec<_> = finder.look().await.into_iter().map(Result::unwrap).collect();
    assert_eq!(found, [Found::Listed("b:1".to_owned()), Found::Listed("a:2".to_owned())]);
    assert!(!finder.is_single());
    assert!(parse("a:1").unwrap().is_single());
    assert!(!parse("zk://a:1/x").unwrap().is_single());
}

#[test]
fn an_address_that_makes_no_sense_is_refused() {
    let error = parse("zk://host/tepui").unwrap_err().to_string();
    assert!(error.contains("has no port"), "{error}");
}

#[tokio::test]
async fn a_store_names_the_leader_and_asking_changes_nothing_there() {
    let server = tokio::task::spawn_blocking(Server::etcd).await.unwrap();
    let address = server.address("/here");
    let finder = parse(&format!("{address},h:1")).unwrap();
    let found = finder.look().await;
    assert!(matches!(&found[0], Err(FindError::Nobody { .. })), "{found:?}");
    let leader = Candidate {
        id: "one".into(),
        hostname: "a".into(),
        mesos: "a:5050".into(),
        marathon: "a:8080".into(),
        agents: "a:5052".into(),
    };
    let none = Leadership::none(Uuid::from_bytes([1; 16]));
    let record = Leadership { term: Term(1), leader: Some(leader.clone()), ..none };
    let ensemble = Ensemble::connect(&address).await.unwrap();
    assert_eq!(ensemble.load().await.unwrap(), []);
    let stamp = ensemble.swap(None, &record.encode(), &[]).await.unwrap();
    let found: Vec<_> = finder.look().await.into_iter().map(Result::unwrap).collect();
    assert_eq!(found, [Found::Leader(leader), Found::Listed("h:1".to_owned())]);
    ensemble.swap(Some(stamp), b"{}", &[]).await.unwrap();
    let found = finder.look().await;
    assert!(matches!(&found[0], Err(FindError::Record { .. })), "{found:?}");
}
