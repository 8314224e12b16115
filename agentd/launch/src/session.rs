//! Sessions: a command that somebody talks to while it runs, beside a task. What agent and shim say
//! to each other of one: small packets, both ways, on the channel that ends the session when it
//! closes.

use std::path::PathBuf;

use tepui_types::ContainerId;

use crate::codec::{Damaged, Reader, Writer};
use crate::protocol::{put_network, put_rights, take_network, take_rights};
use crate::record::Ending;
use crate::spec::{Program, Rlimit, StagePlace, StageSpec};

/// Largest content of a packet, in bytes. Neither side holds much more than a few of them.
pub const MAX_PACKET_BYTES: usize = 16 * 1024;
/// Bytes before a packet's content: its kind and its length.
const HEAD_BYTES: usize = 5;

/// What to run in a session, and beside whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSpec {
    /// Names the session.
    pub session: ContainerId,
    /// Run whose control group the command joins, so that it is limited and dies with the run.
    pub beside: ContainerId,
    /// Working directory.
    pub sandbox: PathBuf,
    /// The command.
    pub program: Program,
    /// The whole environment; a `PATH` is added when absent.
    pub env: Vec<(String, String)>,
    /// User to switch to.
    pub user: Option<String>,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// The network namespace that it is in; `None` is the agent's.
    pub network: Option<PathBuf>,
    /// The command itself says whether it has begun; see [`crate::LaunchSpec::answers`].
    pub answers: bool,
    /// The command gets a terminal of this size instead of pipes.
    pub terminal: Option<Window>,
}

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Lines.
    pub rows: u16,
    /// Characters in each.
    pub columns: u16,
}

/// A session whose command has been executed. Dropping it ends the command and all that it started.
#[derive(Debug)]
pub struct Session {
    /// First process of the command.
    pub pid: u32,
    /// Carries [`Word`]s to the shim and [`Answer`]s back.
    pub channel: tokio::net::UnixStream,
    /// What came with the first answer and was not taken yet.
    pub packets: Packets,
}

/// What the agent says to the shim of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// For the command's standard input; at most [`MAX_PACKET_BYTES`].
    Input(Vec<u8>),
    /// Nothing follows on standard input.
    InputEnds,
    /// The terminal has another size now.
    Resize(Window),
    /// Send this signal to the command.
    Signal(i32),
}

/// What the shim of a session says to the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The command runs; its first process.
    Started(u32),
    /// It could not be executed, with the reason. Nothing follows.
    NotStarted(String),
    /// It printed this, on its terminal or its standard output.
    Output(Vec<u8>),
    /// It printed this on its error output.
    ErrorOutput(Vec<u8>),
    /// It ended, and everything that it started is gone. Nothing follows.
    Ended(Ending),
}

impl Word {
    /// Serialises the word as one packet.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Input(data) => packet(b'i', data),
            Self::InputEnds => packet(b'e', &[]),
            Self::Resize(window) => {
                let (rows, columns) = (window.rows.to_le_bytes(), window.columns.to_le_bytes());
                packet(b'w', &[rows, columns].concat())
            }
            Self::Signal(signal) => packet(b's', &signal.to_le_bytes()),
        }
    }

    /// Reads a packet.
    ///
    /// # Errors
    ///
    /// [`Damaged`] for anything [`Self::encode`] did not write.
    pub fn decode((kind, content): (u8, &[u8])) -> Result<Self, Damaged> {
        let damaged = || Damaged::at(content);
        Ok(match kind {
            b'i' => Self::Input(content.to_vec()),
            b'e' if content.is_empty() => Self::InputEnds,
            b'w' => {
                let &[a, b, c, d] = content else { return Err(damaged()) };
                let (rows, columns) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
                Self::Resize(Window { rows, columns })
            }
            b's' => Self::Signal(i32::from_le_bytes(content.try_into().map_err(|_| damaged())?)),
            _ => return Err(damaged()),
        })
    }
}

impl Answer {
    /// Serialises the answer as one packet; a long reason is cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Started(pid) => packet(b'b', &pid.to_le_bytes()),
            Self::NotStarted(reason) => {
                packet(b'n', &reason.as_bytes()[..reason.floor_char_boundary(MAX_PACKET_BYTES)])
            }
            Self::Output(data) => packet(b'o', data),
            Self::ErrorOutput(data) => packet(b'r', data),
            Self::Ended(Ending::Exited(code)) => packet(b'x', &code.to_le_bytes()),
            Self::Ended(Ending::Signaled { signal, core_dumped }) => {
                packet(b'k', &[&signal.to_le_bytes()[..], &[u8::from(*core_dumped)]].concat())
            }
        }
    }

    /// Reads a packet.
    ///
    /// # Errors
    ///
    /// [`Damaged`] for anything [`Self::encode`] did not write.
    pub fn decode((kind, content): (u8, &[u8])) -> Result<Self, Damaged> {
        let damaged = || Damaged::at(content);
        let number = |bytes: &[u8]| bytes.try_into().map(i32::from_le_bytes).map_err(|_| damaged());
        Ok(match kind {
            b'b' => Self::Started(number(content)?.cast_unsigned()),
            b'n' => Self::NotStarted(String::from_utf8(content.to_vec()).map_err(|_| damaged())?),
            b'o' => Self::Output(content.to_vec()),
            b'r' => Self::ErrorOutput(content.to_vec()),
            b'x' => Self::Ended(Ending::Exited(number(content)?)),
            b'k' => {
                let (dumped, signal) = content.split_last().ok_or_else(damaged)?;
                let (signal, core_dumped) = (number(signal)?, *dumped == 1);
                Self::Ended(Ending::Signaled { signal, core_dumped })
            }
            _ => return Err(damaged()),
        })
    }
}

fn packet(kind: u8, content: &[u8]) -> Vec<u8> {
    let content = &content[..content.len().min(MAX_PACKET_BYTES)];
    let length = u32::try_from(content.len()).unwrap_or_default();
    [&[kind], &length.to_le_bytes()[..], content].concat()
}

/// Takes a stream apart into packets, wherever its chunks end.
#[derive(Debug, Default)]
pub struct Packets {
    buffer: Vec<u8>,
    start: usize,
}

impl Packets {
    /// Adds what came next. Take all packets before adding more, and memory stays below one packet
    /// and one chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole packet: its kind and its content.
    ///
    /// # Errors
    ///
    /// [`Damaged`] for a length over [`MAX_PACKET_BYTES`]; nothing after it can be trusted.
    pub fn take(&mut self) -> Result<Option<(u8, &[u8])>, Damaged> {
        let rest = &self.buffer[self.start..];
        let Some((head, rest)) = rest.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let [kind, length @ ..] = *head;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_PACKET_BYTES {
            return Err(Damaged::at(rest));
        }
        let Some(content) = rest.get(..length) else { return Ok(None) };
        self.start += HEAD_BYTES + length;
        Ok(Some((kind, content)))
    }
}

/// What `tepui-shim session` reads first from its standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFrame {
    /// Where the command runs.
    pub place: StagePlace,
    /// The command.
    pub stage: StageSpec,
    /// Its terminal.
    pub terminal: Option<Window>,
}

impl SessionFrame {
    /// Serialises the frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.place.put(&mut out);
        self.stage.put(&mut out);
        put_rights(&self.stage.rights, &mut out);
        out.option(self.terminal.as_ref(), |out, window| {
            out.number(window.rows.into());
            out.number(window.columns.into());
        });
        put_network(&self.stage, &mut out);
        out.into_bytes()
    }

    /// Reads the frame back.
    ///
    /// # Errors
    ///
    /// [`Damaged`] for anything [`Self::encode`] did not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut from = Reader::new(bytes);
        let small =
            |from: &mut Reader<'_>| u16::try_from(from.number()?).or_else(|_| from.damaged());
        let place = StagePlace::take(&mut from)?;
        let stage = StageSpec::take(&mut from)?;
        let rights = take_rights(&mut from)?;
        let mut frame = Self {
            place,
            stage: StageSpec { rights, ..stage },
            terminal: from
                .option(|from| Ok(Window { rows: small(from)?, columns: small(from)? }))?,
        };
        frame.stage.network = take_network(&mut from)?;
        Ok(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Vec<Word> {
        vec![
            Word::Input(b"ls\xff\n".to_vec()),
            Word::InputEnds,
            Word::Resize(Window { rows: 24, columns: 80 }),
            Word::Signal(2),
        ]
    }

    fn answers() -> Vec<Answer> {
        vec![
            Answer::Started(4_000_000_000),
            Answer::NotStarted("no".into()),
            Answer::Output(vec![7; MAX_PACKET_BYTES]),
            Answer::ErrorOutput(Vec::new()),
            Answer::Ended(Ending::Exited(3)),
            Answer::Ended(Ending::Signaled { signal: 9, core_dumped: true }),
        ]
    }

    #[test]
    fn words_and_answers_arrive_wherever_their_chunks_end() {
        let bytes: Vec<u8> = words().iter().flat_map(Word::encode).collect();
        let answered: Vec<u8> = answers().iter().flat_map(Answer::encode).collect();
        for size in [1, 2, 7, 5000, usize::MAX] {
            let mut packets = Packets::default();
            let (mut heard, mut told) = (Vec::new(), Vec::new());
            for chunk in bytes.chunks(size.min(bytes.len())) {
                packets.push(chunk);
                while let Some(packet) = packets.take().unwrap() {
                    heard.push(Word::decode(packet).unwrap());
                }
            }
            for chunk in answered.chunks(size.min(answered.len())) {
                packets.push(chunk);
                while let Some(packet) = packets.take().unwrap() {
                    told.push(Answer::decode(packet).unwrap());
                }
            }
            assert_eq!((heard, told), (words(), answers()));
        }
    }

    #[test]
    fn what_nobody_wrote_is_refused() {
        let mut packets = Packets::default();
        packets.push(&[b'i', 0xff, 0xff, 0xff, 0xff]);
        assert!(packets.take().is_err());
        for content in [&[][..], &[1], &[1, 2, 3]] {
            for kind in *b"wsbxk?" {
                assert!(Word::decode((kind, content)).is_err(), "{kind} {content:?}");
                assert!(Answer::decode((kind, content)).is_err(), "{kind} {content:?}");
            }
        }
        assert!(Word::decode((b'e', &[1])).is_err());
    }

    #[test]
    fn a_session_frame_survives_the_journey() {
        let stage = StageSpec {
            sandbox: "/s".into(),
            program: Program::Shell("sh".into()),
            env: Vec::new(),
            user: None,
            rlimits: Vec::new(),
            answers: false,
            rights: crate::confinement::Rights { ambient: 1, ..Default::default() },
            network: None,
        };
        let terminal = Some(Window { rows: 1, columns: u16::MAX });
        let frame = SessionFrame { place: StagePlace::default(), stage, terminal };
        let bytes = frame.encode();
        assert_eq!(SessionFrame::decode(&bytes).unwrap(), frame);
        for end in 0..bytes.len() {
            assert!(SessionFrame::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        let stage = StageSpec { network: Some("/run/netns/a".into()), ..frame.stage };
        let frame = SessionFrame { stage, ..frame };
        assert_eq!(SessionFrame::decode(&frame.encode()).unwrap(), frame);
    }
}
