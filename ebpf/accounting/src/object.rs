//! The compiled objects, and libbpf's talk about them.

use std::sync::Mutex;

use libbpf_rs::{Object, ObjectBuilder, OpenObject, PrintLevel};

use crate::AccountingError;
use crate::catalogue::ObjectName;

/// What libbpf said last, for the error that follows. The verifier's verdict is at the end.
static TALK: Mutex<String> = Mutex::new(String::new());
/// Bytes of talk that are kept.
const MOST_TALK: usize = 8 * 1024;

/// libbpf needs objects at addresses that are multiples of 8; `include_bytes` promises none.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

macro_rules! compiled {
    ($file:literal) => {{
        static OBJECT: &Aligned<[u8]> =
            &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/", $file, ".bpf.o")));
        &OBJECT.0
    }};
}

fn bytes(name: ObjectName) -> &'static [u8] {
    match name {
        ObjectName::Level => compiled!("level"),
        ObjectName::Devices => compiled!("devices"),
        ObjectName::Ports => compiled!("ports"),
        ObjectName::Sched => compiled!("sched"),
        ObjectName::Net => compiled!("net"),
        ObjectName::Block => compiled!("block"),
    }
}

fn remember(level: PrintLevel, text: String) {
    if matches!(level, PrintLevel::Debug) {
        return;
    }
    if let Ok(mut talk) = TALK.lock() {
        talk.push_str(&text);
        let mut from = talk.len().saturating_sub(MOST_TALK);
        while !talk.is_char_boundary(from) {
            from += 1;
        }
        talk.drain(..from);
    }
}

/// Runs something that makes libbpf talk, without a line on stderr.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> T {
    libbpf_rs::set_print(Some((PrintLevel::Info, remember)));
    work()
}

/// The talk so far, taken.
fn take_talk() -> String {
    TALK.lock().map(|mut talk| std::mem::take(&mut *talk)).unwrap_or_default()
}

/// Opens an object; nothing reaches the kernel yet.
pub(crate) fn open(name: ObjectName) -> Result<OpenObject, AccountingError> {
    quietly(|| {
        let _ = take_talk();
        ObjectBuilder::default()
            .open_memory(bytes(name))
            .map_err(|source| AccountingError::Open { object: name.word(), source })
    })
}

/// Has the kernel check and take the programs and maps.
pub(crate) fn load(name: ObjectName, open: OpenObject) -> Result<Object, AccountingError> {
    quietly(|| {
        open.load().map_err(|source| AccountingError::Load {
            object: name.word(),
            log: take_talk().trim().to_owned(),
            source,
        })
    })
}

/// Opens and loads an object as it is.
pub(crate) fn load_plain(name: ObjectName) -> Result<Object, AccountingError> {
    load(name, open(name)?)
}
