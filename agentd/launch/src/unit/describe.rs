//! A run as a unit.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use tepui_systemd::{Ceiling, Command, SliceName, Stdin, UnitName, UnitSpec, takes_variable};

use super::Inner;
use crate::spec::{LaunchSpec, Program, RunLabel};

/// Names and values.
pub(super) type Variables = Vec<(String, String)>;

/// Time between SIGTERM and SIGKILL when systemd itself stops a unit: at shutdown, and for what a
/// command has left behind.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// Weight of one processor; systemd's default of 100 is a tenth of the way to its highest.
const WEIGHT_PER_CPU: u64 = 100;
const WEIGHTS: (u64, u64) = (1, 10_000);
/// Share of its memory above which a task's memory is reclaimed.
const HIGH_PERCENT: u64 = 90;

impl Inner {
    /// The whole environment: what systemd takes, and the rest, which the stage adds itself. Later
    /// values win.
    pub(super) fn environment(&self, spec: &mut LaunchSpec) -> (Variables, Variables) {
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        all.insert("PATH".to_owned(), self.default_path.clone());
        all.extend(std::mem::take(&mut spec.env));
        all.into_iter().partition(|(name, value)| takes_variable(name, value))
    }

    pub(super) fn describe(
        &self,
        spec: LaunchSpec,
        environment: Variables,
        unit: UnitName,
        stdin: UnixStream,
    ) -> UnitSpec {
        let (path, argv) = command(&spec.program);
        let shim = self.shim.clone();
        let mut words = vec![
            shim.to_string_lossy().into_owned(),
            if spec.answers { "unit-answering" } else { "unit" }.to_owned(),
            spec.log_policy.max_bytes.to_string(),
            spec.log_policy.keep.to_string(),
            path,
        ];
        words.extend(argv);
        let end = Command {
            path: shim.clone(),
            argv: vec![
                shim.to_string_lossy().into_owned(),
                "unit-end".to_owned(),
                spec.run_dir.to_string_lossy().into_owned(),
            ],
        };
        UnitSpec {
            name: unit,
            slice: SliceName::of_role(&spec.label.role),
            description: spec.label.description(),
            start: Command { path: shim, argv: words },
            stop_post: Some(end),
            stdin: Stdin::Descriptor(OwnedFd::from(stdin)),
            user: spec.user,
            working_directory: PathBuf::from(&spec.sandbox),
            environment,
            rlimits: spec.rlimits.iter().map(|one| (one.kind.name(), one.soft, one.hard)).collect(),
            ceiling: ceiling(spec.ceiling),
            stop_timeout: STOP_TIMEOUT,
            log_fields: log_fields(&spec.label),
            syslog_identifier: spec.label.short_name(),
        }
    }
}

fn command(program: &Program) -> (String, Vec<String>) {
    match program {
        Program::Shell(line) => {
            ("/bin/sh".to_owned(), vec!["sh".to_owned(), "-c".to_owned(), line.clone()])
        }
        Program::Exec { path, argv } if argv.is_empty() => (path.clone(), vec![path.clone()]),
        Program::Exec { path, argv } => (path.clone(), argv.clone()),
    }
}

fn ceiling(given: crate::spec::Ceiling) -> Ceiling {
    let weight = given
        .cpu_milli
        .map(|milli| (milli.saturating_mul(WEIGHT_PER_CPU) / 1000).clamp(WEIGHTS.0, WEIGHTS.1));
    Ceiling {
        cpu_weight: weight,
        cpu_quota: given.cpu_quota_milli.map(Duration::from_millis),
        memory_max: given.memory_bytes,
        memory_high: given.memory_bytes.map(|bytes| bytes / 100 * HIGH_PERCENT),
        swap_max: given.memory_bytes.map(|_| 0),
        tasks_max: given.processes,
    }
}

/// What `journalctl TEPUI_APP=/shop/cart` looks for.
fn log_fields(label: &RunLabel) -> Vec<(String, String)> {
    let fields = [
        ("TEPUI_TASK", Some(&label.task)),
        ("TEPUI_FRAMEWORK", Some(&label.framework)),
        ("TEPUI_ROLE", Some(&label.role)),
        ("TEPUI_APP", label.app.as_ref()),
        ("TEPUI_VERSION", label.version.as_ref()),
    ];
    let known = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
    known.map(|(name, value)| (name.to_owned(), value.replace('\n', " "))).collect()
}
