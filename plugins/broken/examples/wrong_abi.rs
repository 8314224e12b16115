//! Built for a boundary of the future.
#![allow(unsafe_code, reason = "a card that no macro of the sdk makes")]

use tepui_plugin_abi::Card;

#[unsafe(no_mangle)]
pub static TEPUI_PLUGIN_CARD: Card =
    Card::new(9, ("allocator", 1), "wrong-abi", "9.0.0", "9.0.0", true);
