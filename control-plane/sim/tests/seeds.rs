//! Some seeds of the simulator; the binary runs thousands.

use tepui_sim::{FaultCounts, run};
use tepui_types::Span;

const MINUTE: Span = Span::from_secs(60);

#[test]
fn the_invariants_hold_whatever_breaks() {
    let mut faults = FaultCounts::default();
    for seed in 1..=120 {
        let outcome = run(seed, MINUTE, false);
        assert!(outcome.violations.is_empty(), "seed {seed}: {:#?}", outcome.violations);
        faults.add(&outcome.faults);
    }
    assert_eq!(faults.missing(), [], "each kind of fault happened");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let (one, other) = (run(7, MINUTE, false), run(7, MINUTE, false));
    assert_eq!(one, other);
    assert_ne!(one.trace, run(8, MINUTE, false).trace);
    // Whoever reads along changes nothing.
    assert_eq!(one.trace, run(7, MINUTE, true).trace);
}
