//! What a plugin of Tepui is made with: `cargo new`, one macro, one trait.
//!
//! A plugin is a `cdylib` that depends on this crate alone:
//!
//! ```toml
//! [package]
//! name = "first-come"
//! version = "0.1.0"
//! edition = "2024"
//!
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! tepui-plugin-sdk = { path = "…/plugins/sdk" }
//!
//! [dev-dependencies]
//! tepui-plugin-sdk = { path = "…/plugins/sdk", features = ["conformance"] }
//! ```
//!
//! An allocator decides who is offered what. It implements [`Allocate`], as the one that is built
//! in does; one that is content to say whose turn it is has its books kept ([`Kept`]):
//!
//! ```
//! use tepui_plugin_sdk::serde::{self, Deserialize};
//! use tepui_plugin_sdk::{AgentId, Allocate, Books, Candidate, Kept, Policy, Start};
//!
//! /// Whoever comes first in the list of favourites is offered everything; after them, by id.
//! #[derive(Default, Deserialize)]
//! #[serde(crate = "serde", default, deny_unknown_fields)]
//! struct FirstCome {
//!     favourites: Vec<String>,
//! }
//!
//! impl Policy for FirstCome {
//!     fn choose(&mut self, _: &Books, _: &AgentId, candidates: &[Candidate]) -> Option<usize> {
//!         let place = |one: &Candidate| {
//!             self.favourites.iter().position(|name| name == one.client.role.as_str())
//!         };
//!         let rank = |at: &usize| place(&candidates[*at]).unwrap_or(usize::MAX);
//!         (0..candidates.len()).min_by_key(rank)
//!     }
//! }
//!
//! fn open(start: &Start) -> Result<impl Allocate + use<>, String> {
//!     Ok(Kept::new(start.settings::<FirstCome>()?))
//! }
//!
//! tepui_plugin_sdk::export_allocator!(name: "first-come", open: open);
//!
//! #[cfg(test)]
//! mod tests {
//!     use super::*;
//!
//!     #[test]
//!     fn it_keeps_what_every_allocator_promises() {
//!         tepui_plugin_sdk::conformance::allocator(|seed| {
//!             open(&Start::new("first-come", "", seed)).unwrap()
//!         });
//!     }
//! }
//! ```
//!
//! `cargo test`, `cargo build --release`, and the library goes to the control plane's `plugin_dir` as
//! `first-come.so` (`plugins/README.md` says what the control plane checks, and what happens to a
//! plugin that fails). Before that, `tepui allocator replay day.tepui --allocator drf --allocator
//! ./target/release/libfirst_come.so` says what it would have made of a recorded day, or in which round it
//! failed.

// The first page shows a plugin's own tests, which its author runs.
#![allow(clippy::test_attr_in_doctest)]

mod allocator;
mod books;
#[cfg(feature = "conformance")]
pub mod conformance;
#[doc(hidden)]
pub mod export;
mod isolator;
mod start;

pub use serde;

pub use books::{Agent, Books, Candidate, Client, Kept, Policy};
pub use isolator::{Host, Isolate, Setting, Wanted};
pub use start::Start;

pub use tepui_allocator::{
    AgentFacts, Allocate, Drf, Epoch, FrameworkFacts, Input, Minimum, NoOffer, Plan, Proposal,
    Reason, Reclaim, Refusal, Weight, Work,
};
pub use tepui_types::{
    AgentId, Entropy, FrameworkId, Identity, Mono, Range, Ranges, Reservation, ReservationKind,
    Resource, ResourceName, Resources, Role, Scalar, Span, Value,
};

/// Inputs and plans as bytes that other programs, and later versions, understand: for records.
pub mod records {
    use tepui_allocator::Plan;
    pub use tepui_plugin_abi::Malformed;
    use tepui_plugin_abi::allocator::{self, Message, Planned, State};
    pub use tepui_plugin_abi::allocator::{tell as encode_inputs, told as decode_inputs};

    /// A plan's bytes.
    #[must_use]
    pub fn encode_plan(plan: &Plan) -> Vec<u8> {
        allocator::planned(plan, State::default()).encode_to_vec()
    }

    /// A plan from its bytes.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the bytes are none.
    pub fn decode_plan(bytes: &[u8]) -> Result<Plan, Malformed> {
        allocator::plan(&allocator::read::<Planned>("a plan", bytes)?)
    }
}
