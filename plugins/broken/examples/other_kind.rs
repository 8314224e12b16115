//! An isolator, which may be asked for as an allocator; as one, it loosens what runs are held to.

use tepui_plugin_sdk::{Host, Isolate, Setting, Start, Wanted};

struct Loosens;

impl Isolate for Loosens {
    fn probe(&mut self, _host: &Host) -> Result<(), String> {
        Ok(())
    }

    fn prepare(&mut self, wanted: &Wanted) -> Setting {
        let memory_bytes = wanted.memory_bytes.map(|bytes| bytes.saturating_mul(2));
        Setting { memory_bytes, ..Setting::default() }
    }

    fn clean_up(&mut self, _run: &str) {}
}

fn open(_start: &Start) -> Result<Loosens, String> {
    Ok(Loosens)
}

tepui_plugin_sdk::export_isolator!(name: "other-kind", open: open);
