//! What the binary decoder checks that prost does not.

#![allow(clippy::unwrap_used)]

use prost::{
    Message as _,
    encoding::{WireType, encode_key},
};
use tepui_wire::{
    Problem, WireMessage, decode_protobuf, encode_protobuf,
    v1::{
        CapabilityInfo, ContainerId, FrameworkInfo, TaskId, TaskInfo, capability_info,
        health_check,
        scheduler::{Call, call},
        value,
    },
};

fn delimited(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut out);
    prost::encode_length_delimiter(content.len(), &mut out).unwrap();
    out.extend_from_slice(content);
    out
}

fn refusal<M: WireMessage + std::fmt::Debug>(bytes: &[u8]) -> String {
    decode_protobuf::<M>(bytes).unwrap_err().to_string()
}

fn task(name: &str) -> TaskInfo {
    TaskInfo { name: name.into(), task_id: TaskId { value: "t".into() }, ..TaskInfo::default() }
}

#[test]
fn what_prost_encodes_is_accepted() {
    let call = Call { r#type: Some(call::Type::Revive.into()), ..Call::default() };
    assert_eq!(decode_protobuf::<Call>(&encode_protobuf(&call)).unwrap(), call);
    assert_eq!(decode_protobuf::<Call>(b"").unwrap(), Call::default());
}

#[test]
fn missing_required_fields_are_named_as_in_json() {
    let tasks = [delimited(1, &task("n").encode_to_vec()), delimited(1, &delimited(1, b"n"))];
    let launch = delimited(2, &tasks.concat());
    let operation = [vec![1 << 3, 1], launch].concat();
    let accept = delimited(4, &delimited(2, &operation));
    assert_eq!(
        refusal::<Call>(&accept),
        "failed to decode protobuf as mesos.v1.scheduler.Call: Missing required fields: \
         accept.operations[0].launch.task_infos[1].task_id, \
         accept.operations[0].launch.task_infos[1].agent_id"
    );
}

#[test]
fn an_unknown_enum_number_counts_as_unset() {
    // Call.type = 99
    assert_eq!(decode_protobuf::<Call>(&[2 << 3, 99]).unwrap().r#type, None);
    // Resource { name: "x", type: 99 }
    let resource = [delimited(1, b"x"), vec![2 << 3, 99]].concat();
    let refused = refusal::<tepui_wire::v1::Resource>(&resource);
    assert!(refused.ends_with("Missing required fields: type"), "{refused}");
}

#[test]
fn a_message_in_pieces_is_judged_by_their_union() {
    // `framework_info` comes in two halves, each without one of its required fields.
    let halves = [delimited(1, &delimited(1, b"user")), delimited(1, &delimited(2, b"name"))];
    let call = delimited(3, &halves.concat());
    let subscribe = decode_protobuf::<Call>(&call).unwrap().subscribe.unwrap();
    let FrameworkInfo { user, name, .. } = subscribe.framework_info;
    assert_eq!((user.as_str(), name.as_str()), ("user", "name"));
    let half = delimited(3, &halves[0]);
    assert!(
        refusal::<Call>(&half).ends_with("Missing required fields: subscribe.framework_info.name")
    );
}

#[test]
fn map_values_are_written_for_readers_that_check_them() {
    let mut message = task("n");
    message.limits.insert("cpus".into(), value::Scalar { value: 0.0 });
    let bytes = encode_protobuf(&message);
    assert!(bytes.len() > message.encode_to_vec().len());
    assert_eq!(decode_protobuf::<TaskInfo>(&bytes).unwrap(), message);
    assert_eq!(decode_protobuf::<TaskInfo>(&message.encode_to_vec()).unwrap(), message);
}

#[test]
fn damaged_bytes_name_the_place() {
    let text = delimited(1, &delimited(1, b"\xff"));
    assert_eq!(
        refusal::<Call>(&text),
        "failed to decode protobuf as mesos.v1.scheduler.Call: framework_id.value: \
         expected UTF-8 text, found invalid utf-8 sequence of 1 bytes from index 0"
    );
    let wrong = delimited(1, &[1 << 3, 5]);
    assert_eq!(
        refusal::<Call>(&wrong),
        "failed to decode protobuf as mesos.v1.scheduler.Call: framework_id.value: \
         expected a Delimited value, found Varint"
    );
    let short = [1 << 3 | 2, 200];
    assert_eq!(
        refusal::<Call>(&short),
        "failed to decode protobuf as mesos.v1.scheduler.Call: \
         not well-formed protobuf: the bytes end in the middle of a field"
    );
}

#[test]
fn nesting_is_limited_to_64_messages() {
    let nested = |levels: usize| {
        let value = delimited(1, b"c");
        (1..levels).fold(value.clone(), |inner, _| [value.clone(), delimited(2, &inner)].concat())
    };
    let deepest: ContainerId = decode_protobuf(&nested(64)).unwrap();
    assert_eq!(encode_protobuf(&deepest), nested(64));
    for levels in [65, 100, 20_000] {
        let problem = decode_protobuf::<ContainerId>(&nested(levels)).unwrap_err().problem;
        assert!(matches!(problem, Problem::TooDeep { limit: 64, .. }), "{problem}");
    }
}

#[test]
fn unknown_fields_and_packed_lists_are_read() {
    let unknown = [delimited(1000, b"whatever"), vec![2 << 3, 13]].concat();
    assert_eq!(decode_protobuf::<Call>(&unknown).unwrap().r#type, Some(13));
    let packed = delimited(4, &[200, 1, 202, 1]);
    let check: health_check::HttpCheckInfo =
        decode_protobuf(&[packed, vec![1 << 3, 80]].concat()).unwrap();
    assert_eq!(check.statuses, [200, 202]);
    let known: i32 = capability_info::Capability::Chown.into();
    let packed = delimited(1, &[0xe8, 0x07, 0x99, 0x4e]);
    let capabilities: CapabilityInfo = decode_protobuf(&packed).unwrap();
    assert_eq!(capabilities.capabilities, [known]);
}

#[test]
fn a_huge_list_of_small_messages_takes_no_more_than_it_should() {
    let ids = delimited(1, &delimited(1, b"o")).repeat(200_000);
    let call = delimited(4, &ids);
    assert_eq!(decode_protobuf::<Call>(&call).unwrap().accept.unwrap().offer_ids.len(), 200_000);
}
