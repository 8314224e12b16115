use std::collections::BTreeMap;

use tepui_cluster::Response;
use tepui_wire::v1::scheduler::attribute_constraint::{
    Predicate, Selector, predicate, predicate::Predicate as Test, selector,
};
use tepui_wire::v1::{self, scheduler, scheduler::offer_constraints};

use crate::rig::*;

fn constraint(attribute: &str, test: Test) -> scheduler::AttributeConstraint {
    scheduler::AttributeConstraint {
        selector: Selector {
            selector: Some(if attribute == "HOSTNAME" {
                selector::Selector::PseudoattributeType(
                    selector::PseudoattributeType::Hostname.into(),
                )
            } else {
                selector::Selector::AttributeName(attribute.into())
            }),
        },
        predicate: Predicate { predicate: Some(test) },
    }
}

fn constraints(
    role: &str,
    groups: Vec<Vec<scheduler::AttributeConstraint>>,
) -> Option<scheduler::OfferConstraints> {
    let groups = groups.into_iter().map(|attribute_constraints| {
        offer_constraints::role_constraints::Group { attribute_constraints }
    });
    let role_constraints = offer_constraints_of(groups.collect());
    Some(scheduler::OfferConstraints {
        role_constraints: BTreeMap::from([(role.to_owned(), role_constraints)]),
    })
}

fn offer_constraints_of(
    groups: Vec<offer_constraints::role_constraints::Group>,
) -> offer_constraints::RoleConstraints {
    offer_constraints::RoleConstraints { groups }
}

fn equals(text: &str) -> Test {
    Test::TextEquals(predicate::TextEquals { value: text.into() })
}

fn matches(pattern: &str) -> Test {
    Test::TextMatches(predicate::TextMatches { regex: pattern.into() })
}

fn with_attributes(rig: &mut Rig, host: &str, attributes: &str) -> AgentEnd {
    let parsed = tepui_wire::attributes::parse_text(attributes).unwrap();
    let info = v1::AgentInfo {
        attributes: tepui_wire::attributes::encode(&parsed),
        ..agent_info(host, "cpus:4;mem:1024")
    };
    rig.register(None, info, vec![]).unwrap()
}

fn subscribe(
    rig: &mut Rig,
    constraints: Option<scheduler::OfferConstraints>,
) -> Result<FrameworkEnd, String> {
    rig.subscribe_as(scheduler::call::Subscribe {
        framework_info: framework_info("f", PLAIN),
        suppressed_roles: vec![],
        offer_constraints: constraints,
    })
}

fn hosts(offers: &[v1::Offer]) -> Vec<&str> {
    let mut hosts: Vec<_> = offers.iter().map(|offer| offer.hostname.as_str()).collect();
    hosts.sort_unstable();
    hosts
}

#[test]
fn only_agents_that_pass_a_whole_group_are_offered() {
    let mut rig = Rig::new();
    with_attributes(&mut rig, "a", "rack:r1;disk:ssd");
    with_attributes(&mut rig, "b", "rack:r1;disk:hdd");
    with_attributes(&mut rig, "c", "rack:r22;rack:r1");
    with_attributes(&mut rig, "d", "rack:7");
    with_attributes(&mut rig, "e", "");
    let wanted = constraints(
        "*",
        vec![
            vec![constraint("rack", equals("r1")), constraint("disk", matches("s.*"))],
            vec![constraint("rack", matches("r2"))],
            vec![constraint("HOSTNAME", equals("e"))],
        ],
    );
    let framework = subscribe(&mut rig, wanted).unwrap();
    let offers = rig.offers(&framework);
    // The number passes every test of text; "r2" must match the whole of "r22"; "b" lacks the ssd.
    assert_eq!(hosts(&offers), ["a", "d", "e"]);
}

#[test]
fn new_constraints_bring_back_the_agents_that_the_old_ones_excluded() {
    let mut rig = Rig::new();
    with_attributes(&mut rig, "a", "rack:r1");
    let exists = || Test::Exists(predicate::Exists {});
    let framework =
        subscribe(&mut rig, constraints("*", vec![vec![constraint("x", exists())]])).unwrap();
    assert!(rig.offers(&framework).is_empty());
    let update = scheduler::Call {
        update_framework: Some(scheduler::call::UpdateFramework {
            framework_info: framework.info.clone(),
            suppressed_roles: vec![],
            offer_constraints: constraints("*", vec![vec![constraint("rack", exists())]]),
        }),
        ..call(scheduler::call::Type::UpdateFramework)
    };
    assert_eq!(rig.call(&framework, update), Response::Done);
    assert_eq!(hosts(&rig.offers(&framework)), ["a"]);
}

#[test]
fn constraints_that_make_no_sense_end_the_subscription() {
    let mut rig = Rig::new();
    let cases = [
        (constraints("other", vec![vec![constraint("a", equals("b"))]]), "not subscribed"),
        (constraints("*", vec![]), "at least one group"),
        (constraints("*", vec![vec![]]), "at least one constraint"),
        (constraints("*", vec![vec![constraint("a", matches("("))]]), "Invalid regex"),
        (constraints("*", vec![vec![constraint("a", matches("(a{900}){900}"))]]), "Invalid regex"),
    ];
    for (constraints, expected) in cases {
        let error = subscribe(&mut rig, constraints).unwrap_err();
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
}
