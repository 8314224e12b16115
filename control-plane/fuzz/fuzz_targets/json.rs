//! What JSON reads as a message is written and read again as the same message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tepui_wire::{
    WireMessage, decode_json, decode_protobuf, encode_json, encode_protobuf, resources, v1,
};

fn check<M: WireMessage + PartialEq + std::fmt::Debug>(json: &[u8]) -> Option<M> {
    let message: M = decode_json(json).ok()?;
    assert_eq!(decode_protobuf::<M>(&encode_protobuf(&message)).as_ref(), Ok(&message));
    let written = encode_json(&message);
    let full: M = decode_json(&written).expect("what was written can be read");
    assert_eq!(encode_json(&full).len(), written.len());
    Some(message)
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, json)) = data.split_first() else { return };
    match kind % 8 {
        0 => drop(check::<v1::scheduler::Call>(json)),
        1 => drop(check::<v1::executor::Call>(json)),
        2 => drop(check::<v1::master::Call>(json)),
        3 => drop(check::<v1::agent::Call>(json)),
        4 => drop(check::<v1::scheduler::Event>(json)),
        5 => drop(check::<v1::agent::ProcessIo>(json)),
        6 => drop(check::<v1::quota::QuotaConfig>(json)),
        _ => {
            let Some(task) = check::<v1::TaskInfo>(json) else { return };
            let _ = resources::decode(&task.resources);
        }
    }
});
