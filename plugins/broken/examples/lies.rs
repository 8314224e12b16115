//! Its card says allocator, and its module is an isolator's.
#![allow(unsafe_code, reason = "a card that no macro of the sdk makes")]

use tepui_plugin_sdk::Start;
use tepui_plugin_sdk::export::{Card, Exported, Functions, Header, Instance, Kind, header};

struct Liar;

impl Exported for Liar {
    const KIND: Kind = Kind::Isolator;

    fn open(_start: &Start) -> Result<Box<dyn Instance>, String> {
        Err("nobody gets here".to_owned())
    }
}

#[unsafe(no_mangle)]
pub static TEPUI_PLUGIN_CARD: Card = Card::of(Kind::Allocator, "lies", "0.1.0", "0.1.0", true);

#[unsafe(no_mangle)]
pub static TEPUI_PLUGIN: Header = header::<Functions<Liar>>();
