//! What agent, shim and stage say to each other. All three are the same build in practice, yet an
//! agent may be newer than a shim that still runs: the control bytes and the records keep their
//! meaning; frames are only spoken between processes started together.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use crate::codec::Damaged;
use crate::codec::{Reader, Writer};
use crate::confinement::Rights;
use crate::record::Ending;
use crate::spec::{LogPolicy, SignalScope};

pub use crate::spec::{StagePlace, StageSpec};

/// Name of the FIFO in the run directory through which a running shim takes orders.
pub const CONTROL: &str = "control";

/// Largest specification in bytes; the kernel refuses environments long before.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// Size of an order on the control FIFO; smaller than `PIPE_BUF`, so orders never mix.
pub const ORDER_BYTES: usize = 4;

/// Most output of a check that is reported, in bytes; the rest is read and dropped.
pub const MAX_CHECK_OUTPUT: usize = 4096;

/// What `tepui-shim run` reads second from its standard input, after the [`StagePlace`] and
/// perhaps much later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFrame {
    /// The run.
    pub run_id: String,
    /// Directory of its records.
    pub run_dir: PathBuf,
    /// Rotation of its output.
    pub log_policy: LogPolicy,
    /// The command.
    pub stage: StageSpec,
    /// It is ended after this time.
    pub run_time: Option<Duration>,
}

impl RunFrame {
    /// Serialises the frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.text(&self.run_id);
        out.path(&self.run_dir);
        out.number(self.log_policy.max_bytes);
        out.number(u64::from(self.log_policy.keep));
        self.stage.put(&mut out);
        // A shim of a former version reads no further than this.
        let has_network = self.stage.network.is_some();
        if self.run_time.is_some() || self.stage.rights != Rights::default() || has_network {
            put_rights(&self.stage.rights, &mut out);
            out.option(self.run_time.as_ref(), |out, span| out.number(millis(*span)));
        }
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
        let mut frame = Self {
            run_id: from.text()?,
            run_dir: from.path()?,
            log_policy: LogPolicy {
                max_bytes: from.number()?,
                keep: u32::try_from(from.number()?).or_else(|_| from.damaged())?,
            },
            stage: StageSpec::take(&mut from)?,
            run_time: None,
        };
        if !from.is_empty() {
            frame.stage.rights = take_rights(&mut from)?;
            frame.run_time = from.option(|from| from.number().map(Duration::from_millis))?;
        }
        frame.stage.network = take_network(&mut from)?;
        Ok(frame)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The last part of a frame, which is not there for most.
pub(crate) fn put_network(stage: &StageSpec, out: &mut Writer) {
    if let Some(network) = &stage.network {
        out.path(network);
    }
}

/// What [`put_network`] wrote.
pub(crate) fn take_network(from: &mut Reader<'_>) -> Result<Option<PathBuf>, Damaged> {
    if from.is_empty() { Ok(None) } else { from.path().map(Some) }
}

/// Rights as far as a stage can take them on; the rest needs systemd.
pub(crate) fn put_rights(rights: &Rights, out: &mut Writer) {
    out.option(rights.bounding.as_ref(), |out, mask| out.number(*mask));
    out.number(rights.ambient);
    out.number(u64::from(rights.no_new_privileges));
    out.number(u64::from(rights.own_ipc));
}

pub(crate) fn take_rights(from: &mut Reader<'_>) -> Result<Rights, Damaged> {
    Ok(Rights {
        bounding: from.option(Reader::number)?,
        ambient: from.number()?,
        no_new_privileges: from.number()? == 1,
        own_ipc: from.number()? == 1,
        ..Rights::default()
    })
}

/// File in a run's directory with the rights of a confined run, for what is run beside it.
const RIGHTS: &str = "rights";
/// Socket in a unit's run directory on which its log process takes orders for what is to run beside
/// the command.
pub const BESIDE: &str = "beside";
/// The order for a check.
pub const BESIDE_CHECK: u8 = b'c';
/// The order for a session.
pub const BESIDE_SESSION: u8 = b's';

/// Keeps a run's rights, unless they are everybody's.
///
/// # Errors
///
/// What the file system answers.
pub(crate) fn save_rights(run_dir: &Path, rights: &Rights) -> io::Result<()> {
    if *rights == Rights::default() {
        return Ok(());
    }
    let mut out = Writer::default();
    put_rights(rights, &mut out);
    std::fs::write(run_dir.join(RIGHTS), out.into_bytes())
}

/// The rights of a run, as [`save_rights`] kept them.
///
/// # Errors
///
/// What the file system answers; what is damaged says nothing, so nothing may run by it.
pub(crate) fn load_rights(run_dir: &Path) -> io::Result<Rights> {
    let bytes = match std::fs::read(run_dir.join(RIGHTS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Rights::default()),
        other => other?,
    };
    take_rights(&mut Reader::new(&bytes)).map_err(io::Error::other)
}

/// What `tepui-shim check` reads from its standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckFrame {
    /// Time after which the check is killed.
    pub timeout: Duration,
    /// Where the command runs.
    pub place: StagePlace,
    /// The command.
    pub stage: StageSpec,
}

impl CheckFrame {
    /// Serialises the frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.number(millis(self.timeout));
        self.place.put(&mut out);
        self.stage.put(&mut out);
        put_rights(&self.stage.rights, &mut out);
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
        let timeout = Duration::from_millis(from.number()?);
        let place = StagePlace::take(&mut from)?;
        let stage = StageSpec::take(&mut from)?;
        let rights = take_rights(&mut from)?;
        let network = take_network(&mut from)?;
        Ok(Self { timeout, place, stage: StageSpec { rights, network, ..stage } })
    }
}

/// Serialises what shim and stage read first.
#[must_use]
pub fn encode_place(place: &StagePlace) -> Vec<u8> {
    let mut out = Writer::default();
    place.put(&mut out);
    out.into_bytes()
}

/// Reads what [`encode_place`] wrote.
///
/// # Errors
///
/// [`Damaged`] for anything else.
pub fn decode_place(bytes: &[u8]) -> Result<StagePlace, Damaged> {
    StagePlace::take(&mut Reader::new(bytes))
}

/// Serialises what the stage reads second.
#[must_use]
pub fn encode_stage(stage: &StageSpec) -> Vec<u8> {
    let mut out = Writer::default();
    stage.put(&mut out);
    put_rights(&stage.rights, &mut out);
    put_network(stage, &mut out);
    out.into_bytes()
}

/// Reads what the stage was given.
///
/// # Errors
///
/// [`Damaged`] for anything [`encode_stage`] did not write.
pub fn decode_stage(bytes: &[u8]) -> Result<StageSpec, Damaged> {
    let mut from = Reader::new(bytes);
    let stage = StageSpec::take(&mut from)?;
    let rights = take_rights(&mut from)?;
    Ok(StageSpec { rights, network: take_network(&mut from)?, ..stage })
}

/// Answer of the shim to a run frame; one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunReply {
    /// The command runs.
    Started {
        /// Its first process.
        pid: i32,
        /// Start time of that process in clock ticks since boot.
        start_time: u64,
    },
    /// The command could not be started, and never will.
    Failed(String),
}

impl RunReply {
    /// Text form.
    #[must_use]
    pub fn encode(&self) -> String {
        match self {
            Self::Started { pid, start_time } => format!("started {pid} {start_time}"),
            Self::Failed(reason) => format!("failed {reason}"),
        }
    }

    /// Reads the text form; `None` for anything else, for example when the shim died.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        if let Some(reason) = text.strip_prefix("failed ") {
            return Some(Self::Failed(reason.to_owned()));
        }
        let (pid, start_time) = text.strip_prefix("started ")?.split_once(' ')?;
        Some(Self::Started { pid: pid.parse().ok()?, start_time: start_time.parse().ok()? })
    }
}

/// Variables for the stage of a unit.
#[must_use]
pub fn encode_variables(all: &[(String, String)]) -> Vec<u8> {
    let mut out = Writer::default();
    out.list(all, |out, (name, value)| {
        out.text(name);
        out.text(value);
    });
    out.into_bytes()
}

/// Reads what [`encode_variables`] wrote.
///
/// # Errors
///
/// [`Damaged`] for anything else.
pub fn decode_variables(bytes: &[u8]) -> Result<Vec<(String, String)>, Damaged> {
    Reader::new(bytes).list(|from| Ok((from.text()?, from.text()?)))
}

/// What the agent says to the stage of a unit once its group may run the command. An agent that dies
/// before it says so leaves a command that never began.
pub const BEGIN: u8 = b'b';

/// First line of the stage in a unit, said when it waits for [`BEGIN`]; what follows before the end is why it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitReply {
    /// The unit's main process.
    pub pid: i32,
    /// Start time of that process in clock ticks since boot.
    pub start_time: u64,
}

impl UnitReply {
    /// Text form.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("stage {} {}\n", self.pid, self.start_time)
    }

    /// Reads the text form, and the refusal behind it, which is empty when there is none.
    #[must_use]
    pub fn decode(text: &str) -> (Option<Self>, &str) {
        let Some((line, rest)) = text.split_once('\n') else { return (None, text) };
        let parsed = line.strip_prefix("stage ").and_then(|line| {
            let (pid, start_time) = line.split_once(' ')?;
            Some(Self { pid: pid.parse().ok()?, start_time: start_time.parse().ok()? })
        });
        if parsed.is_some() { (parsed, rest) } else { (None, text) }
    }
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    /// The command ended by itself.
    Ended(Ending),
    /// It did not in time, and was killed with all its processes.
    TimedOut,
    /// It could not be executed, with the reason.
    NotStarted(String),
}

/// Answer of the shim to a check frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReply {
    /// How the check ended.
    pub outcome: CheckOutcome,
    /// The beginning of what it printed, at most [`MAX_CHECK_OUTPUT`] bytes.
    pub output: Vec<u8>,
}

impl CheckReply {
    /// Serialises the reply.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match &self.outcome {
            CheckOutcome::Ended(Ending::Exited(code)) => {
                out.number(0);
                out.number(u64::from(code.unsigned_abs()));
            }
            CheckOutcome::Ended(Ending::Signaled { signal, core_dumped }) => {
                out.number(1);
                out.number(u64::from(signal.unsigned_abs()));
                out.number(u64::from(*core_dumped));
            }
            CheckOutcome::TimedOut => out.number(2),
            CheckOutcome::NotStarted(reason) => {
                out.number(3);
                out.text(reason);
            }
        }
        out.bytes(&self.output);
        out.into_bytes()
    }

    /// Reads the reply back.
    ///
    /// # Errors
    ///
    /// [`Damaged`] for anything [`Self::encode`] did not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut from = Reader::new(bytes);
        let small =
            |from: &mut Reader<'_>| i32::try_from(from.number()?).or_else(|_| from.damaged());
        let outcome = match from.number()? {
            0 => CheckOutcome::Ended(Ending::Exited(small(&mut from)?)),
            1 => CheckOutcome::Ended(Ending::Signaled {
                signal: small(&mut from)?,
                core_dumped: from.number()? == 1,
            }),
            2 => CheckOutcome::TimedOut,
            3 => CheckOutcome::NotStarted(from.text()?),
            _ => return from.damaged(),
        };
        Ok(Self { outcome, output: from.bytes()?.to_vec() })
    }
}

/// An order to a running shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Send this signal.
    Signal(i32, SignalScope),
    /// Kill every process of the run until none is left.
    KillTree,
}

impl Order {
    /// Bytes for the control FIFO.
    #[must_use]
    pub fn encode(self) -> [u8; ORDER_BYTES] {
        match self {
            Self::Signal(signal, scope) => {
                let scope = u8::from(scope == SignalScope::Tree);
                [b's', u8::try_from(signal).unwrap_or_default(), scope, b'\n']
            }
            Self::KillTree => [b'k', 0, 0, b'\n'],
        }
    }

    /// Reads an order; `None` for bytes of a future that this shim does not know.
    #[must_use]
    pub fn decode(bytes: [u8; ORDER_BYTES]) -> Option<Self> {
        match bytes {
            [b's', signal, 0, b'\n'] => Some(Self::Signal(signal.into(), SignalScope::Main)),
            [b's', signal, 1, b'\n'] => Some(Self::Signal(signal.into(), SignalScope::Tree)),
            [b'k', _, _, b'\n'] => Some(Self::KillTree),
            _ => None,
        }
    }
}

/// Writes a frame with its length before it.
///
/// # Errors
///
/// What the stream answers; `InvalidInput` above [`MAX_FRAME_BYTES`].
pub fn write_frame(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len())
        .ok()
        .filter(|_| bytes.len() <= MAX_FRAME_BYTES)
        .ok_or(io::ErrorKind::InvalidInput)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(bytes)
}

/// Reads a frame that [`write_frame`] wrote.
///
/// # Errors
///
/// What the stream answers; `InvalidData` above [`MAX_FRAME_BYTES`].
pub fn read_frame(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ProcessMark;
    use crate::spec::{Program, Rlimit, RlimitKind};

    fn frame() -> RunFrame {
        RunFrame {
            run_id: "run-1".to_owned(),
            run_dir: "/run/tepui/run-1".into(),
            log_policy: LogPolicy { max_bytes: 10, keep: 3 },
            stage: StageSpec {
                sandbox: "/sandbox".into(),
                program: Program::Exec {
                    path: "sleep".to_owned(),
                    argv: vec!["sleep".to_owned(), "1".to_owned()],
                },
                env: vec![("A".to_owned(), "ä\nb".to_owned())],
                user: Some("nobody".to_owned()),
                rlimits: vec![Rlimit { kind: RlimitKind::Nofile, soft: Some(7), hard: None }],
                answers: true,
                rights: Rights::default(),
                network: None,
            },
            run_time: None,
        }
    }

    #[test]
    fn a_run_frame_survives_the_journey() {
        let bytes = frame().encode();
        assert_eq!(RunFrame::decode(&bytes).unwrap(), frame());
        let rights = Rights { bounding: Some(3), ambient: 1, own_ipc: true, ..Rights::default() };
        let network = Some("/run/netns/a".into());
        let stage = StageSpec { rights, network, ..frame().stage };
        assert_eq!(decode_stage(&encode_stage(&stage)).unwrap(), stage);
        let limited = RunFrame { stage, run_time: Some(Duration::from_secs(9)), ..frame() };
        assert_eq!(RunFrame::decode(&limited.encode()).unwrap(), limited);
        assert_eq!(limited.encode()[..bytes.len()], bytes, "an older shim reads the beginning");
    }

    #[test]
    fn a_check_frame_and_a_place_survive_the_journey() {
        let place = StagePlace {
            group: Some("/sys/fs/cgroup/x".into()),
            oom_score_adj: Some("0".to_owned()),
            beside: Some(ProcessMark { pid: 7, start_time: 9 }),
            inherits: true,
        };
        assert_eq!(decode_place(&encode_place(&place)).unwrap(), place);
        let timeout = Duration::from_millis(7);
        let rights = Rights { bounding: Some(3), own_ipc: true, ..Rights::default() };
        let stage = StageSpec { rights, ..frame().stage };
        let check = CheckFrame { timeout, place, stage };
        assert_eq!(CheckFrame::decode(&check.encode()).unwrap(), check);
    }

    #[test]
    fn a_frame_cut_anywhere_is_refused_and_never_panics() {
        let bytes = frame().encode();
        for end in 0..bytes.len() {
            assert!(RunFrame::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_memory_is_taken() {
        let mut input: &[u8] = &[0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(read_frame(&mut input).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut out = Vec::new();
        assert!(write_frame(&mut out, &vec![0; MAX_FRAME_BYTES + 1]).is_err());
    }

    #[test]
    fn the_reply_of_a_check_survives_the_journey() {
        for outcome in [
            CheckOutcome::Ended(Ending::Exited(3)),
            CheckOutcome::Ended(Ending::Signaled { signal: 9, core_dumped: true }),
            CheckOutcome::TimedOut,
            CheckOutcome::NotStarted("no".to_owned()),
        ] {
            let reply = CheckReply { outcome, output: b"out\xff".to_vec() };
            let bytes = reply.encode();
            assert_eq!(CheckReply::decode(&bytes).unwrap(), reply);
            assert!(CheckReply::decode(&bytes[..bytes.len() - 1]).is_err());
        }
    }

    #[test]
    fn variables_survive_the_journey() {
        let all = vec![("a.b".to_owned(), "x".to_owned()), ("c-d".to_owned(), "\u{1}".to_owned())];
        let bytes = encode_variables(&all);
        assert_eq!(decode_variables(&bytes).unwrap(), all);
        assert!(decode_variables(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn the_word_of_a_unit_is_read_with_and_without_its_refusal() {
        let reply = UnitReply { pid: 7, start_time: 99 };
        assert_eq!(UnitReply::decode(&reply.encode()), (Some(reply), ""));
        let text = format!("{}failed to execute", reply.encode());
        assert_eq!(UnitReply::decode(&text), (Some(reply), "failed to execute"));
        assert_eq!(UnitReply::decode("no\nstage"), (None, "no\nstage"));
        assert_eq!(UnitReply::decode(""), (None, ""));
    }

    #[test]
    fn orders_and_replies_are_read_back() {
        for order in [Order::Signal(15, SignalScope::Tree), Order::KillTree] {
            assert_eq!(Order::decode(order.encode()), Some(order));
        }
        assert_eq!(Order::decode(*b"zzz\n"), None);
        let reply = RunReply::Started { pid: 7, start_time: 99 };
        assert_eq!(RunReply::decode(&reply.encode()), Some(reply));
        let reply = RunReply::Failed("no such user".to_owned());
        assert_eq!(RunReply::decode(&reply.encode()), Some(reply));
        assert_eq!(RunReply::decode(""), None);
    }
}
