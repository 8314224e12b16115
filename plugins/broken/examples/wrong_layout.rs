//! Its card is right, and its module has a function with another parameter.
#![allow(unsafe_code, reason = "a module that no macro of the sdk makes")]

use tepui_plugin_abi::{Card, Header, Kind, misfit};

#[unsafe(no_mangle)]
pub static TEPUI_PLUGIN_CARD: Card =
    Card::of(Kind::Allocator, "wrong-layout", "0.1.0", "0.1.0", true);

#[unsafe(no_mangle)]
pub static TEPUI_PLUGIN: Header = misfit::header();
