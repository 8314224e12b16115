//! Attribute text that is accepted survives the wire.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tepui_wire::attributes::{decode, encode, parse_text};

fuzz_target!(|text: &str| {
    let Ok(attributes) = parse_text(text) else { return };
    assert_eq!(decode(&encode(&attributes)), Ok(attributes));
});
