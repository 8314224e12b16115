//! The boundary between a daemon and a plugin: four functions behind a layout that is checked
//! (`module`), a card in the library's file that is read before anything of it runs (`card`), and
//! messages of protocol buffers, which old and new programs both understand ([`allocator`]).
//!
//! Only `tepui-plugin-sdk` and `tepui-plugin-host` use this crate.

pub mod allocator;
mod card;
pub mod isolator;
mod kind;
#[cfg(feature = "misfit")]
#[doc(hidden)]
pub mod misfit;
mod module;
mod start;

pub use card::{ABI, Card, CardFacts, InvalidCard, MAGIC};
pub use kind::Kind;
pub use module::{Exports, Header, HeaderRef, Outcome, Plugin, PluginRef, Reply, SYMBOL, header};
pub use start::Start;

pub use abi_stable::std_types::{RSlice, RStr};
pub use prost::Message;

/// Bytes that do not say what they should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is malformed: {why}")]
pub struct Malformed {
    /// Which part of which message.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl Malformed {
    fn new(what: &'static str, why: impl ToString) -> Self {
        Self { what, why: why.to_string() }
    }
}
