//! The module that a library exports: four functions, checked field by field by abi_stable.

use abi_stable::StableAbi;
use abi_stable::library::{AbiHeaderRef, CheckTypeLayout, LibHeader, RootModule, RootModuleResult};
use abi_stable::package_version_strings;
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RSlice, RStr, RVec};

/// What a plugin's library exports under [`SYMBOL`].
pub type Header = LibHeader;
/// The same before anybody checked it.
pub type HeaderRef = AbiHeaderRef;

/// The name of the exported [`Header`].
pub const SYMBOL: &str = "TEPUI_PLUGIN";

/// A plugin's functions. None of them may unwind: the sdk catches.
///
/// An instance belongs to the thread that opened it; another thread is refused.
#[repr(C)]
#[derive(Debug, StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginRef, prefix_fields = PluginPrefix)))]
pub struct Plugin {
    /// The name of its kind.
    pub kind: RStr<'static>,
    /// Makes an instance from a start message; the reply is its number in eight bytes.
    pub open: extern "C" fn(RSlice<'_, u8>) -> Reply,
    /// Calls a method of an instance.
    pub call: extern "C" fn(u64, u32, RSlice<'_, u8>) -> Reply,
    /// Ends an instance.
    #[sabi(last_prefix_field)]
    pub close: extern "C" fn(u64) -> Reply,
}

impl RootModule for PluginRef {
    abi_stable::declare_root_module_statics! {PluginRef}
    const BASE_NAME: &'static str = "tepui_plugin";
    const NAME: &'static str = "tepui-plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should; the bytes are the answer.
    Done,
    /// The plugin says no; the bytes are its words.
    Refused,
    /// The plugin panicked; the bytes are its last words.
    Panicked,
}

/// The answer to a call.
#[repr(C)]
#[derive(Debug, StableAbi)]
pub struct Reply {
    outcome: u32,
    bytes: RVec<u8>,
}

impl Reply {
    /// An answer.
    #[must_use]
    pub fn new(outcome: Outcome, bytes: Vec<u8>) -> Self {
        let outcome = match outcome {
            Outcome::Done => 0,
            Outcome::Refused => 1,
            Outcome::Panicked => 2,
        };
        Self { outcome, bytes: bytes.into() }
    }

    /// How the call ended; `None` for what this version does not know.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self.outcome {
            0 => Some(Outcome::Done),
            1 => Some(Outcome::Refused),
            2 => Some(Outcome::Panicked),
            _ => None,
        }
    }

    /// The answer itself.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Whoever exports a module.
pub trait Exports: 'static {
    /// The module.
    const MODULE: Plugin;
}

/// What to export under [`SYMBOL`]; a constant, for a `static`.
#[must_use]
pub const fn header<E: Exports>() -> Header {
    // SAFETY: `construct` gives out what it was given by `module`, whose type is `PluginRef`, and
    // nothing else: `__call_root_module_loader` erases exactly the type that its argument returns.
    unsafe { LibHeader::from_constructor::<PluginRef>(construct::<E>, CheckTypeLayout::Yes) }
}

extern "C" fn construct<E: Exports>() -> RootModuleResult {
    abi_stable::library::__call_root_module_loader(module::<E>)
}

fn module<E: Exports>() -> PluginRef {
    E::MODULE.leak_into_prefix()
}
