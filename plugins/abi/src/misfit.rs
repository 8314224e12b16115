//! A module that does not fit, for the test that daemons refuse it.

use abi_stable::StableAbi;
use abi_stable::library::{CheckTypeLayout, LibHeader, RootModule, RootModuleResult};
use abi_stable::package_version_strings;
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RSlice, RStr};

use crate::{Header, Outcome, Reply};

/// As the module of plugins, but that methods are numbered in eight bytes.
#[repr(C)]
#[derive(Debug, StableAbi)]
#[sabi(kind(Prefix(prefix_ref = MisfitRef, prefix_fields = MisfitPrefix)))]
pub struct Plugin {
    /// The name of its kind.
    pub kind: RStr<'static>,
    /// Makes an instance.
    pub open: extern "C" fn(RSlice<'_, u8>) -> Reply,
    /// Calls a method.
    pub call: extern "C" fn(u64, u64, RSlice<'_, u8>) -> Reply,
    /// Ends an instance.
    #[sabi(last_prefix_field)]
    pub close: extern "C" fn(u64) -> Reply,
}

impl RootModule for MisfitRef {
    abi_stable::declare_root_module_statics! {MisfitRef}
    const BASE_NAME: &'static str = "tepui_plugin";
    const NAME: &'static str = "tepui-plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

extern "C" fn open(_: RSlice<'_, u8>) -> Reply {
    Reply::new(Outcome::Refused, Vec::new())
}

extern "C" fn call(_: u64, _: u64, _: RSlice<'_, u8>) -> Reply {
    Reply::new(Outcome::Refused, Vec::new())
}

extern "C" fn close(_: u64) -> Reply {
    Reply::new(Outcome::Refused, Vec::new())
}

fn module() -> MisfitRef {
    Plugin { kind: RStr::from_str("allocator"), open, call, close }.leak_into_prefix()
}

extern "C" fn construct() -> RootModuleResult {
    abi_stable::library::__call_root_module_loader(module)
}

/// What a library exports that does not fit.
#[must_use]
pub const fn header() -> Header {
    // SAFETY: `construct` gives out what it was given by `module`, whose type is `MisfitRef`.
    unsafe { LibHeader::from_constructor::<MisfitRef>(construct, CheckTypeLayout::Yes) }
}
