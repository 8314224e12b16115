//! The bytes of a journal: a file header, then frames.
//!
//! ```text
//! file   = "TEPUIJNL" version:u32le reserved:u32le  frame*
//! frame  = length:u32le number:u32le payload_crc:u32le header_crc:u32le  payload
//! ```
//!
//! `number` counts the frames of the file from 0, so that a frame that is missing, doubled or of
//! an older file is noticed. `header_crc` covers the three fields before it: a damaged length can
//! therefore not pass for an unfinished frame. Checksums are CRC-32 (IEEE).

/// The version of the format.
pub const VERSION: u32 = 1;
/// How long the file's header is.
pub const FILE_HEADER: usize = 16;
/// How long a frame's header is.
pub const HEADER: usize = 16;
/// How large a payload may be: 256 MiB.
pub const MAX_PAYLOAD: usize = 256 << 20;

const MAGIC: &[u8; 8] = b"TEPUIJNL";

/// What is wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header's checksum is wrong.
    #[error("the frame's header does not match its checksum")]
    Header,
    /// The payload's checksum is wrong.
    #[error("the frame's content does not match its checksum")]
    Payload,
    /// The frame has another number than its place in the file.
    #[error("the frame has number {found} in place of {expected}")]
    Number {
        /// What its place says.
        expected: u32,
        /// What it says.
        found: u32,
    },
    /// The payload is larger than any that is written.
    #[error("the frame claims {0} bytes")]
    TooLarge(u32),
}

/// What stands at a place of the file.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A whole frame's payload, and what follows it.
    Whole {
        /// The content.
        payload: &'a [u8],
        /// The rest of the file.
        rest: &'a [u8],
    },
    /// A frame that was begun and never completed, hence never acknowledged; nothing follows it.
    Unfinished,
}

/// How a file begins.
pub fn file_header() -> [u8; FILE_HEADER] {
    let mut header = [0; FILE_HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header
}

/// Whether a file begins like a journal of this version.
pub fn has_file_header(bytes: &[u8]) -> bool {
    bytes.starts_with(&file_header())
}

/// Appends frame `number` with what `write` puts into it.
///
/// # Errors
///
/// The payload's size when it is too large; `out` is then as before.
pub fn write_frame(
    out: &mut Vec<u8>,
    number: u32,
    write: impl FnOnce(&mut Vec<u8>),
) -> Result<(), usize> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    write(out);
    let payload = &out[start + HEADER..];
    let size = payload.len();
    let Some(length) = u32::try_from(size).ok().filter(|_| size <= MAX_PAYLOAD) else {
        out.truncate(start);
        return Err(size);
    };
    let checksum = crc32fast::hash(payload);
    let header = &mut out[start..start + HEADER];
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[4..8].copy_from_slice(&number.to_le_bytes());
    header[8..12].copy_from_slice(&checksum.to_le_bytes());
    let header_checksum = crc32fast::hash(&header[..12]);
    header[12..].copy_from_slice(&header_checksum.to_le_bytes());
    Ok(())
}

/// Reads the frame at the beginning of `bytes`, which are not empty.
///
/// # Errors
///
/// When what stands there was completed once and is damaged.
pub fn parse_frame(bytes: &[u8], number: u32) -> Result<Parsed<'_>, FrameError> {
    let Some((header, body)) = bytes.split_at_checked(HEADER) else {
        return Ok(Parsed::Unfinished);
    };
    let field = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&header[at..at + 4]);
        u32::from_le_bytes(bytes)
    };
    if crc32fast::hash(&header[..12]) != field(12) {
        // A file may have grown before its content arrived: zeros up to the end are no frame.
        let empty = bytes.iter().all(|byte| *byte == 0);
        return if empty { Ok(Parsed::Unfinished) } else { Err(FrameError::Header) };
    }
    let (length, found, checksum) = (field(0), field(4), field(8));
    if found != number {
        return Err(FrameError::Number { expected: number, found });
    }
    let size = usize::try_from(length).ok().filter(|size| *size <= MAX_PAYLOAD);
    let size = size.ok_or(FrameError::TooLarge(length))?;
    let Some((payload, rest)) = body.split_at_checked(size) else {
        return Ok(Parsed::Unfinished);
    };
    if crc32fast::hash(payload) == checksum {
        Ok(Parsed::Whole { payload, rest })
    } else {
        Err(FrameError::Payload)
    }
}
