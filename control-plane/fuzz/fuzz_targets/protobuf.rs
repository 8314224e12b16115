//! What bytes read as a message is written and read again as the same message, in both forms.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tepui_wire::{
    Problem, WireMessage, decode_json, decode_protobuf, encode_json, encode_protobuf, resources, v1,
};

fn check<M: WireMessage>(bytes: &[u8]) -> Option<M> {
    let message: M = decode_protobuf(bytes).ok()?;
    let written = encode_protobuf(&message);
    // Bytes are compared, for a NaN differs from itself.
    let again: M = decode_protobuf(&written).expect("what was written can be read");
    assert_eq!(encode_protobuf(&again), written);
    match decode_json::<M>(&encode_json(&message)) {
        Ok(_) => {}
        // JSON counts lists as levels too, and has no NaN.
        Err(error) => {
            assert!(matches!(error.problem, Problem::TooDeep { .. } | Problem::MissingRequired(_)))
        }
    }
    Some(message)
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 8 {
        0 => drop(check::<v1::scheduler::Call>(bytes)),
        1 => drop(check::<v1::executor::Call>(bytes)),
        2 => drop(check::<v1::master::Call>(bytes)),
        3 => drop(check::<v1::agent::Call>(bytes)),
        4 => drop(check::<v1::scheduler::Event>(bytes)),
        5 => drop(check::<v1::agent::ProcessIo>(bytes)),
        6 => drop(check::<v1::quota::QuotaConfig>(bytes)),
        _ => {
            let Some(task) = check::<v1::TaskInfo>(bytes) else { return };
            let _ = resources::decode(&task.resources);
        }
    }
});
