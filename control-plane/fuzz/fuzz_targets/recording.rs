//! A recording of an allocator that is read is written and read again as the same, and what was wanted
//! in it is played to another allocator to its end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tepui_allocator::Drf;
use tepui_replay::{Demand, as_recorded, decode, encode_step, header, play};
use tepui_types::{Entropy, Span};

/// A longer one is only read: playing it takes its time.
const PLAYED: Span = Span::from_secs(120);

fuzz_target!(|data: &[u8]| {
    let Some((form, rest)) = data.split_first() else { return };
    // The header is given as often as not: few inputs would have it.
    let mut bytes = if form % 2 == 0 { header() } else { Vec::new() };
    bytes.extend_from_slice(rest);
    let Ok(recording) = decode(&bytes) else { return };
    let mut again = header();
    for step in &recording.steps {
        let Some(frame) = encode_step(step) else { return };
        again.extend(frame);
    }
    let read = decode(&again).expect("what was read can be written");
    assert_eq!((&read.steps, read.cut_short), (&recording.steps, false));
    let demand = Demand::of(&recording);
    let _ = as_recorded(&demand);
    if demand.end.since(demand.begin) <= PLAYED {
        play(&demand, "drf", &mut Drf::new(Entropy::seeded(1)));
    }
});
