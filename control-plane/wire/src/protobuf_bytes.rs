//! The few primitives of protobuf's binary form that the codecs share.

use crate::schema::Kind;

/// The four ways a value is laid out on the wire (groups are not part of the surface).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireType {
    Varint,
    Fixed64,
    Delimited,
    Fixed32,
}

impl WireType {
    pub(crate) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Double => Self::Fixed64,
            Kind::String | Kind::Bytes | Kind::Message(_) => Self::Delimited,
            _ => Self::Varint,
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::Varint => 0,
            Self::Fixed64 => 1,
            Self::Delimited => 2,
            Self::Fixed32 => 5,
        }
    }
}

/// One field of a message as it lies on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) number: u32,
    pub(crate) wire_type: WireType,
    /// The varint or fixed value; 0 for delimited ones.
    pub(crate) value: u64,
    /// The content of a delimited value; else empty.
    pub(crate) payload: &'a [u8],
    /// The whole record with its key.
    pub(crate) whole: &'a [u8],
}

impl Record<'_> {
    pub(crate) fn double(&self) -> f64 {
        f64::from_bits(self.value)
    }

    /// The value as an enum number: negative ones are sign-extended to ten bytes.
    #[allow(clippy::cast_possible_truncation)] // protobuf keeps the low 32 bits
    pub(crate) fn int32(&self) -> i32 {
        self.value as i32
    }
}

/// Why bytes are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadBytes {
    #[error("the bytes end in the middle of a field")]
    Truncated,
    #[error("a number runs over ten bytes")]
    LongVarint,
    #[error("field number {0} is out of range")]
    FieldNumber(u64),
    #[error("wire type {0} is not used by this protocol")]
    WireType(u64),
}

/// The records of a message, in order.
#[derive(Clone, Debug)]
pub(crate) struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn parse(&mut self) -> Result<Record<'a>, BadBytes> {
        let start = self.rest;
        let key = take_varint(&mut self.rest)?;
        let number = u32::try_from(key >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let number = number.ok_or(BadBytes::FieldNumber(key >> 3))?;
        let (mut value, mut payload) = (0, &[][..]);
        let wire_type = match key & 7 {
            0 => {
                value = take_varint(&mut self.rest)?;
                WireType::Varint
            }
            1 => {
                let (bytes, rest) = self.rest.split_first_chunk().ok_or(BadBytes::Truncated)?;
                (value, self.rest) = (u64::from_le_bytes(*bytes), rest);
                WireType::Fixed64
            }
            2 => {
                let length = take_varint(&mut self.rest)?;
                let length = usize::try_from(length).map_err(|_| BadBytes::Truncated)?;
                (payload, self.rest) =
                    self.rest.split_at_checked(length).ok_or(BadBytes::Truncated)?;
                WireType::Delimited
            }
            5 => {
                let (bytes, rest) = self.rest.split_first_chunk().ok_or(BadBytes::Truncated)?;
                (value, self.rest) = (u64::from(u32::from_le_bytes(*bytes)), rest);
                WireType::Fixed32
            }
            other => return Err(BadBytes::WireType(other)),
        };
        let whole = &start[..start.len() - self.rest.len()];
        Ok(Record { number, wire_type, value, payload, whole })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BadBytes>;

    /// Ends after the first error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = self.parse();
        if parsed.is_err() {
            self.rest = &[];
        }
        Some(parsed)
    }
}

pub(crate) fn take_varint(bytes: &mut &[u8]) -> Result<u64, BadBytes> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            if index == 9 && *byte > 1 {
                return Err(BadBytes::LongVarint);
            }
            *bytes = &bytes[index + 1..];
            return Ok(value);
        }
    }
    Err(if bytes.len() < 10 { BadBytes::Truncated } else { BadBytes::LongVarint })
}

#[allow(clippy::cast_possible_truncation)] // the low seven bits are what is wanted
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_key(out: &mut Vec<u8>, number: u32, wire_type: WireType) {
    put_varint(out, u64::from(number << 3 | wire_type.number()));
}

pub(crate) fn put_delimited(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A length that is written once the content behind it is known.
#[must_use]
pub(crate) struct OpenLength {
    at: usize,
}

impl OpenLength {
    pub(crate) fn open(out: &mut Vec<u8>) -> Self {
        let at = out.len();
        out.push(0);
        Self { at }
    }

    /// Where the content begins.
    pub(crate) fn content(&self) -> usize {
        self.at + 1
    }

    /// Writes the length; contents over 127 bytes move to make room for it.
    #[allow(clippy::cast_possible_truncation)] // guarded by the comparison
    pub(crate) fn close(self, out: &mut Vec<u8>) {
        let length = out.len() - self.content();
        if length < 0x80 {
            out[self.at] = length as u8;
            return;
        }
        let mut digits = Vec::with_capacity(10);
        put_varint(&mut digits, length as u64);
        out.splice(self.at..=self.at, digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_return_as_they_were_written() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let mut rest = &bytes[..];
            assert_eq!(take_varint(&mut rest), Ok(value));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn varints_that_never_end_are_refused() {
        assert_eq!(take_varint(&mut &[0xff; 9][..]), Err(BadBytes::Truncated));
        assert_eq!(take_varint(&mut &[0xff; 11][..]), Err(BadBytes::LongVarint));
        let mut over = [0xff; 10];
        over[9] = 2;
        assert_eq!(take_varint(&mut &over[..]), Err(BadBytes::LongVarint));
    }

    #[test]
    fn long_contents_get_a_long_length() {
        for length in [0, 127, 128, 16_383, 16_384] {
            let mut out = vec![7];
            let open = OpenLength::open(&mut out);
            out.resize(out.len() + length, 9);
            open.close(&mut out);
            let mut rest = &out[1..];
            assert_eq!(take_varint(&mut rest), Ok(length as u64));
            assert_eq!(rest, vec![9; length]);
        }
    }

    #[test]
    fn a_length_beyond_the_bytes_is_refused() {
        let all: Vec<_> = Records::of(&[0x0a, 0x05, b'a']).collect();
        assert!(matches!(all[..], [Err(BadBytes::Truncated)]));
        let all: Vec<_> = Records::of(&[0x0b]).collect();
        assert!(matches!(all[..], [Err(BadBytes::WireType(3))]));
        let all: Vec<_> = Records::of(&[0x00]).collect();
        assert!(matches!(all[..], [Err(BadBytes::FieldNumber(0))]));
    }
}
