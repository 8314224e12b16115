//! Not broken at all: the allocator that is built in, behind the boundary.

use tepui_plugin_sdk::{Drf, Start};

fn open(start: &Start) -> Result<Drf, String> {
    Ok(Drf::new(start.entropy()))
}

tepui_plugin_sdk::export_allocator!(name: "dominant", open: open);
