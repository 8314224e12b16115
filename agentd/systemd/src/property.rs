//! A unit's description in systemd's words.

use std::collections::BTreeSet;
use std::time::Duration;

use zbus::zvariant::{Fd, OwnedValue, Value};

use crate::spec::{Ceiling, Command, Pace, Rights, Stdin, UnitSpec};

/// A property as `StartTransientUnit` takes it.
pub type Property<'a> = (&'static str, Value<'a>);

/// `a(sasb)`: path, arguments, whether a failure does not matter. Not `ExecStartEx`, which could say
/// more: systemd 252 writes it into the unit's file under that name, which it cannot read, so with the
/// next daemon-reload a task would lose what writes down how it ended.
type Exec = Vec<(String, Vec<String>, bool)>;

/// All properties of the unit, in a fixed order. Types are systemd's own: it refuses others.
#[must_use]
pub fn properties(spec: &UnitSpec) -> Vec<Property<'_>> {
    let mut all: Vec<Property<'_>> = vec![
        ("Description", spec.description.as_str().into()),
        ("Slice", spec.slice.as_str().into()),
        ("Type", if spec.pace.notifies_within.is_some() { "notify" } else { "exec" }.into()),
        // What the unit ended with is on disk before it is collected.
        ("CollectMode", "inactive-or-failed".into()),
        ("ExecStart", exec(&spec.start).into()),
        // A command may remove it; what writes down its end begins all the same (`-`).
        ("WorkingDirectory", format!("-{}", spec.working_directory.display()).into()),
        ("KillMode", "control-group".into()),
        ("SendSIGKILL", true.into()),
        ("TimeoutStopUSec", micros(spec.pace.stop).into()),
        // What is delegated holds many: the end of one of them is not that of all.
        ("OOMPolicy", if spec.delegate { "continue" } else { "kill" }.into()),
        ("UMask", 0o022_u32.into()),
        ("IgnoreSIGPIPE", false.into()),
        ("StandardOutput", "journal".into()),
        ("StandardError", "journal".into()),
        ("SyslogIdentifier", spec.syslog_identifier.as_str().into()),
        ("LogExtraFields", log_fields(spec).into()),
        ("CPUAccounting", true.into()),
        ("MemoryAccounting", true.into()),
        ("TasksAccounting", true.into()),
    ];
    all.extend(environment(spec).into_iter().map(|line| ("Environment", line.into())));
    if let Some(command) = &spec.stop_post {
        all.push(("ExecStopPost", exec(command).into()));
        // User, rights and namespaces are the command's, not those of what follows it.
        all.push(("PermissionsStartOnly", true.into()));
    }
    if let Stdin::Descriptor(descriptor) = &spec.stdin {
        all.push(("StandardInputFileDescriptor", Value::Fd(Fd::from(descriptor))));
    }
    if spec.delegate {
        all.push(("Delegate", true.into()));
    }
    if let Some(network) = &spec.network {
        all.push(("NetworkNamespacePath", network.to_string_lossy().into_owned().into()));
    }
    if let Some(user) = &spec.user {
        all.push(("User", user.as_str().into()));
    }
    for (name, soft, hard) in &spec.rlimits {
        if let Some((hard_name, soft_name)) = rlimit_names(name) {
            all.push((hard_name, hard.unwrap_or(u64::MAX).into()));
            all.push((soft_name, soft.unwrap_or(u64::MAX).into()));
        }
    }
    if !spec.credentials.is_empty() {
        // Everybody may read properties: they have where a secret is, never what it is.
        let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
        let files = spec.credentials.iter().map(|(name, file)| (name.clone(), path(file)));
        all.push(("LoadCredential", files.collect::<Vec<_>>().into()));
    }
    pace(spec.pace, &mut all);
    rights(&spec.rights, &mut all);
    all.extend(ceiling(&spec.ceiling));
    all
}

fn exec(command: &Command) -> Exec {
    let path = command.path.to_string_lossy().into_owned();
    // systemd puts variables in; two dollars are one.
    let argv = command.argv.iter().map(|word| word.replace('$', "$$")).collect();
    vec![(path, argv, false)]
}

/// Whether systemd takes a variable: it refuses the whole unit for one that it does not like.
#[must_use]
pub fn takes_variable(name: &str, value: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n');
    first && name.bytes().all(plain) && !value.contains(control)
}

/// Longest line of a unit's file that systemd reads (its `LONG_LINE_MAX`), less the name of a setting.
/// It writes longer ones, and loses with the next daemon-reload what stands after them.
const LINE_BYTES: usize = (1 << 20) - 4096;

/// Bytes of a word in a unit's file, at most: in quotes, with what systemd has its own meaning for
/// doubled (and `$` once more by us), and what is not plain as octal numbers.
fn written_bytes(word: &str) -> usize {
    let of = |byte: u8| match byte {
        b'$' => 4,
        b'%' | b'"' | b'\'' | b'\\' => 2,
        b' '..=b'~' => 1,
        _ => 4,
    };
    word.bytes().map(of).sum::<usize>() + 3
}

/// Whether systemd could read these words in one line of a unit's file.
#[must_use]
pub fn fits_a_line<'a>(words: impl IntoIterator<Item = &'a str>) -> bool {
    words.into_iter().map(written_bytes).sum::<usize>() <= LINE_BYTES
}

/// The variables, as many together as fit a line.
fn environment(spec: &UnitSpec) -> Vec<Vec<String>> {
    let mut lines: Vec<Vec<String>> = Vec::new();
    let mut room = 0;
    for (name, value) in &spec.environment {
        let variable = format!("{name}={value}");
        let bytes = written_bytes(&variable);
        if bytes > room || lines.is_empty() {
            lines.push(Vec::new());
            room = LINE_BYTES;
        }
        room = room.saturating_sub(bytes);
        if let Some(line) = lines.last_mut() {
            line.push(variable);
        }
    }
    lines
}

/// `aay`: each field as bytes.
fn log_fields(spec: &UnitSpec) -> Vec<Vec<u8>> {
    let fields = spec.log_fields.iter();
    fields.map(|(name, value)| format!("{name}={value}").into_bytes()).collect()
}

/// The properties of limits, which systemd also changes while a unit runs.
pub(crate) fn ceiling(ceiling: &Ceiling) -> Vec<Property<'static>> {
    let named = [
        ("CPUWeight", ceiling.cpu_weight),
        ("CPUQuotaPerSecUSec", ceiling.cpu_quota.map(micros)),
        ("MemoryMax", ceiling.memory_max),
        ("MemoryHigh", ceiling.memory_high),
        ("MemoryLow", ceiling.memory_low),
        ("MemorySwapMax", ceiling.swap_max),
        ("TasksMax", ceiling.tasks_max),
        ("IOWeight", ceiling.io_weight),
    ];
    let mut all: Vec<Property<'static>> =
        named.into_iter().filter_map(|(name, value)| Some((name, value?.into()))).collect();
    if let Some(cpus) = &ceiling.allowed_cpus {
        all.push(("AllowedCPUs", mask(cpus).into()));
    }
    let bandwidth =
        [("IOReadBandwidthMax", &ceiling.io_read), ("IOWriteBandwidthMax", &ceiling.io_write)];
    for (name, limit) in bandwidth {
        if let Some((path, bytes)) = limit {
            all.push((name, vec![(path.to_string_lossy().into_owned(), *bytes)].into()));
        }
    }
    all
}

fn pace(pace: Pace, all: &mut Vec<Property<'_>>) {
    let spans = [
        ("RuntimeMaxUSec", pace.run),
        ("TimeoutStartUSec", pace.notifies_within),
        ("WatchdogUSec", pace.watchdog),
    ];
    all.extend(spans.into_iter().filter_map(|(name, span)| Some((name, micros(span?).into()))));
    if pace.notifies_within.is_some() || pace.watchdog.is_some() {
        // A shell's child may be the one that speaks.
        all.push(("NotifyAccess", "all".into()));
    }
}

fn rights(rights: &Rights, all: &mut Vec<Property<'_>>) {
    if let Some(bounding) = rights.bounding {
        all.push(("CapabilityBoundingSet", bounding.into()));
    }
    if rights.ambient != 0 {
        all.push(("AmbientCapabilities", rights.ambient.into()));
    }
    if rights.no_new_privileges {
        all.push(("NoNewPrivileges", true.into()));
    }
    if let Some((allowed, but)) = rights.system_calls {
        all.push(("SystemCallFilter", (true, owned(allowed)).into()));
        if !but.is_empty() {
            all.push(("SystemCallFilter", (false, owned(but)).into()));
        }
        all.push(("SystemCallErrorNumber", EPERM.into()));
    }
    if rights.private_ipc {
        all.push(("PrivateIPC", true.into()));
    }
    if rights.closed_devices {
        all.push(("DevicePolicy", "closed".into()));
    }
    if rights.shield {
        all.extend(shield());
    }
}

/// Kinds of sockets that tasks have a use for; netlink tells them their addresses.
const FAMILIES: &[&str] = &["AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"];
/// Sockets through which a service manager, or whoever else is on the bus, takes orders.
const MANAGERS: &[&str] = &["-/run/dbus", "-/run/systemd/private", "-/run/systemd/userdb"];

/// System calls of the kernel's that are no task's business, whatever else it may do: keys that
/// processes share, and ways around the filters of other calls.
const KERNEL_CALLS: &[&str] = &[
    "@keyring",
    "bpf",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "perf_event_open",
    "userfaultfd",
];

/// What keeps the host from a task that has its files and its network.
fn shield() -> Vec<Property<'static>> {
    let switches = [
        "LockPersonality",
        "PrivateDevices",
        "ProtectClock",
        "ProtectControlGroups",
        "ProtectHostname",
        "ProtectKernelLogs",
        "ProtectKernelModules",
        "ProtectKernelTunables",
        "RestrictRealtime",
        "RestrictSUIDSGID",
    ];
    let mut all: Vec<Property<'static>> =
        switches.into_iter().map(|name| (name, true.into())).collect();
    // Not a single kind of namespace.
    all.push(("RestrictNamespaces", 0_u64.into()));
    all.push(("RestrictAddressFamilies", (true, owned(FAMILIES)).into()));
    all.push(("InaccessiblePaths", owned(MANAGERS).into()));
    all.push(("ProtectProc", "invisible".into()));
    all.push(("SystemCallFilter", (false, owned(KERNEL_CALLS)).into()));
    all.push(("SystemCallErrorNumber", EPERM.into()));
    all
}

/// What a system call outside the filter answers: a program can go on without.
const EPERM: i32 = 1;

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// One bit per processor, the first in the lowest of the first byte.
fn mask(cpus: &BTreeSet<u16>) -> Vec<u8> {
    let bytes = cpus.last().map_or(0, |last| usize::from(*last) / 8 + 1);
    let mut mask = vec![0; bytes];
    for cpu in cpus {
        mask[usize::from(*cpu) / 8] |= 1 << (cpu % 8);
    }
    mask
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

macro_rules! rlimits {
    ($($name:literal)*) => {
        /// The properties of a limit: hard, soft.
        fn rlimit_names(name: &str) -> Option<(&'static str, &'static str)> {
            match name {
                $($name => Some((concat!("Limit", $name), concat!("Limit", $name, "Soft"))),)*
                _ => None,
            }
        }
    };
}

rlimits! {
    "AS" "CORE" "CPU" "DATA" "FSIZE" "LOCKS" "MEMLOCK" "MSGQUEUE" "NICE" "NOFILE" "NPROC" "RSS"
    "RTPRIO" "RTTIME" "SIGPENDING" "STACK"
}

/// Reads a number out of a property's value.
pub(crate) fn number(value: &OwnedValue) -> Option<u64> {
    match **value {
        Value::U64(number) => Some(number),
        Value::U32(number) => Some(number.into()),
        Value::I32(number) => u64::try_from(number).ok(),
        _ => None,
    }
}

/// Reads a text out of a property's value.
pub(crate) fn text(value: &OwnedValue) -> Option<String> {
    match &**value {
        Value::Str(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

/// Reads bytes out of a property's value.
pub(crate) fn bytes(value: &OwnedValue) -> Option<Vec<u8>> {
    match &**value {
        Value::Array(array) => array.iter().map(|one| one.downcast_ref::<u8>().ok()).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> UnitSpec {
        UnitSpec {
            name: crate::UnitName::of_task("t.1"),
            slice: crate::SliceName::of_tasks(),
            description: String::new(),
            start: Command { path: "/bin/true".into(), argv: vec!["true".into()] },
            stop_post: None,
            stdin: Stdin::Null,
            user: None,
            working_directory: "/".into(),
            environment: vec![("A".into(), "seen".into())],
            network: None,
            credentials: vec![("key".into(), "/run/tepui/secrets/a/r/key".into())],
            rlimits: Vec::new(),
            ceiling: Ceiling::default(),
            delegate: false,
            rights: Rights::default(),
            pace: Pace::default(),
            log_fields: Vec::new(),
            syslog_identifier: "t".into(),
        }
    }

    #[test]
    fn properties_tell_where_secrets_are_and_not_what() {
        let spec = task();
        let all = properties(&spec);
        let of = |name: &str| all.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        let files = vec![("key".to_owned(), "/run/tepui/secrets/a/r/key".to_owned())];
        assert_eq!(of("LoadCredential"), Some(&Value::from(files)));
        assert!(of("SetCredential").is_none());
        assert_eq!(of("WorkingDirectory"), Some(&Value::from("-/")));
        let command =
            Command { path: "/bin/sh".into(), argv: vec!["sh".into(), "a $B ${C}".into()] };
        assert_eq!(exec(&command)[0].1, ["sh", "a $$B $${C}"]);
    }

    #[test]
    fn no_line_is_longer_than_systemd_reads_and_no_variable_is_lost() {
        let mut spec = task();
        spec.environment = (0..40).map(|n| (format!("V{n}"), "%\u{e4}".repeat(10_000))).collect();
        let lines = environment(&spec);
        assert!(
            lines.len() > 1
                && lines.iter().all(|line| fits_a_line(line.iter().map(String::as_str)))
        );
        let all: Vec<_> = spec.environment.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(lines.concat(), all);
        let named = properties(&spec);
        assert_eq!(named.iter().filter(|(name, _)| *name == "Environment").count(), lines.len());
        assert!(!fits_a_line(["x", &"$".repeat(300_000)]));
    }

    #[test]
    fn processors_are_one_bit_each() {
        assert_eq!(mask(&[0, 1, 9].into()), [0b11, 0b10]);
        assert_eq!(mask(&BTreeSet::new()), Vec::<u8>::new());
    }

    #[test]
    fn variables_that_systemd_refuses_are_known() {
        for (name, value) in [("A", ""), ("_a1", "x\ty\nz"), ("PATH", "/bin:ä")] {
            assert!(takes_variable(name, value), "{name}");
        }
        for (name, value) in [("", "x"), ("1A", "x"), ("a.b", "x"), ("A", "x\u{1}"), ("ä", "x")] {
            assert!(!takes_variable(name, value), "{name}");
        }
    }
}
