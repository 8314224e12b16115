//! Recordings as bytes: a header, then frames. Each frame is a length (4 bytes, little-endian), a
//! kind (1 byte), a time (8 bytes, little-endian nanoseconds), and a message of the plugins'
//! boundary, which old and new programs both understand.

use tepui_plugin_sdk::records;
use tepui_types::{Mono, Span};

use crate::{Recording, Step, What};

/// How every recording begins.
const MAGIC: &[u8; 12] = b"tepui-record";
/// The format's version; a reader refuses every other one.
pub const VERSION: u32 = 1;
/// The longest recording that is read: 31 days.
const MAX_LENGTH: Span = Span::from_secs(31 * 24 * 3600);
/// The largest frame that is read or written.
pub const MAX_FRAME: usize = 16 << 20;
const TOLD: u8 = 1;
const PLANNED: u8 = 2;
const FRAME_HEADER: usize = 4 + 1 + 8;

/// Why bytes are no recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecording {
    /// They begin with something else.
    #[error("this is no recording of an allocator: it does not begin with \"tepui-record\"")]
    NotOne,
    /// Another version made it.
    #[error("the recording has format {0}, this program reads format {VERSION}")]
    Version(u32),
    /// A frame is larger than any that is written.
    #[error("the frame at byte {at} claims {bytes} bytes, more than the {MAX_FRAME} allowed")]
    TooLarge {
        /// Where the frame begins.
        at: usize,
        /// What it claims.
        bytes: usize,
    },
    /// A frame says nothing that is understood.
    #[error("the frame at byte {at} is damaged: {why}")]
    Damaged {
        /// Where the frame begins.
        at: usize,
        /// What is wrong.
        why: String,
    },
    /// It claims to last longer than anybody records.
    #[error("the frame at byte {at} is more than 31 days after the first one")]
    TooLong {
        /// Where the frame begins.
        at: usize,
    },
    /// Time runs backwards.
    #[error("the frame at byte {at} is earlier than the one before it")]
    Backwards {
        /// Where the frame begins.
        at: usize,
    },
}

/// The bytes that a recording begins with.
#[must_use]
pub fn header() -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes
}

/// A step's bytes; `None` when they would be more than a frame may have.
#[must_use]
pub fn encode_step(step: &Step) -> Option<Vec<u8>> {
    let (kind, body) = match &step.what {
        What::Told(inputs) => {
            let told: Vec<_> = inputs.iter().map(|input| (step.at, input)).collect();
            (TOLD, records::encode_inputs(told))
        }
        What::Planned(plan) => (PLANNED, records::encode_plan(plan)),
    };
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_FRAME)?;
    let mut bytes = Vec::with_capacity(FRAME_HEADER + body.len());
    bytes.extend(length.to_le_bytes());
    bytes.push(kind);
    bytes.extend(step.at.as_nanos().to_le_bytes());
    bytes.extend(body);
    Some(bytes)
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Reads a recording. One that ends within a frame is read up to there, and says so.
///
/// # Errors
/// When the bytes are none, or damaged.
pub fn decode(bytes: &[u8]) -> Result<Recording, BadRecording> {
    let version = number(bytes, MAGIC.len()).filter(|_| bytes.starts_with(MAGIC));
    let version = u32::from_le_bytes(version.ok_or(BadRecording::NotOne)?);
    if version != VERSION {
        return Err(BadRecording::Version(version));
    }
    let mut recording = Recording::default();
    let mut at = header().len();
    let mut last = Mono::default();
    while at < bytes.len() {
        let Some((length, kind, nanos)) = frame_header(bytes, at) else {
            recording.cut_short = true;
            break;
        };
        if length > MAX_FRAME {
            return Err(BadRecording::TooLarge { at, bytes: length });
        }
        let Some(body) = bytes.get(at + FRAME_HEADER..at + FRAME_HEADER + length) else {
            recording.cut_short = true;
            break;
        };
        if nanos < last {
            return Err(BadRecording::Backwards { at });
        }
        last = nanos;
        let begin = recording.steps.first().map_or(nanos, |step| step.at);
        if nanos.since(begin) > MAX_LENGTH {
            return Err(BadRecording::TooLong { at });
        }
        let what = decode_body(kind, body).map_err(|why| BadRecording::Damaged { at, why })?;
        recording.steps.push(Step { at: nanos, what });
        at += FRAME_HEADER + length;
    }
    Ok(recording)
}

fn frame_header(bytes: &[u8], at: usize) -> Option<(usize, u8, Mono)> {
    let length = u32::from_le_bytes(number(bytes, at)?);
    let kind = *bytes.get(at + 4)?;
    let nanos = u64::from_le_bytes(number(bytes, at + 5)?);
    Some((usize::try_from(length).ok()?, kind, Mono::from_nanos(nanos)))
}

fn decode_body(kind: u8, body: &[u8]) -> Result<What, String> {
    match kind {
        TOLD => {
            let told = records::decode_inputs(body).map_err(|error| error.to_string())?;
            Ok(What::Told(told.into_iter().map(|(_, input)| input).collect()))
        }
        PLANNED => records::decode_plan(body).map(What::Planned).map_err(|error| error.to_string()),
        other => Err(format!("kind {other} is not known")),
    }
}
