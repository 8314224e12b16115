//! RecordIO: how streams of messages are framed (`mesos-http.md` section 0.3).
//!
//! A record is its length in bytes as decimal digits, one line feed, and then exactly that many
//! bytes. Nothing stands between records, and lengths are never 0. Chunks of the transport may
//! end anywhere.

/// The largest record that a [`Decoder`] accepts unless told otherwise: 64 MiB.
pub const DEFAULT_MAX_RECORD_BYTES: usize = 64 << 20;

/// Digits of the longest length that is read at all: those of 2⁶⁴.
const MAX_LENGTH_DIGITS: usize = 20;

/// The frame of one record: its length, a line feed, and the record.
pub fn encode(record: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(record.len() + MAX_LENGTH_DIGITS + 1);
    encode_into(record, &mut frame);
    frame
}

/// Appends the frame of one record. An empty record has no frame and adds nothing.
pub fn encode_into(record: &[u8], out: &mut Vec<u8>) {
    if record.is_empty() {
        return;
    }
    out.extend_from_slice(record.len().to_string().as_bytes());
    out.push(b'\n');
    out.extend_from_slice(record);
}

/// A stream of bytes is not RecordIO. Nothing after it can be trusted: close the stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordIoError {
    /// A length holds something else than digits.
    #[error(
        "record {record} of the stream: expected a digit of its length, found byte {byte:#04x}"
    )]
    NotADigit {
        /// How many whole records came before.
        record: u64,
        /// The offending byte.
        byte: u8,
    },
    /// A line feed where a length should be.
    #[error("record {record} of the stream: its length is missing")]
    NoLength {
        /// How many whole records came before.
        record: u64,
    },
    /// A length of more than 20 digits.
    #[error("record {record} of the stream: its length has more than {MAX_LENGTH_DIGITS} digits")]
    LongLength {
        /// How many whole records came before.
        record: u64,
    },
    /// A length of 0.
    #[error("record {record} of the stream: a record cannot be empty")]
    Empty {
        /// How many whole records came before.
        record: u64,
    },
    /// A record over the limit of the decoder.
    #[error("record {record} of the stream: {length} bytes are over the limit of {limit} bytes")]
    TooLarge {
        /// How many whole records came before.
        record: u64,
        /// Its length as told; the largest number if it does not fit one.
        length: u64,
        /// What the decoder accepts.
        limit: usize,
    },
    /// The stream ended inside a record.
    #[error("record {record} of the stream: the stream ended {missing}")]
    Truncated {
        /// How many whole records came before.
        record: u64,
        /// What had not come yet.
        missing: Missing,
    },
}

/// What a stream that ended inside a record still owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The end of the length.
    Length,
    /// This many bytes of the record.
    Bytes(usize),
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Length => f.write_str("inside its length"),
            Self::Bytes(bytes) => write!(f, "{bytes} bytes early"),
        }
    }
}

/// Takes a stream apart into records, whatever the borders of its chunks.
///
/// Holds at most the bytes that were pushed and not yet taken, and reserves memory only for what
/// has come, never for what a length promises.
#[derive(Debug)]
pub struct Decoder {
    max_record_bytes: usize,
    /// Whole records taken so far.
    records: u64,
    buffer: Vec<u8>,
    /// Where in `buffer` the unread part begins.
    start: usize,
    /// The length of the record that is coming, once known.
    length: Option<usize>,
    failed: Option<RecordIoError>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::with_limit(DEFAULT_MAX_RECORD_BYTES)
    }
}

impl Decoder {
    /// A decoder that refuses records of more bytes than this.
    pub fn with_limit(max_record_bytes: usize) -> Self {
        Self {
            max_record_bytes,
            records: 0,
            buffer: Vec::new(),
            start: 0,
            length: None,
            failed: None,
        }
    }

    /// Adds the next bytes of the stream. Take all records before pushing more, and memory stays
    /// below one record and one chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole record, or none until more bytes come.
    ///
    /// # Errors
    ///
    /// When the stream is not RecordIO or a record is too large; the same error from then on.
    pub fn next_record(&mut self) -> Result<Option<Vec<u8>>, RecordIoError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.parse_record().inspect_err(|error| {
            self.failed = Some(error.clone());
            self.buffer = Vec::new();
            self.start = 0;
        })
    }

    /// Call at the end of the stream.
    ///
    /// # Errors
    ///
    /// When the stream ends inside a record.
    pub fn finish(&self) -> Result<(), RecordIoError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let unread = self.buffer.len() - self.start;
        let missing = match self.length {
            None if unread == 0 => return Ok(()),
            None => Missing::Length,
            Some(length) => Missing::Bytes(length - unread.min(length)),
        };
        Err(RecordIoError::Truncated { record: self.records, missing })
    }

    fn parse_record(&mut self) -> Result<Option<Vec<u8>>, RecordIoError> {
        let length = match self.length {
            Some(length) => length,
            None => match self.parse_length()? {
                Some(length) => *self.length.insert(length),
                None => return Ok(None),
            },
        };
        let Some(record) = self.buffer[self.start..].get(..length) else { return Ok(None) };
        let record = record.to_vec();
        self.start += length;
        self.length = None;
        self.records += 1;
        Ok(Some(record))
    }

    fn parse_length(&mut self) -> Result<Option<usize>, RecordIoError> {
        let (record, limit) = (self.records, self.max_record_bytes);
        let mut length = 0_u64;
        for (index, &byte) in self.buffer[self.start..].iter().enumerate() {
            match byte {
                b'\n' if index == 0 => return Err(RecordIoError::NoLength { record }),
                b'\n' if length == 0 => return Err(RecordIoError::Empty { record }),
                b'\n' => {
                    let fits = usize::try_from(length).ok().filter(|length| *length <= limit);
                    let length = fits.ok_or(RecordIoError::TooLarge { record, length, limit })?;
                    self.start += index + 1;
                    return Ok(Some(length));
                }
                b'0'..=b'9' if index == MAX_LENGTH_DIGITS => {
                    return Err(RecordIoError::LongLength { record });
                }
                b'0'..=b'9' => {
                    length = length.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
                }
                _ => return Err(RecordIoError::NotADigit { record, byte }),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_in_chunks(stream: &[u8], sizes: &[usize]) -> Result<Vec<Vec<u8>>, RecordIoError> {
        let mut decoder = Decoder::with_limit(1000);
        let (mut rest, mut records, mut sizes) = (stream, Vec::new(), sizes.iter().cycle());
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at((*sizes.next().unwrap()).clamp(1, rest.len()));
            decoder.push(chunk);
            while let Some(record) = decoder.next_record()? {
                records.push(record);
            }
            rest = after;
        }
        decoder.finish().map(|()| records)
    }

    fn refusal(stream: &str) -> String {
        decode_in_chunks(stream.as_bytes(), &[1]).unwrap_err().to_string()
    }

    #[test]
    fn a_frame_is_the_length_a_line_feed_and_the_record() {
        assert_eq!(encode(b"{\"type\":\"HEARTBEAT\"}"), b"20\n{\"type\":\"HEARTBEAT\"}");
    }

    #[test]
    fn broken_lengths_are_refused_with_their_record() {
        assert_eq!(
            refusal("3\nabcx\n"),
            "record 1 of the stream: expected a digit of its length, found byte 0x78"
        );
        assert_eq!(
            refusal("-1\n"),
            "record 0 of the stream: expected a digit of its length, found byte 0x2d"
        );
        assert_eq!(refusal("0\n"), "record 0 of the stream: a record cannot be empty");
        assert_eq!(refusal("\n"), "record 0 of the stream: its length is missing");
        assert_eq!(
            refusal("4294967296\n"),
            "record 0 of the stream: 4294967296 bytes are over the limit of 1000 bytes"
        );
        assert_eq!(
            refusal("99999999999999999999\n"),
            "record 0 of the stream: 18446744073709551615 bytes are over the limit of 1000 bytes"
        );
        assert_eq!(
            refusal("000000000000000000001\n"),
            "record 0 of the stream: its length has more than 20 digits"
        );
    }

    #[test]
    fn a_stream_that_ends_inside_a_record_says_what_is_missing() {
        assert_eq!(refusal("12"), "record 0 of the stream: the stream ended inside its length");
        assert_eq!(
            refusal("3\nabc5\nab"),
            "record 1 of the stream: the stream ended 3 bytes early"
        );
    }

    #[test]
    fn an_error_stays_and_frees_what_was_held() {
        let mut decoder = Decoder::default();
        decoder.push(b"x");
        let first = decoder.next_record();
        decoder.push(b"3\nabc");
        assert!(first.is_err());
        assert_eq!(decoder.next_record(), first);
        assert_eq!(decoder.finish().map(|()| None), first);
    }

    proptest::proptest! {
        #[test]
        fn records_come_back_however_the_stream_is_cut(
            records in proptest::collection::vec(proptest::collection::vec(0_u8.., 1..300), 0..8),
            sizes in proptest::collection::vec(1_usize..40, 1..8),
        ) {
            let mut stream = Vec::new();
            records.iter().for_each(|record| encode_into(record, &mut stream));
            proptest::prop_assert_eq!(decode_in_chunks(&stream, &sizes), Ok(records));
        }

        #[test]
        fn garbage_gives_the_same_answer_however_it_is_cut(
            stream in "[0-9\n]{0,12}[a-c0-9\n]{0,40}",
            sizes in proptest::collection::vec(1_usize..20, 1..4),
        ) {
            let whole = decode_in_chunks(stream.as_bytes(), &[stream.len().max(1)]);
            proptest::prop_assert_eq!(decode_in_chunks(stream.as_bytes(), &sizes), whole);
        }
    }
}
