//! The allocator `priority` as a plugin: strict priorities between roles, and what is held below is taken back
//! (`tepui_plugin_allocators::priority`).

use tepui_plugin_allocators::priority::allocator;
use tepui_plugin_sdk::{Allocate, Start};

fn open(start: &Start) -> Result<impl Allocate + use<>, String> {
    allocator(start.settings()?)
}

tepui_plugin_sdk::export_allocator!(name: "priority", open: open);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_what_every_allocator_promises() {
        tepui_plugin_sdk::conformance::allocator(|seed| {
            open(&Start::new("priority", "", seed)).expect("the settings are the defaults")
        });
    }
}
