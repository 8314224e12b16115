//! Opening a library, once everything that can be known without running it is known.

use std::collections::HashMap;
use std::error::Error;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::LazyLock;

use abi_stable::library::LibraryError;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use parking_lot::Mutex;
use tepui_plugin_abi::{CardFacts, HeaderRef, Kind, PluginRef, SYMBOL};

use crate::config::{PluginSettings, Shelf};
use crate::file::{self, Trusted};
use crate::{Refused, inspect};

/// Longest part of another library's error that is told: abi_stable prints whole layouts.
const TOLD: usize = 300;

/// Why a library cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unloadable {
    /// The system's loader says no.
    #[error("the system cannot load its library: {0}")]
    Loader(String),
    /// Its functions are not those of this boundary.
    #[error("its functions differ from those of this daemon: {0}")]
    Layout(String),
    /// It was made with another abi_stable.
    #[error("{0}")]
    Base(String),
    /// Its module cannot be made.
    #[error("it does not start: {0}")]
    Start(String),
    /// Its card lies.
    #[error("its card says {card}, and its module {module}")]
    Lies {
        /// The kind on the card.
        card: String,
        /// The kind that the module says.
        module: String,
    },
    /// Somebody wrote over a file that is in use.
    #[error(
        "its file was written over while it was loaded; put another file in its place (mv), or \
         start the daemon anew"
    )]
    WrittenOver,
    /// It takes too long.
    #[error("it took longer than {0} ms to load")]
    Late(u128),
}

/// What a plugin is, before it is opened.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) facts: CardFacts,
    pub(crate) settings: PluginSettings,
    trusted: Trusted,
    kind: Kind,
}

/// The name on the card of a file that is to be trusted.
pub(crate) fn named(file: &Path, minds_owners: bool) -> Result<String, Refused> {
    let shown = || file.display().to_string();
    let trusted = file::open(file, None, minds_owners)
        .map_err(|why| Refused::Untrusted { name: shown(), why })?;
    inspect::name(&trusted.bytes).map_err(|why| Refused::Unfit { name: shown(), why })
}

/// Looks at a plugin without running any of it.
pub(crate) fn find(shelf: &Shelf, name: &str, kind: Kind) -> Result<Found, Refused> {
    let named = || name.to_owned();
    let path = shelf.path(name).map_err(|why| Refused::Missing { name: named(), why })?;
    let settings = shelf.settings(name);
    let trusted = file::open(&path, settings.sha256.as_deref(), shelf.minds_owners())
        .map_err(|why| Refused::Untrusted { name: named(), why })?;
    let facts = inspect::inspect(&trusted.bytes, name, kind)
        .map_err(|why| Refused::Unfit { name: named(), why })?;
    Ok(Found { facts, settings, trusted, kind })
}

/// A file that is loaded, and stays so for good.
#[derive(Debug)]
struct Loaded {
    sha256: String,
    /// The name by which the loader knows it: its descriptor, which stays open.
    path: String,
}

/// Files that are loaded, by device and inode.
static LOADED: LazyLock<Mutex<HashMap<(u64, u64), Loaded>>> = LazyLock::new(Mutex::default);

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut line = words.join(" ");
    if let Some((end, _)) = line.char_indices().nth(TOLD) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// The part of a report of abi_stable that says what differs.
fn difference(report: &str) -> String {
    let at = report.find("Error:").map_or(0, |at| at + "Error:".len());
    one_line(&report[at..])
}

fn explained(error: &LibraryError) -> Unloadable {
    let text = error.to_string();
    match error {
        LibraryError::AbiInstability(_) => Unloadable::Layout(difference(&text)),
        LibraryError::RootModule { .. } => Unloadable::Start(one_line(&text)),
        _ => Unloadable::Base(one_line(&text)),
    }
}

/// What the system's loader says: libloading itself only tells that it said something.
fn unloaded(error: &libloading::Error) -> Unloadable {
    let said = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    Unloadable::Loader(one_line(&said))
}

impl Found {
    pub(crate) fn path(&self) -> String {
        self.trusted.path.display().to_string()
    }

    pub(crate) fn sha256(&self) -> &str {
        &self.trusted.sha256
    }

    /// Opens the library. From here on its code runs in this process.
    pub(crate) fn open(self) -> Result<PluginRef, Unloadable> {
        let Trusted { file, sha256, bytes, .. } = self.trusted;
        drop(bytes);
        let facts = file.metadata().map_err(|error| Unloadable::Loader(error.to_string()))?;
        let mut loaded = LOADED.lock();
        let place = (facts.dev(), facts.ino());
        let known = loaded.get(&place);
        if known.is_some_and(|known| known.sha256 != sha256) {
            return Err(Unloadable::WrittenOver);
        }
        // It is this open file that was judged, whatever its name leads to by now. The descriptor
        // stays open for good: the loader knows libraries by name, and would take the next one of
        // the same number for this one. Loaded again, it is asked for by the name that it has.
        let path = known.map_or_else(
            || format!("/proc/self/fd/{}", file.as_raw_fd()),
            |known| known.path.clone(),
        );
        // SAFETY: constructors of the library run here. Nobody can prove what they do; that is why
        // only files come so far that root, or this very user, put there (`file`), that carry the
        // card of a plugin (`inspect`), and that have the hash which the operator named.
        let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) };
        // What was not loaded is closed again, and may be written over.
        let library = library.map_err(|error| unloaded(&error))?;
        loaded.entry(place).or_insert_with(|| {
            let _ = file.into_raw_fd();
            Loaded { sha256, path }
        });
        let symbol = format!("{SYMBOL}\0");
        // SAFETY: `HeaderRef` is a transparent pointer to a header that begins with a magic text,
        // which `upgrade` reads before anything else. A library with our card exports it under
        // this name; the pointer stays valid because the library is never unloaded (below).
        let header = unsafe { library.get::<HeaderRef>(symbol.as_bytes()).map(|found| *found) };
        // Never unloaded: its code may be on the stack of a thread that hangs.
        std::mem::forget(library);
        let header = header.map_err(|error| unloaded(&error))?;
        let header = header.upgrade().map_err(|error| explained(&error))?;
        let module: PluginRef = header.init_root_module().map_err(|error| explained(&error))?;
        if module.kind().as_str() != self.kind.name() {
            return Err(Unloadable::Lies {
                card: self.facts.kind,
                module: module.kind().as_str().to_owned(),
            });
        }
        Ok(module)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_report_becomes_a_line_about_what_differs() {
        let report = format!(
            "{}\nError:\n  expected u64\n  found   u32{}",
            "x ".repeat(9999),
            "y".repeat(9999)
        );
        let line = difference(&report);
        assert!(line.starts_with("expected u64 found u32y"), "{line}");
        assert!(line.chars().count() <= TOLD + 1 && line.ends_with('…'));
        assert_eq!(difference("short"), "short");
    }
}
