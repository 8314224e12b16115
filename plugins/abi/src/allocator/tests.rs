//! What is said arrives as it was said, and bytes of anything else are refused.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tepui_allocator::{
    AgentFacts, Epoch, FrameworkFacts, Input, Minimum, NoOffer, Plan, Proposal, Reason, Reclaim,
    Refusal, Weight, Work,
};
use tepui_types::{
    AgentId, FrameworkId, Identity, Mono, Ranges, Reservation, ReservationKind, Resource,
    ResourceName, Resources, Role, Scalar, Span, Value,
};

use super::{Message, State, explained, heard, plan, planned, read, reasons, tell, told};

fn role(text: &str) -> Role {
    Role::parse(text).unwrap()
}

fn agent() -> AgentId {
    AgentId::parse("a1").unwrap()
}

fn framework() -> FrameworkId {
    FrameworkId::parse("f1").unwrap()
}

/// One of everything that a bundle can have.
fn everything() -> Resources {
    let level = Reservation {
        kind: ReservationKind::Dynamic,
        role: role("eng/web"),
        principal: Some("ops".into()),
        labels: vec![("a".into(), Some("b".into())), ("c".into(), None)],
    };
    let reserved = Identity {
        name: ResourceName::new("licences"),
        reservations: [level].into(),
        revocable: true,
    };
    let ports = Ranges::from_ranges([
        tepui_types::Range::new(3, 3).unwrap(),
        tepui_types::Range::new(5, u64::MAX).unwrap(),
    ]);
    [
        Resource::scalar(ResourceName::Cpus, Scalar::from_milli(1)),
        Resource::scalar(ResourceName::Mem, Scalar::MAX),
        Resource::ranges(ResourceName::Ports, ports),
        Resource { identity: reserved, value: Value::Set(["x".into(), "y".into()].into()) },
    ]
    .into_iter()
    .collect()
}

fn inputs() -> Vec<Input> {
    let facts =
        AgentFacts { total: everything(), active: true, gpus_guarded: true, epoch: Epoch(7) };
    let roles: BTreeSet<_> = [role("*"), role("eng")].into();
    let minimum = Minimum(vec![vec![], vec![(ResourceName::Mem, Scalar::from_units(2))]]);
    let wants = FrameworkFacts {
        roles: roles.clone(),
        suppressed: roles.clone(),
        active: true,
        revocable: true,
        gpus: true,
        minimum: [(role("eng"), minimum.clone()), (role("*"), Minimum::default())].into(),
    };
    let used = vec![(framework(), role("*"), everything())];
    let released = |refusal| Input::Released {
        framework: framework(),
        role: role("*"),
        agent: agent(),
        resources: everything(),
        refusal,
    };
    vec![
        Input::AgentAdded { agent: agent(), facts: facts.clone(), used },
        Input::AgentChanged { agent: agent(), facts, forget_filters: true },
        Input::AgentRemoved(agent()),
        Input::FrameworkUpdated { framework: framework(), facts: Box::new(wants) },
        Input::FrameworkRemoved(framework()),
        Input::Revived { framework: framework(), roles: roles.clone() },
        Input::Suppressed { framework: framework(), roles: BTreeSet::new() },
        released(None),
        released(Some(Refusal { span: Span::MAX })),
        Input::Weights(vec![(role("eng"), Weight(1))]),
        Input::Minimum(minimum),
        Input::OfferEnded {
            framework: framework(),
            role: role("eng"),
            agent: agent(),
            offered: everything(),
            used: Resources::new(),
        },
        Input::Offered {
            framework: framework(),
            role: role("eng"),
            agent: agent(),
            resources: everything(),
        },
    ]
}

#[test]
fn every_input_arrives_as_it_was_told() {
    let all: Vec<_> = (0..).map(Mono::from_nanos).zip(inputs()).collect();
    let bytes = tell(all.iter().map(|(at, input)| (*at, input)));
    assert_eq!(told(&bytes).unwrap(), all);
}

#[test]
fn an_input_of_a_later_version_is_left_out_by_those_who_may() {
    let later = super::Input { at_nanos: 1, what: None };
    let gone = super::What::AgentRemoved("a1".into());
    let known = super::Input { at_nanos: 2, what: Some(gone) };
    let bytes = super::Told { inputs: vec![later, known] }.encode_to_vec();
    assert!(told(&bytes).is_err());
    assert_eq!(heard(&bytes).unwrap(), [(Mono::from_nanos(2), Input::AgentRemoved(agent()))]);
}

#[test]
fn a_plan_and_its_reasons_arrive_as_they_were_made() {
    let proposal = Proposal {
        framework: framework(),
        role: role("eng"),
        agent: agent(),
        resources: everything(),
        epoch: Epoch(9),
    };
    let reclaim = Reclaim {
        framework: framework(),
        role: role("eng"),
        agent: agent(),
        revocable: everything(),
        beneficiary: role("*"),
    };
    let work = Work { agents: 1, pairs: 2 };
    let sent = Plan { proposals: vec![proposal], reclaims: vec![reclaim], work };
    let state = State { dirty: true, wakeup_nanos: Some(0) };
    let message = planned(&sent, state.clone());
    assert_eq!(plan(&message).unwrap(), sent);
    assert_eq!(message.state, Some(state));
    let why = [
        NoOffer::FrameworkInactive,
        NoOffer::Suppressed,
        NoOffer::AgentInactive,
        NoOffer::NothingFree,
        NoOffer::BelowMinimum { cpus: Scalar::from_milli(1), mem: Scalar::from_milli(2) },
        NoOffer::Filtered { remaining: Span::from_nanos(3) },
        NoOffer::NeedsGpuCapability,
        NoOffer::NotItsTurn,
    ];
    let given: Vec<_> = why
        .into_iter()
        .map(|why| Reason { role: role("*"), agent: Some(agent()), why })
        .chain([Reason { role: role("*"), agent: None, why: NoOffer::Suppressed }])
        .collect();
    assert_eq!(reasons(&explained(&given)).unwrap(), given);
}

#[test]
fn what_makes_no_sense_is_refused_by_what_is_wrong() {
    let wrong = |what| {
        let input = super::Input { at_nanos: 0, what };
        told(&super::Told { inputs: vec![input] }.encode_to_vec()).unwrap_err().to_string()
    };
    assert!(wrong(None).contains("does not know"));
    assert!(wrong(Some(super::What::AgentRemoved("../x".into()))).contains("an agent's id"));
    let bounds = |bounds| super::Resource {
        name: "ports".into(),
        amount: Some(super::Amount::Ranges(super::Numbers { bounds })),
        ..super::Resource::default()
    };
    let added = |total| {
        let agent = super::Agent { id: "a".into(), total, ..super::Agent::default() };
        Some(super::What::AgentAdded(super::Added { agent: Some(agent), used: vec![] }))
    };
    assert!(wrong(added(vec![bounds(vec![1])])).contains("no end"));
    assert!(wrong(added(vec![bounds(vec![2, 1])])).contains("ends before"));
    let much = super::Resource {
        name: "ports".into(),
        amount: Some(super::Amount::Milli(u64::MAX)),
        ..super::Resource::default()
    };
    assert!(wrong(added(vec![much.clone()])).contains("too many"));
    let one = super::Resource { amount: Some(super::Amount::Milli(1)), ..much };
    assert!(wrong(added(vec![one, bounds(vec![1, 1])])).contains("two types"));
}

proptest! {
    #[test]
    fn no_bytes_end_the_process(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = told(&bytes);
        if let Ok(message) = read::<super::Planned>("a plan", &bytes) {
            let _ = plan(&message);
        }
        if let Ok(message) = read::<super::Explained>("reasons", &bytes) {
            let _ = reasons(&message);
        }
    }

    #[test]
    fn a_message_with_a_broken_byte_is_read_or_refused(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let all = inputs();
        let mut bytes = tell(all.iter().map(|input| (Mono::default(), input)));
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = told(&bytes);
    }
}
