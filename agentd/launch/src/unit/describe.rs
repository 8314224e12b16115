//! A run as a unit.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tepui_systemd::{
    Ceiling, Command, Pace, Rights, SliceName, Stdin, UnitName, UnitSpec, takes_variable,
};

use super::Inner;
use crate::confinement::{SystemCalls, parse_processors};
use crate::spec::{LaunchSpec, Program};

/// Names and values.
pub(super) type Variables = Vec<(String, String)>;

/// Time between SIGTERM and SIGKILL when systemd itself stops a unit: at shutdown, and for what a
/// command has left behind.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(3);
impl Inner {
    /// The whole environment: what systemd takes, and the rest, which the stage adds itself. Later
    /// values win.
    pub(super) fn environment(&self, spec: &mut LaunchSpec) -> (Variables, Variables) {
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        all.insert("PATH".to_owned(), self.default_path.clone());
        all.extend(std::mem::take(&mut spec.env));
        let hidden = std::mem::take(&mut spec.secret_variables);
        // Everybody may read a unit's properties, its environment among them.
        all.into_iter().partition(|(name, value)| {
            takes_variable(name, value) && !hidden.contains(name) && !is_heeded_by_root(name)
        })
    }

    pub(super) fn describe(
        &self,
        spec: LaunchSpec,
        environment: Variables,
        unit: UnitName,
        stdin: UnixStream,
    ) -> UnitSpec {
        let (path, argv) = command(&spec.program);
        let pace = spec.confinement.pace;
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
                seconds(pace.notifies_within),
                seconds(pace.run_time),
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
            credentials: spec.credentials,
            rlimits: spec.rlimits.iter().map(|one| (one.kind.name(), one.soft, one.hard)).collect(),
            ceiling: ceiling(&spec.confinement.ceiling, &spec.run_dir),
            delegate: false,
            network: spec.network,
            rights: rights(&spec.confinement.rights),
            pace: Pace {
                stop: pace.stop_grace.unwrap_or(STOP_TIMEOUT),
                run: pace.run_time,
                notifies_within: pace.notifies_within,
                watchdog: pace.watchdog,
            },
            log_fields: spec.label.log_fields(),
            syslog_identifier: spec.label.short_name(),
        }
    }
}

/// Variables that loader and C library heed unless a program gives more rights than its caller has: the
/// names that glibc leaves out then (its `unsecvars.h`), those of a kind by their beginning.
const LOADERS: [&str; 3] = ["LD_", "GLIBC_", "MALLOC_"];
const UNSAFE_TO_ROOT: [&str; 13] = [
    "GCONV_PATH",
    "GETCONF_DIR",
    "HOSTALIASES",
    "LOCALDOMAIN",
    "LOCPATH",
    "NIS_PATH",
    "NLSPATH",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    "TMPDIR",
    "TZDIR",
    "RUST_BACKTRACE",
    "RUST_MIN_STACK",
];
/// Variables by which systemd tells how a unit ended; a unit's own would take their place.
const ENDS: [&str; 4] = ["EXIT_CODE", "EXIT_STATUS", "SERVICE_RESULT", "INVOCATION_ID"];

/// Whether a variable would change what `tepui-shim` does. A unit's environment is that of all its
/// commands: of the stage, before the unit is held to its ports, and of the one that writes down the end,
/// which is root's. The command itself gets such a variable from its stage.
fn is_heeded_by_root(name: &str) -> bool {
    LOADERS.iter().any(|kind| name.starts_with(kind))
        || UNSAFE_TO_ROOT.contains(&name)
        || ENDS.contains(&name)
}

/// Whole seconds as a word for `tepui-shim`; 0 is none.
fn seconds(span: Option<Duration>) -> String {
    span.map_or(0, |span| span.as_secs().max(1)).to_string()
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

/// Limits in systemd's words; those of disks are of the one that holds the records: it is the sandbox's,
/// and no task can have systemd look elsewhere.
pub(super) fn ceiling(given: &crate::confinement::Ceiling, records: &Path) -> Ceiling {
    let disk = |limit: Option<u64>| limit.map(|bytes| (records.to_owned(), bytes));
    Ceiling {
        cpu_weight: given.cpu_weight(),
        cpu_quota: given.cpu_quota(),
        allowed_cpus: given.processors.as_deref().and_then(parse_processors),
        memory_max: given.memory_bytes,
        memory_high: given.memory_high_bytes,
        memory_low: given.memory_low_bytes,
        swap_max: given.swap_bytes(),
        tasks_max: given.processes,
        io_weight: given.io_weight,
        io_read: disk(given.io_read_bytes),
        io_write: disk(given.io_write_bytes),
    }
}

fn rights(given: &crate::confinement::Rights) -> Rights {
    Rights {
        bounding: given.bounding,
        ambient: given.ambient,
        // A filter without it would be dropped with the first setuid program.
        no_new_privileges: given.no_new_privileges || given.system_calls.is_some() || given.shield,
        system_calls: given.system_calls.map(|set| match set {
            SystemCalls::Service => (SERVICE, NOTHING),
            SystemCalls::Unprivileged => (SERVICE, PRIVILEGED),
        }),
        private_ipc: given.own_ipc,
        closed_devices: given.no_devices,
        shield: given.shield,
    }
}

/// Sets of system calls as `systemd-analyze syscall-filter` lists them.
const SERVICE: &[&str] = &["@system-service"];
const PRIVILEGED: &[&str] = &["@privileged", "@resources"];
const NOTHING: &[&str] = &[];

#[cfg(test)]
mod tests {
    use super::is_heeded_by_root;

    #[test]
    fn no_variable_of_a_task_reaches_what_is_roots() {
        for name in ["LD_PRELOAD", "LD_AUDIT", "GLIBC_TUNABLES", "EXIT_STATUS", "GCONV_PATH"] {
            assert!(is_heeded_by_root(name), "{name}");
        }
        for name in ["PATH", "LDAP_URL", "MESOS_TASK_ID", "EXIT", "HOME"] {
            assert!(!is_heeded_by_root(name), "{name}");
        }
    }
}
