//! What another allocator would have made of a cluster's day: recordings of what an allocator was
//! told and decided, what the frameworks must have wanted, that demand played to any allocator, and a candidate that
//! follows the one in charge.
//!
//! Pure: bytes go in, a table comes out. `README.md` beside this says what a recording can tell and
//! what it cannot.

mod demand;
mod fit;
mod format;
mod measure;
mod play;
mod recording;
mod shadow;
mod table;

pub use demand::{Client, Demand, Habit, Item};
pub use format::{BadRecording, MAX_FRAME, VERSION, decode, encode_step, header};
pub use measure::Outcome;
pub use play::{as_recorded, play};
pub use recording::{Recording, Step, What};
pub use shadow::{Difference, Shadow, Taker, Tally};
pub use table::Comparison;
