//! What is to be run, and how.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use tepui_cgroup::Leaf;
use tepui_types::ContainerId;

use crate::codec::{Damaged, Reader, Writer};
use crate::confinement::{Confinement, Rights};
use crate::record::ProcessMark;

/// One run: everything the shim needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchSpec {
    /// Names the run in events.
    pub run_id: ContainerId,
    /// Working directory of the command; exists, owned by the user the command runs as.
    pub sandbox: PathBuf,
    /// Directory of the run's records; created with mode 0700, outside the sandbox.
    pub run_dir: PathBuf,
    /// The command.
    pub program: Program,
    /// The whole environment; a `PATH` is added when absent. Later entries win.
    pub env: Vec<(String, String)>,
    /// Names of variables whose values nobody but the command may see.
    pub secret_variables: BTreeSet<String>,
    /// Files with secrets, by names, which `$CREDENTIALS_DIRECTORY` holds for the command. They are
    /// in one folder, and their owner is the command's user.
    pub credentials: Vec<(String, PathBuf)>,
    /// User to switch to; `None` runs as the agent's user.
    pub user: Option<String>,
    /// Resource limits, applied before the user is switched.
    pub rlimits: Vec<Rlimit>,
    /// Rotation of the sandbox files `stdout` and `stderr`.
    pub log_policy: LogPolicy,
    /// Gives the run a control group of its own where the host has version 2 groups.
    pub own_group: bool,
    /// The command itself says on descriptor 3 whether it has begun: silence and the end of the file,
    /// or the reason why not. Else its execution is its beginning.
    pub answers: bool,
    /// What the host may call it.
    pub label: RunLabel,
    /// What it may use and do.
    pub confinement: Confinement,
    /// The network namespace that it is in; `None` is the agent's.
    pub network: Option<PathBuf>,
}

/// Names of a run that people look for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunLabel {
    /// The task, or the executor of several.
    pub task: String,
    /// Whose it is.
    pub framework: String,
    /// For which role.
    pub role: String,
    /// The app that it is an instance of.
    pub app: Option<String>,
    /// The app's version.
    pub version: Option<String>,
}

/// Longest text that a host is told about a run; an app's id has at most a quarter of that.
const MAX_LABEL: usize = 1000;

/// As one line that a host takes as it is. systemd writes descriptions into a file of settings, where a new
/// line is a new setting and a backslash at the end takes the next one away. Apps choose some of these texts.
fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() || c == '\\' { ' ' } else { c };
    text.chars().take(MAX_LABEL).map(plain).collect()
}

impl RunLabel {
    /// A sentence for people, for example `app /shop/cart, version …, task …`.
    #[must_use]
    pub fn description(&self) -> String {
        let sentence = match (&self.app, &self.version) {
            (Some(app), Some(version)) => {
                format!("Tepui app {app}, version {version}, task {}", self.task)
            }
            (Some(app), None) => format!("Tepui app {app}, task {}", self.task),
            _ if self.framework.is_empty() => format!("Tepui container {}", self.task),
            _ => format!("Tepui task {} of framework {}", self.task, self.framework),
        };
        one_line(&sentence)
    }

    /// A short name in front of log lines: the last part of the app's, or the task's.
    #[must_use]
    pub fn short_name(&self) -> String {
        let app = self.app.as_deref().and_then(|app| app.rsplit('/').next());
        one_line(app.filter(|name| !name.is_empty()).unwrap_or(&self.task))
    }

    /// Fields of every line in the journal, which `journalctl TEPUI_APP=/shop/cart` looks for.
    #[must_use]
    pub fn log_fields(&self) -> Vec<(String, String)> {
        let fields = [
            ("TEPUI_TASK", Some(&self.task)),
            ("TEPUI_FRAMEWORK", Some(&self.framework)),
            ("TEPUI_ROLE", Some(&self.role)),
            ("TEPUI_APP", self.app.as_ref()),
            ("TEPUI_VERSION", self.version.as_ref()),
        ];
        let known = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        known.map(|(name, value)| (name.to_owned(), one_line(value))).collect()
    }

    /// What a unit is named after. Two frameworks may have tasks of one name, and an executor may
    /// run again: the run tells them apart.
    #[must_use]
    pub fn unit_id(&self, run: &ContainerId) -> String {
        let own = run.as_str().rsplit('.').next().unwrap_or_default();
        let run: String = own.chars().take(8).collect();
        if self.task.is_empty() { run } else { format!("{}.{run}", self.task) }
    }
}

/// A command as `CommandInfo` describes it (`spec/mesos-wire.tsv`, mesos.v1.CommandInfo).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// `shell: true`: run by `/bin/sh -c`.
    Shell(String),
    /// `shell: false`: the file `path` (searched in `PATH` when it has no slash) with exactly
    /// these arguments; the first is the command's own name.
    Exec {
        /// File to execute.
        path: String,
        /// Arguments from number 0 on; empty means just `path`.
        argv: Vec<String>,
    },
}

/// How the sandbox files of a stream are kept small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPolicy {
    /// Size in bytes at which `stdout` becomes `stdout.1`, and so on.
    pub max_bytes: u64,
    /// How many numbered files are kept; zero truncates in place.
    pub keep: u32,
}

impl Default for LogPolicy {
    /// 2 MB, nine old files: as Mesos's logrotate container logger.
    fn default() -> Self {
        Self { max_bytes: 2 * 1024 * 1024, keep: 9 }
    }
}

/// A resource limit; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// Which resource.
    pub kind: RlimitKind,
    /// Limit in effect.
    pub soft: Option<u64>,
    /// Highest value the process may set by itself.
    pub hard: Option<u64>,
}

macro_rules! rlimit_kinds {
    ($($kind:ident $name:literal $code:literal,)*) => {
        /// Resources that can be limited (mesos.v1.RLimitInfo.RLimit.Type).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum RlimitKind { $($kind,)* }

        impl RlimitKind {
            /// Finds the resource by its name in `RLimitInfo`, for example `RLMT_NOFILE`.
            #[must_use]
            pub fn by_name(name: &str) -> Option<Self> {
                match name { $(concat!("RLMT_", $name) => Some(Self::$kind),)* _ => None }
            }

            /// Its name without `RLMT_` or `RLIMIT_`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            fn code(self) -> u64 {
                match self { $(Self::$kind => $code,)* }
            }

            fn by_code(code: u64) -> Option<Self> {
                match code { $($code => Some(Self::$kind),)* _ => None }
            }
        }
    };
}

rlimit_kinds! {
    As "AS" 1, Core "CORE" 2, Cpu "CPU" 3, Data "DATA" 4, Fsize "FSIZE" 5, Locks "LOCKS" 6,
    Memlock "MEMLOCK" 7, Msgqueue "MSGQUEUE" 8, Nice "NICE" 9, Nofile "NOFILE" 10,
    Nproc "NPROC" 11, Rss "RSS" 12, Rtprio "RTPRIO" 13, Rttime "RTTIME" 14,
    Sigpending "SIGPENDING" 15, Stack "STACK" 16,
}

/// Whom a signal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalScope {
    /// The command's first process only.
    Main,
    /// Every process of the run, whatever session or parent it has meanwhile.
    Tree,
}

/// A short command beside a run: a COMMAND check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckSpec {
    /// Working directory.
    pub sandbox: PathBuf,
    /// The command.
    pub program: Program,
    /// The whole environment; a `PATH` is added when absent.
    pub env: Vec<(String, String)>,
    /// User to switch to.
    pub user: Option<String>,
    /// The command says itself on descriptor 3 whether it has begun.
    pub answers: bool,
    /// After this time every process of the check is killed.
    pub timeout: Duration,
    /// Run whose control group the check joins, so that it dies with the run.
    pub beside: Option<ContainerId>,
    /// The network namespace that it is in; `None` is the agent's.
    pub network: Option<PathBuf>,
}

/// The descriptor on which a command answers that says itself whether it has begun.
pub const ANSWER_CHANNEL: i32 = 3;

/// What the stage needs: the part of a specification that ends in `exec`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageSpec {
    /// Working directory.
    pub sandbox: PathBuf,
    /// The command.
    pub program: Program,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// User to switch to.
    pub user: Option<String>,
    /// Limits to set.
    pub rlimits: Vec<Rlimit>,
    /// The command says itself whether it has begun.
    pub answers: bool,
    /// What the command may do, as far as processes can be held to it.
    pub rights: Rights,
    /// The network namespace that it is in; `None` is the agent's.
    pub network: Option<PathBuf>,
}

/// What the stage takes on before it knows its command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StagePlace {
    /// Group to join.
    pub group: Option<PathBuf>,
    /// Score for the kernel's out-of-memory killer that the shim changed for itself.
    pub oom_score_adj: Option<String>,
    /// First process of the run that it is beside: namespaces that its rights name are that one's.
    pub beside: Option<ProcessMark>,
    /// Whoever starts it has the rights and the user of the run already, and may have no right to
    /// take them on again.
    pub inherits: bool,
}

impl StagePlace {
    pub(crate) fn put(&self, out: &mut Writer) {
        out.option(self.group.as_deref(), Writer::path);
        out.option(self.oom_score_adj.as_deref(), Writer::text);
        out.option(self.beside.as_ref(), |out, mark| {
            out.number(u64::from(mark.pid.unsigned_abs()));
            out.number(mark.start_time);
        });
        out.number(u64::from(self.inherits));
    }

    pub(crate) fn take(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            group: from.option(Reader::path)?,
            oom_score_adj: from.option(Reader::text)?,
            beside: from.option(|from| {
                let pid = i32::try_from(from.number()?).or_else(|_| from.damaged())?;
                Ok(ProcessMark { pid, start_time: from.number()? })
            })?,
            inherits: from.number()? == 1,
        })
    }
}

impl StageSpec {
    pub(crate) fn put(&self, out: &mut Writer) {
        out.path(&self.sandbox);
        match &self.program {
            Program::Shell(line) => {
                out.number(0);
                out.text(line);
            }
            Program::Exec { path, argv } => {
                out.number(1);
                out.text(path);
                out.list(argv, |out, arg| out.text(arg));
            }
        }
        out.list(&self.env, |out, (name, value)| {
            out.text(name);
            out.text(value);
        });
        out.option(self.user.as_deref(), Writer::text);
        out.list(&self.rlimits, |out, limit| {
            out.number(limit.kind.code());
            out.option(limit.soft.as_ref(), |out, value| out.number(*value));
            out.option(limit.hard.as_ref(), |out, value| out.number(*value));
        });
        out.number(u64::from(self.answers));
    }

    pub(crate) fn take(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            sandbox: from.path()?,
            program: match from.number()? {
                0 => Program::Shell(from.text()?),
                1 => Program::Exec { path: from.text()?, argv: from.list(Reader::text)? },
                _ => return from.damaged(),
            },
            env: from.list(|from| Ok((from.text()?, from.text()?)))?,
            user: from.option(Reader::text)?,
            rlimits: from.list(|from| {
                let code = from.number()?;
                let Some(kind) = RlimitKind::by_code(code) else { return from.damaged() };
                Ok(Rlimit {
                    kind,
                    soft: from.option(Reader::number)?,
                    hard: from.option(Reader::number)?,
                })
            })?,
            answers: from.number()? == 1,
            rights: Rights::default(),
            network: None,
        })
    }
}

/// The group at a recorded path.
pub(crate) fn leaf_at(path: Option<&PathBuf>) -> Option<Leaf> {
    path.map(|path| Leaf::at(path.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_app_calls_itself_is_one_line_of_bounded_length() {
        let app = "/x\n[Service]\nExecStopPost=/bin/evil\r\u{85}/leaf\\".to_owned();
        let label = RunLabel {
            task: "x.1".to_owned(),
            framework: "f\\".to_owned(),
            role: "*".to_owned(),
            app: Some(app),
            version: Some("v".repeat(100_000)),
        };
        let bare = RunLabel { app: None, ..label.clone() };
        let mut texts = vec![label.description(), label.short_name(), bare.description()];
        texts.extend(label.log_fields().into_iter().map(|(_, value)| value));
        for text in texts {
            assert!(!text.contains(|c: char| c.is_control()), "{text:?}");
            assert!(!text.ends_with('\\'), "{text:?}");
            assert!(text.chars().count() <= MAX_LABEL, "{}", text.len());
        }
        assert_eq!(label.short_name(), "leaf ");
    }
}
