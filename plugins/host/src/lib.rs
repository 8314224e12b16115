//! Loads plugins and keeps the daemon safe from them, as far as a library in the same process can
//! be kept from harm (`plugins/README.md` says how far that is).
//!
//! Before anything of a library runs, its file is looked at: who owns it and who can change it
//! (`file`), its hash, and the card in it (`inspect`). Then it is opened, its layout is checked
//! (`library`), and each instance gets a thread of its own, which it is waited for no longer than its
//! time budget (`runner`). Whatever fails is told in one line, by log, metrics and list ([`Board`]).

mod allocator;
mod beside;
mod board;
mod config;
mod file;
mod inspect;
pub mod isolator;
mod library;
mod live;
mod rehearsal;
mod runner;

pub use allocator::PluginAllocator;
pub use beside::{Beside, Fault};
pub use board::{Board, Report, Standing};
pub use config::{PluginSettings, Shelf};
pub use file::Untrusted;
pub use inspect::Unfit;
pub use library::Unloadable;
pub use live::{BUILT_IN, Live};
pub use rehearsal::{Rehearsal, Stumble};
pub use runner::{Failure, Runner};

pub use tepui_plugin_abi::{CardFacts, Kind};

/// Why a plugin is not in use.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It cannot be found.
    #[error("plugin {name}: {why}")]
    Missing {
        /// The plugin.
        name: String,
        /// What is missing.
        why: String,
    },
    /// Its file is not to be trusted.
    #[error("plugin {name}: {why}")]
    Untrusted {
        /// The plugin.
        name: String,
        /// Why not.
        why: Untrusted,
    },
    /// It is not what is asked for.
    #[error("plugin {name}: {why}")]
    Unfit {
        /// The plugin.
        name: String,
        /// Why not.
        why: Unfit,
    },
    /// It cannot be opened.
    #[error("plugin {name}: {why}")]
    Unloadable {
        /// The plugin.
        name: String,
        /// Why not.
        why: Unloadable,
    },
    /// It was opened, and failed at its first call.
    #[error("plugin {name}: {why}")]
    Failed {
        /// The plugin.
        name: String,
        /// How.
        why: Failure,
    },
}
