//! What the log says of plugins that open.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use support::Rig;
use tepui_plugin_host::Beside;

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The lines that this thread logs meanwhile.
fn logged(act: impl FnOnce()) -> Vec<String> {
    let kept = Kept::default();
    let writer = kept.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    tracing::subscriber::with_default(log.finish(), act);
    let bytes = kept.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn one_that_only_follows_is_never_said_to_be_in_use() {
    let rig = Rig::new();
    rig.install("dominant", "dominant");
    let lines = logged(|| drop(Beside::open(&rig.shelf, "dominant", 1, &rig.board).unwrap()));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("standing=shadow"), "{lines:?}");
    let lines = logged(|| drop(rig.open("dominant").unwrap()));
    assert!(lines[0].contains("standing=in use"), "{lines:?}");
}
