#![allow(deprecated, reason = "agents without refined reservations still send `role`")]

use tepui_marathon::{PathId, Settings, decode_app};
use tepui_types::{Mono, Wall};
use tepui_wire::v1;

use super::*;

fn app(json: &str) -> App {
    let settings = Settings::default();
    let update = decode_app(json.as_bytes(), &PathId::root(), true, &settings).unwrap();
    let id = update.id.clone().unwrap();
    update.complete(&id, None, None, &settings).unwrap()
}

fn scalar(name: &str, role: &str, value: f64) -> Resource {
    Resource {
        name: name.into(),
        r#type: value::Type::Scalar as i32,
        scalar: Some(value::Scalar { value }),
        role: Some(role.into()),
        ..Resource::default()
    }
}

fn ports(role: &str, begin: u64, end: u64) -> Resource {
    Resource {
        name: "ports".into(),
        r#type: value::Type::Ranges as i32,
        ranges: Some(value::Ranges { range: vec![value::Range { begin, end }] }),
        role: Some(role.into()),
        ..Resource::default()
    }
}

fn offer(resources: Vec<Resource>) -> Offer {
    Offer { hostname: "node".into(), resources, ..Offer::default() }
}

static NOTHING_ELSE: OfferedValues = OfferedValues::new();

fn rules() -> Rules<'static> {
    Rules {
        placed: &[],
        offered: &NOTHING_ELSE,
        home_region: None,
        now: Now { mono: Mono::default(), wall: Wall::from_millis(1_000_000) },
        draining: Some(Span::ZERO),
        gpu_restricted: true,
        executor: "//cmd",
    }
}

fn take(app: &App, offer: &Offer) -> Result<Placement, Vec<RejectReason>> {
    Pool::new(offer).take(app, offer, &rules(), &mut Entropy::seeded(1))
}

const PLAIN: &str = r#"{"id":"/a","cmd":"a b","cpus":1,"mem":10}"#;

fn with_role(json: &str, role: &str) -> App {
    let mut app = app(json);
    app.role = tepui_types::Role::parse(role).unwrap();
    app
}

#[test]
fn everything_that_is_missing_is_named_in_the_order_of_the_checks() {
    let big = app(r#"{"id":"/a","cmd":"a b","cpus":9,"mem":9,"disk":9,"requirePorts":true,
        "portDefinitions":[{"port":80}],"constraints":[["rack","LIKE","r"]]}"#);
    let small = offer(vec![scalar("cpus", "*", 1.0), scalar("mem", "*", 1.0)]);
    assert_eq!(
        take(&big, &small).unwrap_err(),
        [
            RejectReason::UnfulfilledConstraint,
            RejectReason::InsufficientCpus,
            RejectReason::InsufficientMemory,
            RejectReason::InsufficientDisk,
            RejectReason::InsufficientPorts,
        ]
    );
}

#[test]
fn reserved_resources_of_the_apps_role_are_used_first_and_those_of_others_never() {
    let app = with_role(PLAIN, "dev");
    let mixed = offer(vec![
        scalar("cpus", "*", 4.0),
        scalar("cpus", "dev", 0.5),
        scalar("cpus", "ops", 9.0),
        scalar("mem", "*", 99.0),
        ports("*", 31_000, 31_009),
        ports("dev", 20_000, 20_000),
    ]);
    let placement = take(&app, &mixed).unwrap();
    let cpus: Vec<(String, f64)> = placement
        .resources
        .iter()
        .filter(|resource| resource.name == "cpus")
        .map(|r| (r.role().to_owned(), r.scalar.as_ref().unwrap().value))
        .collect();
    assert_eq!(cpus, [("dev".to_owned(), 0.5), ("*".to_owned(), 0.5)]);
    assert_eq!(placement.host_ports, [Some(20_000)]);
    let foreign = offer(vec![scalar("cpus", "ops", 9.0), scalar("mem", "ops", 99.0)]);
    assert_eq!(take(&app, &foreign).unwrap_err()[0], RejectReason::UnfulfilledRole);
}

#[test]
fn accepted_roles_narrow_what_may_be_used() {
    let mut app = with_role(PLAIN, "dev");
    app.accepted_resource_roles = Some(vec!["dev".into()]);
    let unreserved =
        offer(vec![scalar("cpus", "*", 4.0), scalar("mem", "*", 99.0), ports("*", 1, 9)]);
    assert_eq!(take(&app, &unreserved).unwrap_err()[0], RejectReason::UnfulfilledRole);
}

#[test]
fn ports_are_taken_once_and_static_ones_are_left_out_of_the_random_ones() {
    let app = app(r#"{"id":"/a","cmd":"a b","cpus":1,"mem":1,"requirePorts":true,
        "portDefinitions":[{"port":0},{"port":31001},{"port":0}]}"#);
    let offer =
        offer(vec![scalar("cpus", "*", 4.0), scalar("mem", "*", 9.0), ports("*", 31_000, 31_002)]);
    for seed in 0..50 {
        let mut pool = Pool::new(&offer);
        let mut entropy = Entropy::seeded(seed);
        let placement = pool.take(&app, &offer, &rules(), &mut entropy).unwrap();
        let mut numbers: Vec<u16> = placement.host_ports.iter().flatten().copied().collect();
        assert_eq!(numbers[1], 31_001);
        numbers.sort_unstable();
        assert_eq!(numbers, [31_000, 31_001, 31_002]);
        let again = pool.take(&app, &offer, &rules(), &mut entropy).unwrap_err();
        assert_eq!(again, [RejectReason::InsufficientPorts]);
    }
}

#[test]
fn a_refused_attempt_takes_nothing_from_the_offer() {
    let big = app(r#"{"id":"/a","cmd":"a b","cpus":1,"mem":999}"#);
    let offer = offer(vec![scalar("cpus", "*", 1.0), scalar("mem", "*", 99.0), ports("*", 1, 9)]);
    let mut pool = Pool::new(&offer);
    pool.take(&big, &offer, &rules(), &mut Entropy::seeded(1)).unwrap_err();
    pool.take(&app(PLAIN), &offer, &rules(), &mut Entropy::seeded(1)).unwrap();
}

#[test]
fn agents_in_maintenance_are_avoided_while_the_window_lasts() {
    let mut offer =
        offer(vec![scalar("cpus", "*", 4.0), scalar("mem", "*", 99.0), ports("*", 1, 9)]);
    let window = |start: i64, length: i64| v1::Unavailability {
        start: v1::TimeInfo { nanoseconds: start * 1_000_000 },
        duration: Some(v1::DurationInfo { nanoseconds: length * 1_000_000 }),
    };
    for (start, length, fits) in
        [(999_000, 5_000, false), (1_001_000, 5_000, true), (900_000, 10, true)]
    {
        offer.unavailability = Some(window(start, length));
        assert_eq!(take(&app(PLAIN), &offer).is_ok(), fits, "{start}");
    }
}

#[test]
fn agents_with_gpus_are_kept_for_those_who_need_them() {
    let resources = vec![
        scalar("cpus", "*", 4.0),
        scalar("mem", "*", 99.0),
        scalar("gpus", "*", 2.0),
        ports("*", 1, 9),
    ];
    let offer = offer(resources);
    let scarce = [RejectReason::DeclinedScarceResources];
    assert_eq!(take(&app(PLAIN), &offer).unwrap_err(), scarce);
    let free = PLAIN.replace("}", r#","labels":{"GPU_SCHEDULING_BEHAVIOR":"unrestricted"}}"#);
    assert!(take(&app(&free), &offer).is_ok());
}

#[test]
fn remote_agents_need_a_constraint_on_their_region() {
    let mut offer =
        offer(vec![scalar("cpus", "*", 4.0), scalar("mem", "*", 99.0), ports("*", 1, 9)]);
    offer.domain = Some(v1::DomainInfo {
        fault_domain: Some(v1::domain_info::FaultDomain {
            region: v1::domain_info::fault_domain::RegionInfo { name: "far".into() },
            zone: v1::domain_info::fault_domain::ZoneInfo { name: "z".into() },
        }),
    });
    let at_home = Rules { home_region: Some("home"), ..rules() };
    let mut entropy = Entropy::seeded(1);
    let refused = Pool::new(&offer).take(&app(PLAIN), &offer, &at_home, &mut entropy);
    assert_eq!(refused.unwrap_err(), [RejectReason::UnfulfilledConstraint]);
    let far = PLAIN.replace("}", r#","constraints":[["@region","IS","far"]]}"#);
    assert!(Pool::new(&offer).take(&app(&far), &offer, &at_home, &mut entropy).is_ok());
}

#[test]
fn volumes_and_revocable_resources_are_not_touched() {
    let mut revocable = scalar("cpus", "*", 99.0);
    revocable.revocable = Some(v1::resource::RevocableInfo {});
    let offer = offer(vec![revocable, scalar("mem", "*", 99.0), ports("*", 1, 9)]);
    assert_eq!(take(&app(PLAIN), &offer).unwrap_err(), [RejectReason::InsufficientCpus]);
}
