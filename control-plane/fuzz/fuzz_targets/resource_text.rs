//! Resource text that is accepted survives printing, and the three formats of the wire.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tepui_types::Role;
use tepui_wire::resources::{Format, decode, encode, parse_text};

fuzz_target!(|text: &str| {
    let Ok(resources) = parse_text(text, &Role::default_role()) else { return };
    for format in [Format::PreRefinement, Format::PostRefinement, Format::Endpoint] {
        // Sums may exceed what one message may carry; nothing else may go wrong.
        if let Ok(decoded) = decode(&encode(&resources, format, None)) {
            assert_eq!(decoded.resources, resources);
        }
    }
    if text.trim_start().starts_with('[') {
        return; // JSON says more than text can
    }
    if let Ok(again) = parse_text(&resources.to_string(), &Role::default_role()) {
        assert_eq!(again, resources);
    }
});
