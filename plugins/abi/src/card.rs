//! What a library says of itself in its file, so that nothing of it has to run to know it.

use crate::Kind;

/// The version of the boundary: of this card, of the module's functions and of the handling of
/// instances. A library of another one is refused.
pub const ABI: u32 = 1;

/// The bytes that a card begins with. They are in no program but a plugin.
pub const MAGIC: [u8; 16] = *b"\x7fTEPUI-PLUGIN\r\n\0";

const TEXT: usize = 240;

/// The card of a library: lines `key=value`, ended by a zero.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Card {
    magic: [u8; 16],
    text: [u8; TEXT],
}

impl std::fmt::Debug for Card {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Card").field(&String::from_utf8_lossy(&self.text)).finish()
    }
}

/// What a card says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardFacts {
    /// The version of the boundary.
    pub abi: u32,
    /// The name of the kind, whether or not it is known here.
    pub kind: String,
    /// The version of what is said to that kind.
    pub kind_version: u32,
    /// The plugin's name.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// The version of the sdk that it was built with.
    pub sdk: String,
    /// Its panics can be caught.
    pub unwinds: bool,
}

/// Why bytes are no card.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCard {
    /// The text is no text, or has no end.
    #[error("its card is not readable")]
    Unreadable,
    /// A line is missing, or its value makes no sense.
    #[error("its card has no valid {0}")]
    Lacks(&'static str),
}

/// Text that grows at compile time.
struct Writer {
    text: [u8; TEXT],
    end: usize,
}

impl Writer {
    const fn put(mut self, text: &str) -> Self {
        let bytes = text.as_bytes();
        assert!(self.end + bytes.len() < TEXT, "name and version of a plugin are too long");
        let mut at = 0;
        while at < bytes.len() {
            assert!(bytes[at] > b' ', "name and version of a plugin are one word each");
            self.text[self.end + at] = bytes[at];
            at += 1;
        }
        self.end += bytes.len();
        self
    }

    const fn number(mut self, number: u32) -> Self {
        if number >= 10 {
            self = self.number(number / 10);
        }
        self.text[self.end] = b'0' + (number % 10) as u8;
        self.end += 1;
        self
    }

    const fn line(mut self) -> Self {
        self.text[self.end] = b'\n';
        self.end += 1;
        self
    }
}

impl Card {
    /// A card, made while the plugin is compiled; what is too long or more than a word does not
    /// compile.
    #[must_use]
    pub const fn new(
        abi: u32,
        kind: (&str, u32),
        name: &str,
        version: &str,
        sdk: &str,
        unwinds: bool,
    ) -> Self {
        let writer = Writer { text: [0; TEXT], end: 0 };
        let writer = writer.put("abi=").number(abi).line();
        let writer = writer.put("kind=").put(kind.0).put("/").number(kind.1).line();
        let writer = writer.put("name=").put(name).line();
        let writer = writer.put("version=").put(version).line();
        let writer = writer.put("sdk=").put(sdk).line();
        let writer = writer.put("panic=").put(if unwinds { "unwind" } else { "abort" }).line();
        Self { magic: MAGIC, text: writer.text }
    }

    /// A card of this boundary and of a kind as it is now.
    #[must_use]
    pub const fn of(kind: Kind, name: &str, version: &str, sdk: &str, unwinds: bool) -> Self {
        Self::new(ABI, (kind.name(), kind.version()), name, version, sdk, unwinds)
    }

    /// Reads what follows [`MAGIC`] in a file.
    ///
    /// # Errors
    ///
    /// [`InvalidCard`] when it is no card.
    pub fn read(bytes: &[u8]) -> Result<CardFacts, InvalidCard> {
        let text = bytes.split(|byte| *byte == 0).next().filter(|text| text.len() < TEXT);
        let text = text.and_then(|text| std::str::from_utf8(text).ok());
        let text = text.ok_or(InvalidCard::Unreadable)?;
        let value = |key: &'static str| {
            let lines = text.lines().filter_map(|line| line.split_once('='));
            let mut values = lines.filter(|(name, value)| *name == key && !value.is_empty());
            values.next().map(|(_, value)| value).ok_or(InvalidCard::Lacks(key))
        };
        let number = |text: &str, key| text.parse().map_err(|_| InvalidCard::Lacks(key));
        let (kind, kind_version) =
            value("kind")?.split_once('/').ok_or(InvalidCard::Lacks("kind"))?;
        Ok(CardFacts {
            abi: number(value("abi")?, "abi")?,
            kind: kind.to_owned(),
            kind_version: number(kind_version, "kind")?,
            name: value("name")?.to_owned(),
            version: value("version")?.to_owned(),
            sdk: value("sdk")?.to_owned(),
            unwinds: value("panic")? == "unwind",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static CARD: Card = Card::of(Kind::QosController, "calm", "10.20.3", "0.1.0", true);

    #[test]
    fn a_card_says_what_it_was_made_with() {
        assert_eq!(CARD.magic, MAGIC);
        let facts = Card::read(&CARD.text).unwrap();
        let expected = CardFacts {
            abi: ABI,
            kind: "qos-controller".into(),
            kind_version: 0,
            name: "calm".into(),
            version: "10.20.3".into(),
            sdk: "0.1.0".into(),
            unwinds: true,
        };
        assert_eq!(facts, expected);
    }

    #[test]
    fn what_is_no_card_is_refused_by_what_it_lacks() {
        let read = |text: &str| Card::read(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(read("abi=1\n\0"), "its card has no valid kind");
        assert_eq!(read("kind=hook/x\nabi=1\n\0"), "its card has no valid kind");
        assert_eq!(Card::read(&[b'a'; 4096]), Err(InvalidCard::Unreadable));
        assert_eq!(Card::read(&[0xff, 0]), Err(InvalidCard::Unreadable));
    }
}
