//! Prints what the codecs cost for typical messages:
//! `cargo run --release -p tepui-wire --example codec_speed`.

use std::{error::Error, hint::black_box, time::Instant};

use tepui_wire::{
    WireMessage, decode_json, decode_protobuf, encode_json, encode_protobuf,
    v1::scheduler::{Call, Event},
};

const DECLINE: &str = r#"{"type":"DECLINE","framework_id":{"value":"12220-3440-12532-2345"},
    "decline":{"offer_ids":[{"value":"12220-3440-12532-O12"}],"filters":{"refuse_seconds":5.0}}}"#;

const ACCEPT: &str = r#"{"type":"ACCEPT","framework_id":{"value":"12220-3440-12532-2345"},
    "accept":{"offer_ids":[{"value":"12220-3440-12532-O12"}],"operations":[{"type":"LAUNCH",
    "launch":{"task_infos":[{"name":"My Task","task_id":{"value":"12220-3440-12532-my-task"},
    "agent_id":{"value":"12220-3440-12532-S1233"},"command":{"shell":true,"value":"sleep 1000"},
    "resources":[{"allocation_info":{"role":"engineering"},"name":"cpus","type":"SCALAR",
    "scalar":{"value":1.0}},{"allocation_info":{"role":"engineering"},"name":"mem",
    "type":"SCALAR","scalar":{"value":128.0}}]}]}}],"filters":{"refuse_seconds":5.0}}}"#;

const UPDATE: &str = r#"{"type":"UPDATE","update":{"status":{"task_id":{"value":"12344-my-task"},
    "state":"TASK_RUNNING","source":"SOURCE_EXECUTOR","uuid":"adfadfadbhgvjayd23r2uahj",
    "bytes":"uhdjfhuagdj63d7hadkf","timestamp":1500000000.25}}}"#;

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "{:<10}{:>12}{:>12}{:>14}{:>14}",
        "µs each", "read JSON", "write JSON", "read binary", "write binary"
    );
    print_costs::<Call>("DECLINE", DECLINE)?;
    print_costs::<Call>("ACCEPT", ACCEPT)?;
    print_costs::<Event>("UPDATE", UPDATE)?;
    Ok(())
}

fn print_costs<M: WireMessage>(name: &str, json: &str) -> Result<(), Box<dyn Error>> {
    let message: M = decode_json(json.as_bytes())?;
    let binary = encode_protobuf(&message);
    decode_protobuf::<M>(&binary)?;
    let read_json = micros(|| black_box(decode_json::<M>(black_box(json.as_bytes()))).is_ok());
    let write_json = micros(|| !black_box(encode_json(black_box(&message))).is_empty());
    let read = micros(|| black_box(decode_protobuf::<M>(black_box(&binary))).is_ok());
    let write = micros(|| !black_box(encode_protobuf(black_box(&message))).is_empty());
    println!("{name:<10}{read_json:>12.2}{write_json:>12.2}{read:>14.2}{write:>14.2}");
    Ok(())
}

/// The best of five runs, in microseconds per call.
fn micros(call: impl Fn() -> bool) -> f64 {
    const CALLS: u32 = 20_000;
    let run = || {
        let start = Instant::now();
        assert!((0..CALLS).all(|_| call()));
        start.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
    };
    (0..5).map(|_| run()).fold(f64::INFINITY, f64::min)
}
