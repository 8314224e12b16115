//! What a library says of itself, read from its bytes: nothing of it runs for that.

use tepui_plugin_abi::{ABI, Card, CardFacts, InvalidCard, Kind, MAGIC};

/// Why a file is not the plugin that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is no library of this machine's kind.
    #[error("its file is {0}")]
    NoLibrary(&'static str),
    /// It is the beginning of a library.
    #[error(
        "its file is not a whole library: {found} of {needed} bytes that its head and tables name"
    )]
    CutShort {
        /// Bytes that are there.
        found: u64,
        /// Where the last thing ends that it names, as far as its tables are there.
        needed: u64,
    },
    /// It is a library, but no plugin.
    #[error("its file is a library without a plugin's card: no macro of tepui-plugin-sdk is in it")]
    NoCard,
    /// Its card cannot be read.
    #[error("{0}")]
    BadCard(#[from] InvalidCard),
    /// It was built for another boundary.
    #[error("it was built for version {found} of the plugin boundary, and this daemon has {ABI}")]
    Abi {
        /// Its version.
        found: u32,
    },
    /// It is of a kind that nobody has heard of.
    #[error("it is of the kind '{found}', which this daemon does not know")]
    UnknownKind {
        /// Its kind.
        found: String,
    },
    /// It is of a kind that nothing uses.
    #[error("it is of the kind {found}, for which no daemon has a use yet")]
    UselessKind {
        /// Its kind.
        found: Kind,
    },
    /// It is of another kind.
    #[error("it is of the kind {found}, and one of the kind {wanted} is needed here")]
    OtherKind {
        /// Its kind.
        found: Kind,
        /// What is needed.
        wanted: Kind,
    },
    /// It speaks another version of its kind.
    #[error("it speaks version {found} of the kind {kind}, and this daemon {}", kind.version())]
    KindVersion {
        /// Its kind.
        kind: Kind,
        /// Its version.
        found: u32,
    },
    /// It has another name.
    #[error("it calls itself '{found}'")]
    Name {
        /// Its name.
        found: String,
    },
    /// Its panics would end the daemon.
    #[error("it was built with panic = \"abort\", so that its panics would end this daemon")]
    Aborts,
}

/// `e_type` of a shared object.
const ET_DYN: u8 = 3;

/// Bytes of a head.
const HEAD: u64 = 64;

/// `EI_CLASS` and `EI_DATA` of the libraries whose heads are read here.
const WIDE_LITTLE_ENDIAN: [u8; 2] = [2, 1];

/// The `e_machine` that this daemon runs on.
const MACHINE: u16 = match () {
    () if cfg!(target_arch = "x86_64") => 62,
    () if cfg!(target_arch = "aarch64") => 183,
    () => 0,
};

/// Looks at the head of a file (`elf(5)`).
fn check_library(bytes: &[u8]) -> Result<(), Unfit> {
    if !bytes.starts_with(b"\x7fELF") {
        return Err(Unfit::NoLibrary("no library at all (no ELF)"));
    }
    let found = bytes.len() as u64;
    if found < HEAD {
        return Err(Unfit::CutShort { found, needed: HEAD });
    }
    if bytes[16] != ET_DYN {
        return Err(Unfit::NoLibrary("a program or an object, not a shared library"));
    }
    if MACHINE != 0 && u16::from_le_bytes([bytes[18], bytes[19]]) != MACHINE {
        return Err(Unfit::NoLibrary("a library for another processor"));
    }
    if bytes[4..6] == WIDE_LITTLE_ENDIAN {
        let needed = named_bytes(bytes);
        if needed > found {
            return Err(Unfit::CutShort { found, needed });
        }
    }
    Ok(())
}

/// A table of a library: where the head says that it is, and where an entry says what it is of.
struct Table {
    at: usize,
    entry_bytes: usize,
    entries: usize,
    begin: usize,
    length: usize,
    /// `sh_type`, of what takes no room in a file (`SHT_NOBITS`).
    absent: Option<(usize, u32)>,
}

/// What the loader maps: what is mapped and is not there kills whoever reads it, and the loader reads a
/// library that was copied only in part.
const SEGMENTS: Table =
    Table { at: 32, entry_bytes: 54, entries: 56, begin: 8, length: 32, absent: None };
/// What else is in the file. Linkers put this table last, so that a file without its end is noticed.
const SECTIONS: Table =
    Table { at: 40, entry_bytes: 58, entries: 60, begin: 24, length: 32, absent: Some((4, 8)) };

/// Where the last thing ends that head and tables name, as far as the tables are there.
fn named_bytes(bytes: &[u8]) -> u64 {
    SEGMENTS.end(bytes).max(SECTIONS.end(bytes))
}

impl Table {
    fn end(&self, bytes: &[u8]) -> u64 {
        let wide = |from: u64| {
            usize::try_from(from).ok().and_then(|from| at(bytes, from)).map(u64::from_le_bytes)
        };
        let short =
            |from| at(bytes, from).map_or(0, |number| u64::from(u16::from_le_bytes(number)));
        let (entry_bytes, entries) = (short(self.entry_bytes), short(self.entries));
        let begin = wide(self.at as u64).unwrap_or_default();
        if entries == 0 {
            return 0;
        }
        let starts = (0..entries).map(|number| begin.saturating_add(number * entry_bytes));
        let ends = starts.map(|start| {
            let there = self.absent.is_none_or(|(place, kind)| {
                let place = usize::try_from(start.saturating_add(place as u64)).ok();
                place.and_then(|place| at(bytes, place)).map(u32::from_le_bytes) != Some(kind)
            });
            let field = |offset: usize| wide(start.saturating_add(offset as u64)).unwrap_or(0);
            let length = field(self.length);
            if there && length > 0 { field(self.begin).saturating_add(length) } else { 0 }
        });
        ends.fold(begin.saturating_add(entries * entry_bytes), u64::max)
    }
}

fn at<const N: usize>(bytes: &[u8], from: usize) -> Option<[u8; N]> {
    bytes.get(from..from.checked_add(N)?)?.try_into().ok()
}

/// The card in a library's bytes.
fn card(bytes: &[u8]) -> Result<CardFacts, Unfit> {
    let mut last = None;
    let mut from = 0;
    while let Some(at) = find(&bytes[from..], &MAGIC) {
        from += at + MAGIC.len();
        match Card::read(&bytes[from..]) {
            Ok(facts) => return Ok(facts),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or(Unfit::NoCard, Unfit::BadCard))
}

fn find(bytes: &[u8], what: &[u8; MAGIC.len()]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| *byte == what[0]) {
        if bytes[from + at..].starts_with(what) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// The name that a plugin gives itself.
pub(crate) fn name(bytes: &[u8]) -> Result<String, Unfit> {
    check_library(bytes)?;
    card(bytes).map(|facts| facts.name)
}

/// Whether a library is the plugin `name` of the kind `wanted`.
pub(crate) fn inspect(bytes: &[u8], name: &str, wanted: Kind) -> Result<CardFacts, Unfit> {
    check_library(bytes)?;
    let facts = card(bytes)?;
    if facts.abi != ABI {
        return Err(Unfit::Abi { found: facts.abi });
    }
    let Some(kind) = Kind::parse(&facts.kind) else {
        return Err(Unfit::UnknownKind { found: facts.kind });
    };
    if kind.version() == 0 {
        return Err(Unfit::UselessKind { found: kind });
    }
    if kind != wanted {
        return Err(Unfit::OtherKind { found: kind, wanted });
    }
    if facts.kind_version != kind.version() {
        return Err(Unfit::KindVersion { kind, found: facts.kind_version });
    }
    if facts.name != name {
        return Err(Unfit::Name { found: facts.name });
    }
    if !facts.unwinds {
        return Err(Unfit::Aborts);
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(text: &str) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(16, 0);
        bytes.extend([ET_DYN, 0]);
        bytes.extend(MACHINE.to_le_bytes());
        bytes.extend([0; 50]);
        bytes.extend(MAGIC);
        bytes.extend(text.as_bytes());
        bytes.push(0);
        bytes
    }

    const GOOD: &str = "abi=1\nkind=allocator/1\nname=x\nversion=1\nsdk=1\npanic=unwind\n";

    #[test]
    fn a_card_is_found_wherever_it_is() {
        let facts = inspect(&library(GOOD), "x", Kind::Allocator).unwrap();
        assert_eq!((facts.kind.as_str(), facts.version.as_str()), ("allocator", "1"));
    }

    #[test]
    fn what_is_not_asked_for_is_refused_by_what_differs() {
        let why = |from: &str, to: &str| {
            let bytes = library(&GOOD.replace(from, to));
            inspect(&bytes, "x", Kind::Allocator).unwrap_err().to_string()
        };
        assert!(why("abi=1", "abi=2").contains("version 2 of the plugin boundary"));
        assert!(why("allocator/1", "telepath/1").contains("'telepath'"));
        assert!(why("allocator/1", "hook/0").contains("no daemon has a use"));
        assert!(why("allocator/1", "isolator/1").contains("one of the kind allocator is needed"));
        assert!(why("allocator/1", "allocator/9").contains("version 9 of the kind allocator"));
        assert!(why("name=x", "name=y").contains("calls itself 'y'"));
        assert!(why("unwind", "abort").contains("panics would end"));
        assert!(why("name=x", "").contains("no valid name"));
    }

    #[test]
    fn what_is_no_plugin_is_told_from_what_is_no_library() {
        let why = |bytes: &[u8]| inspect(bytes, "x", Kind::Allocator).unwrap_err().to_string();
        assert!(why(b"#!/bin/sh").contains("no ELF"));
        assert!(
            why(b"\x7fELF")
                .ends_with("not a whole library: 4 of 64 bytes that its head and tables name")
        );
        let mut program = library(GOOD);
        program[16] = 2;
        assert!(why(&program).contains("not a shared library"));
        let mut foreign = library(GOOD);
        foreign[18] = 8;
        assert!(why(&foreign).contains("another processor"));
        assert!(why(&library(GOOD)[..70]).contains("without a plugin's card"));
    }

    #[test]
    fn a_library_without_its_end_is_told_by_how_much_of_it_is_there() {
        let why = |bytes: &[u8]| inspect(bytes, "x", Kind::Allocator).unwrap_err().to_string();
        let of = |found: usize, needed: usize| format!("{found} of {needed} bytes");
        // A segment at byte 64 that would end long after the file, at its place in the table.
        let mut partial = library(GOOD);
        partial[32] = 200;
        partial[54] = 56;
        partial[56] = 1;
        partial.resize(200 + 56, 0);
        partial[200 + 8] = 64;
        partial[200 + 32] = 60;
        assert!(inspect(&partial, "x", Kind::Allocator).is_ok());
        assert!(why(&partial[..210]).contains(&of(210, 256)));
        partial[200 + 34] = 1;
        assert!(why(&partial).contains(&of(256, 64 + 60 + (1 << 16))));
        partial[200 + 39] = 255;
        partial[200 + 15] = 255;
        assert!(
            why(&partial).contains(&format!("{}", u64::MAX)),
            "what makes no sense is no panic"
        );
        // Two sections, one of which takes no room, and their table behind all else.
        let mut whole = library(GOOD);
        whole[40..42].copy_from_slice(&300_u16.to_le_bytes());
        whole[58] = 64;
        whole[60] = 2;
        whole.resize(300 + 2 * 64, 0);
        whole[300 + 4] = 8;
        whole[300 + 38] = 1;
        whole[364 + 24] = 100;
        whole[364 + 32] = 28;
        assert!(inspect(&whole, "x", Kind::Allocator).is_ok());
        assert!(why(&whole[..299]).contains(&of(299, 428)));
        assert!(why(&whole[..427]).contains(&of(427, 428)));
        whole[300 + 4] = 1;
        assert!(why(&whole).contains(&of(428, 1 << 48)));
    }
}
