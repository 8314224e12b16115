//! The allocator `binpack` as a plugin: the fullest agents are offered first
//! (`tepui_plugin_allocators::binpack`).

use tepui_plugin_allocators::binpack::allocator;
use tepui_plugin_sdk::{Allocate, Start};

fn open(start: &Start) -> Result<impl Allocate + use<>, String> {
    allocator(start.settings()?)
}

tepui_plugin_sdk::export_allocator!(name: "binpack", open: open);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_what_every_allocator_promises() {
        tepui_plugin_sdk::conformance::allocator(|seed| {
            open(&Start::new("binpack", "", seed)).expect("the settings are the defaults")
        });
    }
}
