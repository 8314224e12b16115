//! A recording: everything that an allocator was told, and what it decided, in order.

use tepui_allocator::{Input, Plan};
use tepui_types::Mono;

/// Something that was told or decided.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// The allocator was told this, in this order.
    Told(Vec<Input>),
    /// A round ended with this plan.
    Planned(Plan),
}

/// Something that was told or decided, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// On the clock of the control plane that recorded.
    pub at: Mono,
    /// What.
    pub what: What,
}

/// A recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// In order of time.
    pub steps: Vec<Step>,
    /// It ends within a step: whoever recorded it died, or its file was full.
    pub cut_short: bool,
}
