//! What every plugin of a kind promises, as tests to run on one's own.
//!
//! The daemons rely on these promises and watch them: a plugin that breaks one in a cluster is put
//! out of use.

mod chaos;
mod isolators;
mod promises;
mod referee;
pub mod words;

use tepui_allocator::Allocate;

use crate::Isolate;

/// Runs every promise of an allocator, each several times. `open` makes a fresh allocator of a seed.
///
/// # Panics
///
/// When a promise is broken; the message says which one, and after which inputs.
pub fn allocator<A: Allocate>(open: impl Fn(u64) -> A) {
    promises::all(&open);
    for seed in 0..SEEDS {
        chaos::plans_stay_within_what_there_is(seed, &open);
    }
}

/// Runs every promise of an isolator. `open` makes a fresh one, which was not probed. One that this
/// host cannot do has to say why; nothing more is asked of it then.
///
/// # Panics
///
/// When a promise is broken; the message says which one.
pub fn isolator<I: Isolate>(open: impl Fn() -> I) {
    isolators::all(&open);
}

/// Random histories that are tried.
const SEEDS: u64 = 40;
