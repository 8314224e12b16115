//! Resources and attributes between the wire, their text forms and the books (`mesos-http.md`
//! sections 8.2 and 8.6).

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use tepui_types::{
    Attribute, AttributeValue, Identity, Range, Ranges, Reservation, ReservationKind, Resource,
    ResourceName, Resources, Role, Scalar, Value,
};
use tepui_wire::{
    attributes, decode_json, encode_json,
    resources::{self, Format, decode, encode, parse_text},
    v1,
};

fn role(text: &str) -> Role {
    Role::parse(text).unwrap()
}

fn text(text: &str) -> Resources {
    parse_text(text, &Role::default_role()).unwrap_or_else(|error| panic!("{error}"))
}

fn wire(json: &str) -> v1::Resource {
    decode_json(json.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

fn fault(json: &str) -> String {
    decode(&[wire(json)]).unwrap_err().fault.to_string()
}

fn with(value: &str) -> String {
    format!(r#"{{"name":"ports","type":"RANGES","ranges":{{"range":[{value}]}}}}"#)
}

fn reserved(fields: &str) -> String {
    format!(r#"{{"name":"cpus","type":"SCALAR","scalar":{{"value":1}},{fields}}}"#)
}

#[test]
fn text_is_read_as_operators_write_it() {
    let resources =
        text("cpus(prod):8; cpus:16 ;mem:65536;disk:409600; ports:[31000-32000, 33000-33100];");
    assert_eq!(resources.cpus(), Scalar::from_units(24));
    assert_eq!(resources.usable_by(&role("dev")).cpus(), Scalar::from_units(16));
    assert_eq!(resources.mem(), Scalar::from_units(65_536));
    assert_eq!(resources.ports().count(), 1102);
    assert_eq!(text("cpus:0.5").cpus(), Scalar::from_milli(500));
    assert_eq!(text("cpus:2;cpus:0.25").cpus(), Scalar::from_milli(2250));
    assert_eq!(text("ports:[5-9,1-3,4-4,2-6]").ports().iter().len(), 1);
    assert_eq!(text("bugs:{a, b}").to_string(), "bugs:{a,b}");
    assert!(text("").is_empty());
    assert!(text("cpus:0;ports:[]").is_empty());
}

#[test]
fn entries_without_a_role_are_reserved_to_the_default_role() {
    let resources = parse_text("cpus:4;mem(b/c):1", &role("a")).unwrap();
    assert_eq!(resources.to_string(), "cpus(a):4;mem(b/c):1");
    let free = parse_text("cpus(*):4", &role("a")).unwrap();
    assert_eq!(free.to_string(), "cpus:4");
}

#[test]
fn bad_text_names_the_entry_and_the_reason() {
    let cases = [
        ("cpus", "'cpus' is not a resource such as cpus:4 or cpus(role):4"),
        (":4", "':4' is not a resource such as cpus:4 or cpus(role):4"),
        ("cpus:4:5", "'cpus:4:5' is not a resource such as cpus:4 or cpus(role):4"),
        ("cpus(a:4", "'cpus(a:4' is not a resource such as cpus:4 or cpus(role):4"),
        ("cpus:", "resource 'cpus:' has a bad value: a value is missing"),
        ("cpus:lots", "resource 'cpus:lots' must have a number, ranges or a set as value"),
        ("cpus:nan", "resource 'cpus:nan' must have a number, ranges or a set as value"),
        ("cpus:inf", "resource 'cpus:inf' must have a number, ranges or a set as value"),
        ("cpus:-1", "resource 'cpus:-1' is invalid: -1 is negative"),
        ("cpus:0.0001", "resource 'cpus:0.0001' is invalid: 0.0001 is smaller than 0.001"),
        ("gpus:1.5", "resource 'gpus:1.5' is invalid: 1.5 is not a whole number"),
        ("ports:5", "resource 'ports:5' is invalid: its type must be RANGES, not SCALAR"),
        ("cpus:[1-2]", "resource 'cpus:[1-2]' is invalid: its type must be SCALAR, not RANGES"),
        ("ports:[5-3]", "resource 'ports:[5-3]' has a bad value: range 5-3 ends before it begins"),
        (
            "ports:[5]",
            "resource 'ports:[5]' has a bad value: '5' is not a range such as 31000-32000",
        ),
        ("ports:[1-2", "resource 'ports:[1-2' has a bad value: '[' is not closed by ']'"),
        ("bugs:{a,,b}", "resource 'bugs:{a,,b}' has a bad value: a set has an empty item"),
        ("bugs:{a,a}", "resource 'bugs:{a,a}' is invalid: its set holds 'a' more than once"),
        (
            "x:1;x:[1-2]",
            "resource 'x:[1-2]' has another type than an earlier entry of the same name",
        ),
    ];
    for (bad, expected) in cases {
        let refused = parse_text(bad, &Role::default_role()).unwrap_err();
        assert_eq!(refused.to_string(), expected);
    }
    let refused = parse_text("cpus(a b):4", &Role::default_role()).unwrap_err().to_string();
    assert!(refused.starts_with("resource 'cpus(a b):4' is invalid: its reservation names a bad"));
}

#[test]
fn a_json_array_is_read_in_place_of_text() {
    let json = r#" [{"name":"cpus","type":"SCALAR","scalar":{"value":4},"role":"a"},
        {"name":"mem","type":"SCALAR","scalar":{"value":1024}}]"#;
    assert_eq!(text(json).to_string(), "cpus(a):4;mem:1024");
    let reserved = parse_text(json, &role("b")).unwrap();
    assert_eq!(reserved.to_string(), "cpus(a):4;mem(b):1024");
    assert!(parse_text("[1]", &Role::default_role()).is_err());
    assert!(parse_text("[{}]", &Role::default_role()).is_err());
}

#[test]
fn amounts_are_rounded_to_thousandths() {
    let third = wire(r#"{"name":"cpus","type":"SCALAR","scalar":{"value":0.33333}}"#);
    assert_eq!(decode(&[third]).unwrap().resources.cpus(), Scalar::from_milli(333));
}

#[test]
fn illegal_amounts_are_refused() {
    let scalar = |name: &str, value: f64| {
        let scalar = Some(v1::value::Scalar { value });
        let wire = v1::Resource { name: name.into(), scalar, ..v1::Resource::default() };
        decode(&[wire]).unwrap_err().to_string()
    };
    let cpus = "resource 'cpus' (number 0 of the list) is invalid:";
    assert_eq!(scalar("cpus", -0.5), format!("{cpus} -0.5 is negative"));
    assert_eq!(scalar("cpus", f64::NAN), format!("{cpus} NaN is not a finite number"));
    assert_eq!(scalar("cpus", f64::INFINITY), format!("{cpus} inf is not a finite number"));
    assert_eq!(scalar("cpus", 0.0004), format!("{cpus} 0.0004 is smaller than 0.001"));
    assert!(scalar("mem", 1e13).contains("is greater than"));
    assert!(scalar("gpus", 0.5).ends_with("0.5 is not a whole number"));
    assert!(scalar("", 1.0).ends_with("its name is empty"));
    assert!(scalar("ports", 1.0).ends_with("its type must be RANGES, not SCALAR"));
    assert_eq!(fault(&with(r#"{"begin":5,"end":3}"#)), "range [5-3] ends before it begins");
    assert_eq!(
        fault(&with(r#"{"begin":1,"end":3},{"begin":3,"end":4}"#)),
        "its ranges [1-3] and [3-4] overlap"
    );
    assert_eq!(
        fault(r#"{"name":"x","type":"SET","set":{"item":["a","a"]}}"#),
        "its set holds 'a' more than once"
    );
    assert_eq!(fault(r#"{"name":"x","type":"TEXT"}"#), "its type must be SCALAR, RANGES or SET");
    let body = "so exactly the field of that type must be set";
    assert!(fault(r#"{"name":"x","type":"SET"}"#).ends_with(body));
    let both = r#"{"name":"x","type":"SET","set":{},"scalar":{"value":1}}"#;
    assert!(fault(both).ends_with(body));
}

#[test]
fn every_format_of_a_reservation_is_read() {
    let stack = |json: &str| {
        let decoded = decode(&[wire(json)]).unwrap().resources;
        decoded.iter().next().unwrap().identity.reservations.to_vec()
    };
    let dynamic = |kind| Reservation {
        kind,
        role: role("a"),
        principal: Some("p".into()),
        labels: vec![("k".into(), Some("v".into())), ("l".into(), None)],
    };
    let inside = r#""principal":"p","labels":{"labels":[{"key":"k","value":"v"},{"key":"l"}]}"#;
    let new = format!(r#""reservations":[{{"type":"DYNAMIC","role":"a",{inside}}}]"#);
    let old = format!(r#""role":"a","reservation":{{{inside}}}"#);
    let expected = vec![dynamic(ReservationKind::Dynamic)];
    assert_eq!(stack(&reserved(&new)), expected);
    assert_eq!(stack(&reserved(&old)), expected);
    assert_eq!(stack(&reserved(&format!("{old},{new}"))), expected);
    assert_eq!(stack(&reserved(r#""role":"*""#)), vec![]);
    assert_eq!(stack(&reserved(r#""role":"a""#))[0].kind, ReservationKind::Static);
    let refined =
        r#""reservations":[{"type":"STATIC","role":"a"},{"type":"DYNAMIC","role":"a/b"}]"#;
    assert_eq!(stack(&reserved(refined)).len(), 2);
}

#[test]
fn illegal_reservations_are_refused() {
    let cases = [
        (r#""reservations":[{"role":"a"}]"#, "must have type STATIC or DYNAMIC"),
        (r#""reservations":[{"type":"UNKNOWN","role":"a"}]"#, "must have type STATIC or DYNAMIC"),
        (r#""reservations":[{"type":"STATIC"}]"#, "must have a role"),
        (r#""reservations":[{"type":"STATIC","role":"*"}]"#, "cannot be reserved to role '*'"),
        (r#""reservation":{"principal":"p"}"#, "cannot be reserved to role '*'"),
        (r#""role":"a","reservation":{"role":"a"}"#, "must not have a role or type of its own"),
        (r#""role":"a/../b""#, "bad role"),
        (
            r#""reservations":[{"type":"STATIC","role":"a"},{"type":"STATIC","role":"a/b"}]"#,
            "only the first",
        ),
        (
            r#""reservations":[{"type":"STATIC","role":"a"},{"type":"DYNAMIC","role":"ab"}]"#,
            "reservation to 'ab' does not refine the one to 'a'",
        ),
        (
            r#""reservations":[{"type":"STATIC","role":"a"},{"type":"DYNAMIC","role":"a"}]"#,
            "does not refine",
        ),
        (
            r#""role":"b","reservations":[{"type":"STATIC","role":"a"}]"#,
            "contradict 'reservations'",
        ),
    ];
    for (fields, expected) in cases {
        let refused = fault(&reserved(fields));
        assert!(refused.contains(expected), "{refused}");
    }
}

#[test]
fn disks_sharing_and_providers_are_judged_before_they_are_declined() {
    let disk = |name: &str, info: &str| {
        fault(&format!(r#"{{"name":"{name}","type":"SCALAR","scalar":{{"value":1}},{info}}}"#))
    };
    assert!(disk("cpus", r#""disk":{}"#).starts_with("only resources named 'disk'"));
    assert!(disk("disk", r#""shared":{}"#).starts_with("only persistent volumes can be shared"));
    let raw = r#""disk":{"source":{"type":"RAW","mount":{}}}"#;
    assert!(disk("disk", raw).contains("neither 'path' nor 'mount'"));
    let unknown = r#""disk":{"source":{"type":"UNKNOWN"}}"#;
    assert!(disk("disk", unknown).ends_with("its type is unknown"));
    let path = r#""disk":{"source":{"type":"PATH","path":{"root":"/x"}}}"#;
    assert_eq!(disk("disk", path), "disk sources are not offered by this cluster");
    let volume = r#""disk":{"persistence":{"id":"v"}}"#;
    assert_eq!(disk("disk", volume), "persistent volumes are not offered by this cluster");
    let provider = r#""provider_id":{"value":"p"}"#;
    assert!(disk("disk", provider).starts_with("resources of resource providers"));
}

#[test]
fn the_role_of_the_allocation_is_kept_beside_the_bundle() {
    let allocated = |to: &str| wire(&reserved(&format!(r#""allocation_info":{{"role":"{to}"}}"#)));
    let free = wire(r#"{"name":"mem","type":"SCALAR","scalar":{"value":1}}"#);
    let decoded = decode(&[free, allocated("a")]).unwrap();
    assert_eq!(decoded.allocated_to, Some(role("a")));
    let refused = decode(&[allocated("a"), allocated("b")]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "resource 'cpus' (number 1 of the list) is invalid: \
         it is allocated to role 'b', others of the list to 'a'"
    );
    let encoded = encode(&decoded.resources, Format::PostRefinement, Some(&role("a")));
    assert_eq!(decode(&encoded).unwrap(), decoded);
}

#[test]
fn each_format_is_written_for_its_readers() {
    let json = |resources: &Resources, format| {
        let written = encode(resources, format, None);
        String::from_utf8(encode_json(&written[0])).unwrap()
    };
    let amount = r#"{"name":"cpus","type":"SCALAR","scalar":{"value":4.0}"#;
    let free = text("cpus:4");
    assert_eq!(json(&free, Format::PostRefinement), format!("{amount}}}"));
    assert_eq!(json(&free, Format::PreRefinement), format!(r#"{amount},"role":"*"}}"#));
    let fixed = text("cpus(a):4");
    assert_eq!(json(&fixed, Format::PreRefinement), format!(r#"{amount},"role":"a"}}"#));
    let new = r#""reservations":[{"role":"a","type":"STATIC"}]"#;
    assert_eq!(json(&fixed, Format::PostRefinement), format!("{amount},{new}}}"));
    assert_eq!(json(&fixed, Format::Endpoint), format!(r#"{amount},"role":"a",{new}}}"#));
}

fn any_role() -> impl Strategy<Value = Role> {
    "[a-z]{1,3}(/[a-z]{1,2})?".prop_map(|text| role(&text))
}

fn any_stack() -> impl Strategy<Value = Vec<Reservation>> {
    let kind = prop_oneof![Just(ReservationKind::Static), Just(ReservationKind::Dynamic)];
    let label = ("[a-z]{1,3}", proptest::option::of("[a-z]{0,3}"));
    let labels = proptest::collection::vec(label, 0..3);
    let principal = proptest::option::of("[a-z]{1,3}");
    (any_role(), kind, principal, labels, 0_usize..3).prop_map(
        |(first, kind, principal, labels, depth)| {
            let mut stack = Vec::new();
            let mut role_text = first.as_str().to_owned();
            for level in 0..depth {
                let is_static = level == 0 && kind == ReservationKind::Static;
                stack.push(Reservation {
                    kind: if is_static { kind } else { ReservationKind::Dynamic },
                    role: role(&role_text),
                    principal: principal.as_deref().filter(|_| !is_static).map(Into::into),
                    labels: labels
                        .iter()
                        .filter(|_| !is_static)
                        .map(|(k, v)| (k.as_str().into(), v.as_deref().map(Into::into)))
                        .collect(),
                });
                role_text.push_str("/sub");
            }
            stack
        },
    )
}

fn any_resource() -> impl Strategy<Value = Resource> {
    let range = (0_u64..50_000, 0_u64..50).prop_map(|(a, n)| Range::new(a, a + n).unwrap());
    let ranges = proptest::collection::vec(range, 1..4).prop_map(Ranges::from_ranges);
    let set = proptest::collection::btree_set("[a-z]{1,4}", 1..4);
    let amount = prop_oneof![
        (1_u64..100_000_000_000_000)
            .prop_map(|n| (ResourceName::Cpus, Value::Scalar(Scalar::from_milli(n)))),
        (1_u64..100).prop_map(|n| (ResourceName::Gpus, Value::Scalar(Scalar::from_units(n)))),
        ranges.prop_map(|ranges| (ResourceName::Ports, Value::Ranges(ranges))),
        set.prop_map(|set| {
            let items = set.iter().map(|item| item.as_str().into()).collect();
            (ResourceName::new("bugs"), Value::Set(items))
        }),
    ];
    (amount, any_stack(), any::<bool>()).prop_map(|((name, value), stack, revocable)| Resource {
        identity: Identity { name, reservations: stack.into(), revocable },
        value,
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_in_every_format(
        list in proptest::collection::vec(any_resource(), 0..6),
        allocated_to in proptest::option::of(any_role()),
    ) {
        let resources: Resources = list.into_iter().collect();
        for format in [Format::PreRefinement, Format::PostRefinement, Format::Endpoint] {
            let wire = encode(&resources, format, allocated_to.as_ref());
            let through_json: Vec<v1::Resource> =
                wire.iter().map(|one| decode_json(&encode_json(one)).unwrap()).collect();
            prop_assert_eq!(&through_json, &wire);
            let decoded = decode(&wire).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(&decoded.resources, &resources);
            if !resources.is_empty() {
                prop_assert_eq!(&decoded.allocated_to, &allocated_to);
            }
        }
    }

    #[test]
    fn text_of_unreserved_resources_reads_back(list in proptest::collection::vec(any_resource(), 0..6)) {
        let plain = list.into_iter().map(|mut resource| {
            resource.identity = Identity::unreserved(resource.identity.name);
            resource
        });
        let resources: Resources = plain.collect();
        prop_assert_eq!(text(&resources.to_string()), resources);
    }

    #[test]
    fn garbage_text_never_panics(garbage in "[a-c0-9:;()\\[\\]{},.*/ e-]{0,40}") {
        let _ = parse_text(&garbage, &Role::default_role());
        let _ = attributes::parse_text(&garbage);
    }

    #[test]
    fn attributes_read_back(names in proptest::collection::vec("[a-z]{1,5}", 0..5), n in 0_u64..1_000_000) {
        let list: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(at, name)| match at % 3 {
                0 => format!("{name}:{n}"),
                1 => format!("{name}:[{n}-{}]", n + 5),
                _ => format!("{name}:http://{name}:{n}/"),
            })
            .collect();
        let parsed = attributes::parse_text(&list.join(";")).unwrap();
        prop_assert_eq!(parsed.iter().len(), names.len());
        prop_assert_eq!(attributes::decode(&attributes::encode(&parsed)), Ok(parsed));
    }
}

#[test]
fn attributes_are_numbers_ranges_or_texts_in_the_order_given() {
    let parsed =
        attributes::parse_text("rack:r7; level:10;keys:[1000-1500];url:http://h:80/;rack:r8")
            .unwrap();
    let list: Vec<&Attribute> = parsed.iter().collect();
    assert_eq!(list.len(), 5);
    assert_eq!(parsed.first("rack"), Some(&AttributeValue::Text("r7".into())));
    assert_eq!(parsed.first("level"), Some(&AttributeValue::Scalar(Scalar::from_units(10))));
    assert_eq!(parsed.first("url"), Some(&AttributeValue::Text("http://h:80/".into())));
    assert!(
        matches!(parsed.first("keys"), Some(AttributeValue::Ranges(ranges)) if ranges.count() == 501)
    );
    for word in ["-5", "nan", "inf", "1e300", "0x10", "10.20.30.40"] {
        let parsed = attributes::parse_text(&format!("a:{word}")).unwrap();
        assert_eq!(parsed.first("a"), Some(&AttributeValue::Text(word.into())), "{word}");
    }
}

#[test]
fn bad_attributes_are_refused() {
    let refusal = |text: &str| attributes::parse_text(text).unwrap_err().to_string();
    assert_eq!(refusal("rack"), "'rack' is not an attribute such as rack:r7");
    assert_eq!(refusal("rack:"), "attribute 'rack' has a bad value: a value is missing");
    assert_eq!(
        refusal("rack:{a,b}"),
        "attribute 'rack' is a set; attributes are numbers, ranges or texts"
    );
    let set: v1::Attribute =
        decode_json(br#"{"name":"a","type":"SET","set":{"item":["x"]}}"#).unwrap();
    assert!(attributes::decode(&[set]).is_err());
    let body: v1::Attribute = decode_json(br#"{"name":"a","type":"TEXT"}"#).unwrap();
    assert_eq!(
        attributes::decode(&[body]).unwrap_err().to_string(),
        "attribute 'a' must set exactly the field of its type"
    );
}

#[test]
fn resources_without_any_entry_are_nothing() {
    assert_eq!(resources::decode(&[]).unwrap(), resources::Decoded::default());
}
