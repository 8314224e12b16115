//! Launchers behind one trait, and the shim that outlives the daemon.
//!
//! A *run* is one start of a command on this host: a command task, a custom executor, or (shorter
//! lived) a command check. The agent's state machine decides; a [`Launcher`] acts. The launcher
//! here is [`PlainLauncher`]: processes without image, supervised by `tepui-shim`.
//!
//! ```text
//! agent ──spawn──▶ tepui-shim run            own session, child subreaper, outlives the agent
//!   │  socket: spec in, "started" out  │
//!   │  pidfd: tells that it is gone    ├─spawn─▶ tepui-shim stage ─exec─▶ the command
//!   └─ control FIFO: signal, kill      │           session, rlimits, user, sandbox, control group
//!                                      ├─ stdout, stderr pipes ─▶ rotated files in the sandbox
//!                                      └─ run directory: `started`, `exit` (durable), `control`
//! ```
//!
//! Shim and stage exist before they are needed: a launcher keeps a few pairs whose stage has entered
//! a fresh control group already, and a run that takes one begins several times sooner.
//!
//! The run directory is private to the agent's user and outside the sandbox. `started` is created
//! exclusively before the command runs, so that a recovering agent that claims the name first has
//! made sure that nothing will ever run; `exit` is fsynced before the shim ends, so that a shim that
//! is gone either left the true exit status or died itself.

mod admission;
mod codec;
mod confinement;
mod host;
mod launcher;
mod plain;
mod ports;
mod possible;
mod reserve;
mod tree;
mod unit;
mod verdict;

pub mod procfs;
pub mod protocol;
pub mod record;
pub mod session;
mod signals;
mod spec;

pub use admission::Admission;
pub use confinement::{Ceiling, Confinement, Pace, Rights, SystemCalls, parse_processors};
pub use host::{HostLauncher, needs_systemd};
pub use launcher::{
    BoxFuture, CheckOutcome, KnownRun, LaunchError, Launcher, LimitError, LostReason, Recovered,
    RunEvent, RunOutcome, RunState, SignalError, Started, Usage, UsageError,
};
pub use plain::{GroupSupport, PlainConfig, PlainLauncher, list_run_dirs};
pub use record::{Cause, Ending, ExitStatus, Hardship, SpentResources};
pub use session::{Session, SessionSpec, Window};
pub use signals::take_ignored_signals;
pub use spec::{
    ANSWER_CHANNEL, CheckSpec, LaunchSpec, LogPolicy, Program, Rlimit, RlimitKind, RunLabel,
    SignalScope,
};
pub use tree::ProcessTree;
pub use unit::{MOST_SLICES, UnitError, UnitLauncher, group_for_processes};
