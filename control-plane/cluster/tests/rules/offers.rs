use tepui_cluster::{Config, Response};
use tepui_types::TaskState;
use tepui_wire::v1::{self, scheduler, scheduler::call::Type};

use crate::rig::*;

#[test]
fn an_offer_shows_the_agent_as_mesos_shows_it() {
    let mut rig = Rig::new();
    let agent = rig.agent("10.0.0.1", "cpus:4;mem:1024;ports:[31000-31009]");
    let framework = rig.framework("f", PLAIN);
    let offer = rig.offers(&framework).remove(0);
    assert_eq!(offer.agent_id.value, agent.id.to_string());
    assert!(offer.id.value.ends_with("-O0"), "{}", offer.id.value);
    let url = offer.url.unwrap();
    assert_eq!((url.path(), url.address.ip(), url.address.port), ("/slave(1)", "10.0.0.1", 5051));
    assert!(offer.allocation_info.is_none(), "only for MULTI_ROLE");
    #[allow(deprecated)]
    let roles: Vec<_> = offer.resources.iter().map(|resource| resource.role()).collect();
    assert_eq!(roles, ["*", "*", "*"], "the old format");
    let refined = rig.subscribe(v1::FrameworkInfo {
        roles: vec!["a".into()],
        ..framework_info("g", &[Capability::MultiRole, Capability::ReservationRefinement])
    });
    rig.close_stream(&framework);
    let offer = rig.offers(&refined.unwrap()).remove(0);
    assert_eq!(offer.allocation_info.unwrap().role(), "a");
    assert_eq!(offer.resources[0].allocation_info.as_ref().unwrap().role(), "a");
}

#[test]
fn a_declined_offer_returns_after_its_filter_expires() {
    let mut rig = Rig::new();
    rig.agent("a1", "cpus:4;mem:1024");
    let framework = rig.framework("f", PLAIN);
    let offers = rig.offers(&framework);
    assert_eq!(rig.call(&framework, decline(&offers, Some(20.0))), Response::Accepted);
    rig.advance(secs(19));
    assert!(rig.offers(&framework).is_empty());
    rig.advance(secs(2));
    assert_eq!(rig.offers(&framework).len(), 1);
    assert_eq!(rig.cluster.framework(&framework.id).unwrap().counters.offers_declined, 1);
}

#[test]
fn a_decline_without_filters_refuses_for_five_seconds() {
    let mut rig = Rig::new();
    rig.agent("a1", "cpus:4;mem:1024");
    let framework = rig.framework("f", PLAIN);
    for seconds in [None, Some(-3.0), Some(f64::NAN)] {
        let offers = rig.offers(&framework);
        rig.call(&framework, decline(&offers, seconds));
        rig.advance(secs(4));
        assert!(rig.offers(&framework).is_empty(), "{seconds:?}");
        rig.advance(secs(2));
    }
}

#[test]
fn an_offer_that_nobody_answers_is_rescinded_after_the_offer_timeout() {
    let mut rig = Rig::with(Config { offer_timeout: Some(secs(30)), ..Config::default() });
    let agent = rig.agent("a1", "cpus:4;mem:1024");
    let hoarder = rig.framework("hoarder", PLAIN);
    assert_eq!(rig.offers(&hoarder).len(), 1);
    let victim = rig.framework("victim", PLAIN);
    assert!(rig.offers(&victim).is_empty());
    rig.advance(secs(31));
    assert!(rig.events(&hoarder).iter().any(|event| event.rescind.is_some()));
    // Both are offered within a few turns, whoever comes first.
    let mut offered = rig.offers(&victim).len();
    for _ in 0..4 {
        rig.advance_alive(secs(31), &[&agent]);
        offered += rig.offers(&victim).len();
    }
    assert!(offered > 0);
}

#[test]
fn suppressed_roles_get_no_offers_until_they_are_revived() {
    let mut rig = Rig::new();
    let framework = rig.framework("f", PLAIN);
    let suppress = scheduler::Call {
        suppress: Some(scheduler::call::Suppress::default()),
        ..call(Type::Suppress)
    };
    rig.call(&framework, suppress);
    rig.agent("a1", "cpus:4;mem:1024");
    assert!(rig.offers(&framework).is_empty());
    let wrong = scheduler::Call {
        revive: Some(scheduler::call::Revive { roles: vec!["*".into(), "other".into()] }),
        ..call(Type::Revive)
    };
    rig.call(&framework, wrong);
    assert!(rig.offers(&framework).is_empty(), "one foreign role drops the whole call");
    rig.call(&framework, call(Type::Revive));
    assert_eq!(rig.offers(&framework).len(), 1);
}

#[test]
fn a_framework_that_goes_away_gives_its_offers_back() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", "cpus:4;mem:1024");
    let framework = rig.framework("f", PLAIN);
    assert_eq!(rig.offers(&framework).len(), 1);
    rig.close_stream(&framework);
    assert_eq!(rig.free(&agent), "cpus:4;mem:1024");
    let other = rig.framework("g", PLAIN);
    assert_eq!(rig.offers(&other).len(), 1);
}

#[test]
fn an_offer_ends_once() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", "cpus:4;mem:1024");
    let framework = rig.framework("f", AWARE);
    let offers = rig.offers(&framework);
    rig.launch(&framework, &offers[0], vec![task("t1", &agent, "cpus:1;mem:32")]);
    rig.launch(&framework, &offers[0], vec![task("t2", &agent, "cpus:1;mem:32")]);
    assert_eq!(rig.state(&framework, "t1"), Some(TaskState::Staging));
    assert_eq!(rig.state(&framework, "t2"), None);
    assert_eq!(summary(&rig.statuses(&framework)), ["t2 DROPPED INVALID_OFFERS"]);
}

#[test]
fn nobody_can_accept_or_decline_the_offers_of_another() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", "cpus:4;mem:1024");
    let owner = rig.framework("owner", PLAIN);
    let offers = rig.offers(&owner);
    let thief = rig.framework("thief", PLAIN);
    rig.call(&thief, decline(&offers, None));
    rig.launch(&thief, &offers[0], vec![task("t1", &agent, "cpus:1;mem:32")]);
    assert_eq!(summary(&rig.statuses(&thief)), ["t1 LOST INVALID_OFFERS"]);
    assert_eq!(rig.cluster.offers().len(), 1, "the owner still has it");
    rig.launch(&owner, &offers[0], vec![task("t1", &agent, "cpus:1;mem:32")]);
    assert_eq!(rig.state(&owner, "t1"), Some(TaskState::Staging));
}

#[test]
fn a_bad_list_of_offers_discards_the_good_ones_in_it() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", "cpus:4;mem:1024");
    rig.agent("a2", "cpus:4;mem:1024");
    let framework = rig.framework("f", PLAIN);
    let offers = rig.offers(&framework);
    assert_eq!(offers.len(), 2);
    let op = launch(vec![task("t1", &agent, "cpus:1;mem:32")]);
    rig.accept(&framework, &[&offers[0], &offers[1]], vec![op]);
    let statuses = rig.statuses(&framework);
    assert!(statuses[0].message().contains("one single agent"), "{statuses:?}");
    assert_eq!(rig.cluster.offers().len(), 0);
    let op = launch(vec![task("t1", &agent, "cpus:1;mem:32")]);
    rig.accept(&framework, &[], vec![op]);
    assert!(rig.statuses(&framework)[0].message().contains("No offers specified"));
}

#[test]
fn several_offers_of_one_agent_are_accepted_together() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", "cpus:4;mem:1024");
    let framework = rig.framework("f", PLAIN);
    let first = rig.offers(&framework).remove(0);
    rig.launch(&framework, &first, vec![task("t1", &agent, "cpus:3;mem:1000")]);
    rig.advance(secs(6));
    let rest = rig.offers(&framework).remove(0);
    rig.update(&agent, &framework, "t1", TaskState::Finished);
    let freed = rig.offers(&framework).remove(0);
    let op = launch(vec![task("t2", &agent, "cpus:4;mem:1024")]);
    rig.accept(&framework, &[&rest, &freed], vec![op]);
    assert_eq!(rig.state(&framework, "t2"), Some(TaskState::Staging));
}
