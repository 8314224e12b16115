//! The two records of a run: `started` and `exit`. Versioned text with a checksum, one `key value`
//! per line, unknown keys skipped, so that a newer agent reads the record of an older shim and the
//! other way round.

mod hardship;

pub use hardship::{Cause, Hardship};

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// File name of [`StartRecord`].
pub const STARTED: &str = "started";
/// File name of [`ExitRecord`].
pub const EXIT: &str = "exit";

/// File that a unit's stage writes to right before it becomes the command. It runs as the task's user
/// and so gets it open: an empty file says that the command never began, a missing one nothing.
pub const BEGUN: &str = "begun";

/// File that says which run of its unit a run is, in systemd's words.
const INVOCATION: &str = "invocation";

const STARTED_HEADER: &str = "tepui-run-started 1";
const EXIT_HEADER: &str = "tepui-run-exit 1";
const UNIT_HEADER: &str = "tepui-run-unit 1";
const ABANDONED_HEADER: &str = "tepui-run-abandoned 1";

/// Largest record that is read, in bytes.
const MAX_RECORD_BYTES: u64 = 64 * 1024;

/// A record that could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file system refused.
    #[error("failed to {verb} run record {path}")]
    Io {
        /// What was attempted.
        verb: &'static str,
        /// Record.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The bytes are not a record, or not what was written.
    #[error("run record {path} is damaged: {reason}")]
    Damaged {
        /// Record.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// Somebody else created the record first.
    #[error("run record {path} exists already")]
    Taken {
        /// Record.
        path: PathBuf,
    },
}

/// Written when the processes exist and before the command is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartRecord {
    /// The run's id.
    pub run_id: String,
    /// Boot in which the pids below mean something.
    pub boot_id: String,
    /// The supervising shim.
    pub shim: ProcessMark,
    /// First process of the command.
    pub main: ProcessMark,
    /// Control group of the run.
    pub group: Option<PathBuf>,
    /// Wall time.
    pub started_at: SystemTime,
}

/// Written before systemd is asked to start a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitRecord {
    /// The run's id.
    pub run_id: String,
    /// Boot in which the unit can be.
    pub boot_id: String,
    /// Name of the unit.
    pub unit: String,
    /// Wall time.
    pub asked_at: SystemTime,
}

/// A process, named so that a later one with the same pid is not mistaken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessMark {
    /// Process id.
    pub pid: i32,
    /// Start in clock ticks since boot.
    pub start_time: u64,
}

/// What is found under the name [`STARTED`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartMark {
    /// The run started.
    Started(StartRecord),
    /// systemd was asked to start it.
    Unit(UnitRecord),
    /// A recovering agent made sure that it never will.
    Abandoned,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this code, 0 to 255.
    Exited(i32),
    /// A signal ended it.
    Signaled {
        /// Number of the signal.
        signal: i32,
        /// Whether a core file was written.
        core_dumped: bool,
    },
}

/// What a run has used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpentResources {
    /// CPU time in user mode, of all processes that were waited for.
    pub user_cpu: Duration,
    /// CPU time in the kernel.
    pub system_cpu: Duration,
    /// Largest resident memory of a single process, in bytes.
    pub max_resident_bytes: u64,
}

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus {
    /// How the first process ended.
    pub ending: Ending,
    /// When, by the host's clock.
    pub ended_at: SystemTime,
    /// What was used until then.
    pub spent: SpentResources,
    /// Bytes of output that could not be written to the sandbox.
    pub lost_output_bytes: u64,
    /// What ended it.
    pub cause: Cause,
    /// What limits did to it.
    pub hardship: Hardship,
}

/// What is found under the name [`EXIT`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitRecord {
    /// The command ran and ended.
    Ended(ExitStatus),
    /// The command could not be executed.
    NotStarted(String),
}

impl StartRecord {
    /// Creates the record, unless the name is taken: whoever creates it first decides whether the
    /// run ever starts. Not fsynced: after a crash of the host the boot id tells everything.
    ///
    /// # Errors
    ///
    /// [`RecordError::Taken`] when a recovering agent was faster; [`RecordError::Io`].
    pub fn create(&self, dir: &Path) -> Result<(), RecordError> {
        let mut body = String::new();
        line(&mut body, "run", &escape(&self.run_id));
        line(&mut body, "boot", &self.boot_id);
        line(&mut body, "shim", &format!("{} {}", self.shim.pid, self.shim.start_time));
        line(&mut body, "main", &format!("{} {}", self.main.pid, self.main.start_time));
        if let Some(group) = &self.group {
            line(&mut body, "group", &escape(&group.to_string_lossy()));
        }
        line(&mut body, "at", &nanos(self.started_at).to_string());
        create_exclusively(dir, STARTED, &seal(STARTED_HEADER, &body))
    }
}

impl UnitRecord {
    /// Creates the record durably, unless the name is taken.
    ///
    /// # Errors
    ///
    /// [`RecordError::Taken`] or [`RecordError::Io`].
    pub fn create(&self, dir: &Path) -> Result<(), RecordError> {
        let mut body = String::new();
        line(&mut body, "run", &escape(&self.run_id));
        line(&mut body, "boot", &self.boot_id);
        line(&mut body, "unit", &escape(&self.unit));
        line(&mut body, "at", &nanos(self.asked_at).to_string());
        create_exclusively(dir, STARTED, &seal(UNIT_HEADER, &body))
    }
}

/// Makes the empty file of a unit that is about to be asked for, for its stage to write to.
///
/// # Errors
///
/// [`RecordError::Io`].
pub fn create_begun(dir: &Path) -> Result<File, RecordError> {
    let path = dir.join(BEGUN);
    let made = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path);
    made.map_err(|source| RecordError::Io { verb: "create", path, source })
}

/// Whether it is known that a unit's command never began.
#[must_use]
pub fn never_began(dir: &Path) -> bool {
    fs::metadata(dir.join(BEGUN)).is_ok_and(|meta| meta.len() == 0)
}

/// Writes down which run of its unit this is. Not synced: after a power cut no unit goes on.
///
/// # Errors
///
/// [`RecordError::Io`].
pub fn save_invocation(dir: &Path, invocation: &str) -> Result<(), RecordError> {
    let path = dir.join(INVOCATION);
    fs::write(&path, invocation).map_err(|source| RecordError::Io { verb: "write", path, source })
}

/// Whether a unit's run, which systemd names so, is the one that was written down. Nothing is known of
/// one that an older agent began, or that was not asked to begin.
#[must_use]
pub fn is_same_invocation(dir: &Path, invocation: &str) -> bool {
    let whole = |text: &str| text.len() == 32 && text.bytes().all(|one| one.is_ascii_hexdigit());
    let written = fs::read_to_string(dir.join(INVOCATION)).unwrap_or_default();
    !whole(&written) || !whole(invocation) || written == invocation
}

impl StartMark {
    /// Reads the record; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub fn load(dir: &Path) -> Result<Option<Self>, RecordError> {
        let path = dir.join(STARTED);
        let Some(text) = load(&path)? else { return Ok(None) };
        let damaged = |reason| RecordError::Damaged { path: path.clone(), reason };
        if unseal(&text, ABANDONED_HEADER).is_ok() {
            return Ok(Some(Self::Abandoned));
        }
        if let Ok(body) = unseal(&text, UNIT_HEADER) {
            let record = parse_unit(body).ok_or_else(|| damaged("a field is missing"))?;
            return Ok(Some(Self::Unit(record)));
        }
        let body = unseal(&text, STARTED_HEADER).map_err(damaged)?;
        let record = parse_start(body).ok_or_else(|| damaged("a field is missing"))?;
        Ok(Some(Self::Started(record)))
    }

    /// Claims the name for "never started".
    ///
    /// # Errors
    ///
    /// [`RecordError::Taken`] when the shim was faster; [`RecordError::Io`].
    pub fn abandon(dir: &Path) -> Result<(), RecordError> {
        create_exclusively(dir, STARTED, &seal(ABANDONED_HEADER, ""))
    }
}

impl ExitRecord {
    /// Writes the record durably: when this returns, it survives the loss of power.
    ///
    /// # Errors
    ///
    /// [`RecordError::Io`]; then nothing is promised, and a new file must be written.
    pub fn save(&self, dir: &Path) -> Result<(), RecordError> {
        let mut body = String::new();
        match self {
            Self::Ended(status) => {
                match status.ending {
                    Ending::Exited(code) => line(&mut body, "exited", &code.to_string()),
                    Ending::Signaled { signal, core_dumped } => {
                        let value = format!("{signal} {}", u8::from(core_dumped));
                        line(&mut body, "signaled", &value);
                    }
                }
                line(&mut body, "at", &nanos(status.ended_at).to_string());
                line(&mut body, "user-cpu", &status.spent.user_cpu.as_nanos().to_string());
                line(&mut body, "system-cpu", &status.spent.system_cpu.as_nanos().to_string());
                line(&mut body, "resident", &status.spent.max_resident_bytes.to_string());
                line(&mut body, "lost-output", &status.lost_output_bytes.to_string());
                status.cause.put(&mut body);
                status.hardship.put(&mut body);
            }
            Self::NotStarted(reason) => line(&mut body, "not-started", &escape(reason)),
        }
        replace_durably(dir, EXIT, &seal(EXIT_HEADER, &body))
    }

    /// Reads the record; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub fn load(dir: &Path) -> Result<Option<Self>, RecordError> {
        let path = dir.join(EXIT);
        let Some(text) = load(&path)? else { return Ok(None) };
        let damaged = |reason| RecordError::Damaged { path: path.clone(), reason };
        let body = unseal(&text, EXIT_HEADER).map_err(damaged)?;
        parse_exit(body).map(Some).ok_or_else(|| damaged("a field is missing"))
    }
}

fn parse_start(body: &str) -> Option<StartRecord> {
    Some(StartRecord {
        run_id: unescape(field(body, "run")?)?,
        boot_id: field(body, "boot")?.to_owned(),
        shim: parse_mark(field(body, "shim")?)?,
        main: parse_mark(field(body, "main")?)?,
        group: field(body, "group").and_then(unescape).map(PathBuf::from),
        started_at: parse_time(field(body, "at")?)?,
    })
}

fn parse_unit(body: &str) -> Option<UnitRecord> {
    Some(UnitRecord {
        run_id: unescape(field(body, "run")?)?,
        boot_id: field(body, "boot")?.to_owned(),
        unit: unescape(field(body, "unit")?)?,
        asked_at: parse_time(field(body, "at")?)?,
    })
}

fn parse_mark(text: &str) -> Option<ProcessMark> {
    let (pid, start_time) = text.split_once(' ')?;
    Some(ProcessMark { pid: pid.parse().ok()?, start_time: start_time.parse().ok()? })
}

fn parse_exit(body: &str) -> Option<ExitRecord> {
    if let Some(reason) = field(body, "not-started") {
        return unescape(reason).map(ExitRecord::NotStarted);
    }
    let ending = if let Some(code) = field(body, "exited") {
        Ending::Exited(code.parse().ok()?)
    } else {
        let (signal, core) = field(body, "signaled")?.split_once(' ')?;
        Ending::Signaled { signal: signal.parse().ok()?, core_dumped: core == "1" }
    };
    let duration = |key| {
        let nanos = field(body, key).and_then(|text| text.parse().ok());
        Duration::from_nanos(nanos.unwrap_or_default())
    };
    let count = |key| field(body, key).and_then(|text| text.parse().ok()).unwrap_or_default();
    Some(ExitRecord::Ended(ExitStatus {
        ending,
        ended_at: parse_time(field(body, "at")?)?,
        spent: SpentResources {
            user_cpu: duration("user-cpu"),
            system_cpu: duration("system-cpu"),
            max_resident_bytes: count("resident"),
        },
        lost_output_bytes: count("lost-output"),
        cause: Cause::take(body),
        hardship: Hardship::take(body),
    }))
}

fn line(body: &mut String, key: &str, value: &str) {
    body.push_str(key);
    body.push(' ');
    body.push_str(value);
    body.push('\n');
}

fn field<'a>(body: &'a str, key: &str) -> Option<&'a str> {
    body.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
}

fn nanos(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

fn parse_time(text: &str) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_nanos(text.parse().ok()?))
}

/// Keeps a value on its line.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next()? {
            'n' => '\n',
            'r' => '\r',
            '\\' => '\\',
            _ => return None,
        });
    }
    Some(out)
}

/// Header, body, and a checksum over both.
fn seal(header: &str, body: &str) -> String {
    let mut text = format!("{header}\n{body}");
    let sum = crc32fast::hash(text.as_bytes());
    line(&mut text, "crc32", &format!("{sum:08x}"));
    text
}

fn unseal<'a>(text: &'a str, header: &str) -> Result<&'a str, &'static str> {
    let at = text.rfind("crc32 ").ok_or("the checksum is missing")?;
    let (sealed, sum) = text.split_at(at);
    let sum = sum.trim_start_matches("crc32 ").trim_end();
    if sum != format!("{:08x}", crc32fast::hash(sealed.as_bytes())) {
        return Err("the checksum does not match");
    }
    sealed
        .strip_prefix(header)
        .and_then(|body| body.strip_prefix('\n'))
        .ok_or("it has another kind or version")
}

fn load(path: &Path) -> Result<Option<String>, RecordError> {
    let error = |source| RecordError::Io { verb: "read", path: path.to_owned(), source };
    match fs::metadata(path) {
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(error(source)),
        Ok(meta) if meta.len() > MAX_RECORD_BYTES => {
            return Err(RecordError::Damaged { path: path.to_owned(), reason: "it is too long" });
        }
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(error)?;
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| RecordError::Damaged { path: path.to_owned(), reason: "it is not text" })
}

fn write_temporary(dir: &Path, name: &str, text: &str) -> Result<(File, PathBuf), RecordError> {
    let path = dir.join(format!("{name}.{}.tmp", std::process::id()));
    let error = |source| RecordError::Io { verb: "write", path: path.clone(), source };
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .map_err(error)?;
    file.write_all(text.as_bytes()).map_err(error)?;
    Ok((file, path))
}

fn create_exclusively(dir: &Path, name: &str, text: &str) -> Result<(), RecordError> {
    let (_, temporary) = write_temporary(dir, name, text)?;
    let path = dir.join(name);
    let linked = fs::hard_link(&temporary, &path);
    // A leftover is harmless: it has no name that anybody reads.
    let _ = fs::remove_file(&temporary);
    linked.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => RecordError::Taken { path: path.clone() },
        _ => RecordError::Io { verb: "create", path: path.clone(), source },
    })
}

fn replace_durably(dir: &Path, name: &str, text: &str) -> Result<(), RecordError> {
    let (file, temporary) = write_temporary(dir, name, text)?;
    let path = dir.join(name);
    let error = |verb| {
        let path = path.clone();
        move |source| RecordError::Io { verb, path, source }
    };
    file.sync_all().map_err(error("sync"))?;
    fs::rename(&temporary, &path).map_err(error("publish"))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(error("sync the directory of"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_was_begun_anew_is_another_run() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = ("0123456789abcdef".repeat(2), "f".repeat(32));
        assert!(is_same_invocation(dir.path(), &one), "nothing is written down");
        save_invocation(dir.path(), &one).unwrap();
        assert!(is_same_invocation(dir.path(), &one));
        assert!(!is_same_invocation(dir.path(), &other));
        assert!(is_same_invocation(dir.path(), ""), "systemd does not say");
        save_invocation(dir.path(), &one[..7]).unwrap();
        assert!(is_same_invocation(dir.path(), &other), "it was not written to its end");
    }

    fn start() -> StartRecord {
        StartRecord {
            run_id: "a\nb".to_owned(),
            boot_id: "boot".to_owned(),
            shim: ProcessMark { pid: 1, start_time: 2 },
            main: ProcessMark { pid: 3, start_time: 4 },
            group: Some("/sys/fs/cgroup/x".into()),
            started_at: UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789),
        }
    }

    fn exit(ending: Ending) -> ExitRecord {
        ExitRecord::Ended(ExitStatus {
            ending,
            ended_at: UNIX_EPOCH + Duration::from_secs(7),
            spent: SpentResources {
                user_cpu: Duration::from_millis(3),
                system_cpu: Duration::from_micros(9),
                max_resident_bytes: 4096,
            },
            lost_output_bytes: 5,
            cause: Cause::OutOfMemory,
            hardship: Hardship {
                memory_limit: Some(40 << 20),
                memory_peak: Some(39 << 20),
                oom_kills: 1,
                throttled: Duration::from_micros(7),
                ..Hardship::default()
            },
        })
    }

    #[test]
    fn records_are_read_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        start().create(dir.path()).unwrap();
        assert_eq!(StartMark::load(dir.path()).unwrap(), Some(StartMark::Started(start())));
        for record in [
            exit(Ending::Exited(7)),
            exit(Ending::Signaled { signal: 9, core_dumped: true }),
            ExitRecord::NotStarted("no\\such\nfile".to_owned()),
        ] {
            record.save(dir.path()).unwrap();
            assert_eq!(ExitRecord::load(dir.path()).unwrap(), Some(record));
        }
        let names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "temporaries stay behind: {names:?}");
    }

    #[test]
    fn the_record_of_a_unit_is_told_apart_from_that_of_a_shim() {
        let dir = tempfile::tempdir().unwrap();
        let unit = UnitRecord {
            run_id: "run-1".to_owned(),
            boot_id: "boot".to_owned(),
            unit: "tepui-task-a\\x2db.service".to_owned(),
            asked_at: UNIX_EPOCH + Duration::from_secs(9),
        };
        unit.create(dir.path()).unwrap();
        assert_eq!(StartMark::load(dir.path()).unwrap(), Some(StartMark::Unit(unit.clone())));
        assert!(matches!(unit.create(dir.path()), Err(RecordError::Taken { .. })));
    }

    #[test]
    fn only_the_first_to_claim_a_run_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        StartMark::abandon(dir.path()).unwrap();
        assert!(matches!(start().create(dir.path()), Err(RecordError::Taken { .. })));
        assert_eq!(StartMark::load(dir.path()).unwrap(), Some(StartMark::Abandoned));
    }

    #[test]
    fn a_record_of_an_older_shim_has_no_cause() {
        let body = "exited 7\nat 7000000000\nuser-cpu 3\nsystem-cpu 4\nresident 5\nlost-output 6\n";
        let Some(ExitRecord::Ended(status)) = parse_exit(body) else { panic!("unreadable") };
        assert_eq!((status.cause, status.hardship), (Cause::Itself, Hardship::default()));
        let newer = format!("{body}cause of-a-later-version\n");
        assert!(matches!(parse_exit(&newer), Some(ExitRecord::Ended(s)) if s == status));
    }

    #[test]
    fn absence_is_not_damage() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(StartMark::load(dir.path()).unwrap(), None);
        assert_eq!(ExitRecord::load(dir.path()).unwrap(), None);
    }

    #[test]
    fn a_record_changed_or_cut_anywhere_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        exit(Ending::Exited(7)).save(dir.path()).unwrap();
        let whole = fs::read(dir.path().join(EXIT)).unwrap();
        for at in 0..whole.len() - 1 {
            fs::write(dir.path().join(EXIT), &whole[..at]).unwrap();
            assert!(ExitRecord::load(dir.path()).is_err(), "cut at {at}");
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(dir.path().join(EXIT), &changed).unwrap();
            assert!(ExitRecord::load(dir.path()).is_err(), "changed at {at}");
        }
    }
}
