//! JSON and the binary form agree for every message of every package, and garbage only ever gives
//! errors.

#![allow(clippy::unwrap_used)]

mod generate;

use generate::{Fill, Random};
use proptest::prelude::*;
use prost_reflect::{DescriptorPool, DynamicMessage, prost::Message as _};
use tepui_wire::{
    WireMessage, decode_json, decode_protobuf, encode_json, encode_protobuf,
    schema::{MESSAGES, MessageSchema},
};

include!(concat!(env!("OUT_DIR"), "/every_message.rs"));

/// The codecs of one message type, without its type.
struct Codec {
    schema: &'static MessageSchema,
    /// Binary → message → JSON.
    to_json: fn(&[u8]) -> Result<Vec<u8>, String>,
    /// JSON → message → binary.
    from_json: fn(&[u8]) -> Result<Vec<u8>, String>,
    /// Binary → message → binary.
    recode: fn(&[u8]) -> Result<Vec<u8>, String>,
}

fn codec<M: WireMessage>() -> Codec {
    Codec {
        schema: M::SCHEMA,
        to_json: |bytes| {
            decode_protobuf::<M>(bytes).map(|m| encode_json(&m)).map_err(|e| e.to_string())
        },
        from_json: |json| {
            decode_json::<M>(json).map(|m| encode_protobuf(&m)).map_err(|e| e.to_string())
        },
        recode: |bytes| {
            decode_protobuf::<M>(bytes).map(|m| encode_protobuf(&m)).map_err(|e| e.to_string())
        },
    }
}

fn codecs() -> Vec<Codec> {
    let mut all = Vec::new();
    macro_rules! add {
        ($message:ty) => {
            all.push(codec::<$message>());
        };
    }
    for_every_message!(add);
    all
}

fn show(json: &[u8]) -> String {
    String::from_utf8_lossy(json).into_owned()
}

#[test]
fn every_message_of_the_table_has_a_codec() {
    let named = codecs().len();
    assert_eq!(named, 351);
    // google.protobuf.Duration belongs to another crate, and is walked as part of others.
    assert_eq!(MESSAGES.len(), named + 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_as_json_reads_back_as_the_same_message(seed in any::<u64>()) {
        let mut random = Random(seed);
        for codec in codecs() {
            for fill in [Fill::Least, Fill::Some, Fill::Most] {
                let bytes = generate::message(codec.schema, &mut random, fill);
                let binary = (codec.recode)(&bytes).map_err(TestCaseError::fail)?;
                let json = (codec.to_json)(&binary).map_err(TestCaseError::fail)?;
                let back = (codec.from_json)(&json);
                prop_assert_eq!(back, Ok(binary), "{}: {}", codec.schema.name, show(&json));
            }
        }
    }

    #[test]
    fn writing_json_again_changes_nothing(seed in any::<u64>()) {
        let mut random = Random(seed);
        for codec in codecs() {
            let bytes = generate::message(codec.schema, &mut random, Fill::Sparse);
            let json = (codec.to_json)(&bytes).map_err(TestCaseError::fail)?;
            let binary = (codec.from_json)(&json).map_err(TestCaseError::fail)?;
            let again = (codec.to_json)(&binary).map_err(TestCaseError::fail)?;
            // Unset defaults stand behind the set fields, so the order of the keys may differ.
            let tree = |json: &[u8]| serde_json::from_slice::<serde_json::Value>(json).unwrap();
            prop_assert_eq!(tree(&again), tree(&json));
        }
    }

    #[test]
    fn an_independent_reader_sees_the_same_message(seed in any::<u64>()) {
        let pool = DescriptorPool::decode(tepui_wire::DESCRIPTOR_SET).unwrap();
        let mut random = Random(seed);
        for codec in codecs() {
            let bytes = generate::message(codec.schema, &mut random, Fill::Some);
            let binary = (codec.recode)(&bytes).map_err(TestCaseError::fail)?;
            let json = show(&(codec.to_json)(&binary).map_err(TestCaseError::fail)?);
            if json.contains("max_grace_period") {
                continue; // the other mapping writes durations as text
            }
            let descriptor = pool.get_message_by_name(codec.schema.name).unwrap();
            let mut tokens = serde_json::Deserializer::from_str(&json);
            let other = DynamicMessage::deserialize(descriptor, &mut tokens)
                .map_err(|error| TestCaseError::fail(format!("{error}: {json}")))?;
            let other = (codec.recode)(&other.encode_to_vec());
            prop_assert_eq!(other, Ok(binary), "{}: {}", codec.schema.name, json);
        }
    }

    #[test]
    fn damaged_messages_never_panic(seed in any::<u64>()) {
        let mut random = Random(seed);
        for codec in codecs() {
            let bytes = generate::message(codec.schema, &mut random, Fill::Some);
            let json = (codec.to_json)(&bytes).unwrap();
            for intact in [bytes, json] {
                let mut damaged = intact;
                for _ in 0..=random.below(3) {
                    if !damaged.is_empty() {
                        let place = random.below(damaged.len());
                        match random.below(3) {
                            0 => damaged[place] = random.next().to_le_bytes()[0],
                            1 => damaged.truncate(place),
                            _ => damaged.insert(place, random.next().to_le_bytes()[0]),
                        }
                    }
                }
                let _ = (codec.to_json)(&damaged);
                let _ = (codec.from_json)(&damaged);
            }
        }
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for codec in codecs() {
            let _ = (codec.to_json)(&bytes);
            let _ = (codec.from_json)(&bytes);
        }
    }
}
