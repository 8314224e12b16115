//! Labels of tasks (and so of apps) for what neither Mesos nor Marathon has a field for
//! (`tepui_types::LABELS`).

use tepui_types::{LABEL_PREFIX, Span, check_label};
use tepui_wire::v1;

use super::{BLKIO, CPUSET, Limits, NOTIFY, Need, PIDS, SeccompProfile, Unclear};

/// Time to be ready within, unless the task says otherwise: Marathon's `task_launch_timeout`.
const READY_WITHIN: Span = Span::from_secs(5 * 60);
/// Highest weight of the kernel's.
const MAX_WEIGHT: u64 = 10_000;
/// Longest list of processors.
const MAX_LIST: usize = 256;
/// Longest time in seconds: a year.
const MAX_SECONDS: u64 = 366 * 24 * 3600;

/// What the labels of a task say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    notify: bool,
    ready_within: Option<Span>,
    watchdog: Option<Span>,
    processes: Option<u64>,
    io_weight: Option<u64>,
    io_read: Option<u64>,
    io_write: Option<u64>,
    processors: Option<String>,
    pub(super) run_time: Option<Span>,
    pub(super) seccomp: Option<SeccompProfile>,
    pub(super) no_new_privileges: bool,
    pub(super) own_ipc: bool,
    pub(super) shield: bool,
}

impl Wishes {
    /// Reads those labels that are ours; the names are those of the README. One that nobody heeds is
    /// refused: it was to mean something.
    pub(super) fn read(labels: Option<&v1::Labels>) -> Result<Self, Unclear> {
        let mut wishes = Self::default();
        let ours = labels.into_iter().flat_map(|labels| &labels.labels);
        for label in ours {
            check_label(&label.key).map_err(|unknown| Unclear(format!("Task's {unknown}")))?;
            let Some(name) = label.key.strip_prefix(LABEL_PREFIX) else { continue };
            let value = label.value.as_deref().unwrap_or_default();
            wishes.take(name, value).map_err(|right| {
                let shown: String = value.chars().take(80).collect();
                Unclear(format!("Label '{}' is '{shown}' and should be {right}", label.key))
            })?;
        }
        Ok(wishes)
    }

    /// Takes one label; what would be right when it is not.
    fn take(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        match name {
            "NOTIFY" => self.notify = flag(value)?,
            "NOTIFY_WITHIN_SEC" => self.ready_within = Some(seconds(value)?),
            "WATCHDOG_SEC" => self.watchdog = Some(seconds(value)?),
            "PIDS" => self.processes = Some(positive(value)?),
            "IO_WEIGHT" => self.io_weight = Some(weight(value)?),
            "IO_READ_BYTES_PER_SEC" => self.io_read = Some(positive(value)?),
            "IO_WRITE_BYTES_PER_SEC" => self.io_write = Some(positive(value)?),
            "CPUSET" => self.processors = Some(processors(value)?),
            "MAX_RUN_SEC" => self.run_time = Some(seconds(value)?),
            "SECCOMP" => self.seccomp = Some(SeccompProfile::by_name(value)?),
            "NO_NEW_PRIVILEGES" => self.no_new_privileges = flag(value)?,
            "PRIVATE_IPC" => self.own_ipc = flag(value)?,
            "SHIELD" => self.shield = flag(value)?,
            // Labels for others: who applies definitions, or scrapes tasks.
            _ => {}
        }
        Ok(())
    }

    /// Which isolators they need.
    pub(super) fn needs(&self) -> Vec<Need> {
        let label = |name: &str| format!("Label '{LABEL_PREFIX}{name}'");
        let all = [
            (self.notify, NOTIFY, "NOTIFY"),
            (self.watchdog.is_some(), NOTIFY, "WATCHDOG_SEC"),
            (self.processes.is_some(), PIDS, "PIDS"),
            (self.io_weight.is_some(), BLKIO, "IO_WEIGHT"),
            (self.io_read.is_some(), BLKIO, "IO_READ_BYTES_PER_SEC"),
            (self.io_write.is_some(), BLKIO, "IO_WRITE_BYTES_PER_SEC"),
            (self.processors.is_some(), CPUSET, "CPUSET"),
        ];
        let needed = all.into_iter().filter(|(wished, ..)| *wished);
        needed.map(|(_, isolator, name)| (isolator, label(name))).collect()
    }

    /// The first label that a container's runtime would not hear of.
    pub(super) fn unheard_in_container(&self) -> Option<String> {
        let all = [
            (self.notify, "NOTIFY"),
            (self.watchdog.is_some(), "WATCHDOG_SEC"),
            (self.shield, "SHIELD"),
        ];
        let (_, name) = all.into_iter().find(|(wished, _)| *wished)?;
        Some(format!("{LABEL_PREFIX}{name}"))
    }

    /// Adds them to what resources say.
    pub(super) fn add_to(self, limits: &mut Limits) {
        limits.processes = self.processes.or(limits.processes);
        limits.io_weight = self.io_weight;
        limits.io_read = self.io_read;
        limits.io_write = self.io_write;
        limits.processors = self.processors;
        limits.watchdog = self.watchdog;
        limits.notifies_within = self.notify.then(|| self.ready_within.unwrap_or(READY_WITHIN));
    }
}

fn flag(value: &str) -> Result<bool, &'static str> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("'true' or 'false'"),
    }
}

fn seconds(value: &str) -> Result<Span, &'static str> {
    let number = value.parse().ok().filter(|number| (1..=MAX_SECONDS).contains(number));
    number.map(Span::from_secs).ok_or("a whole number of seconds, from 1 to a year")
}

fn positive(value: &str) -> Result<u64, &'static str> {
    // More than the kernel's own numbers would overflow them.
    let number = value.parse().ok().filter(|number| (1..=i64::MAX.unsigned_abs()).contains(number));
    number.ok_or("a whole number from 1 on")
}

fn weight(value: &str) -> Result<u64, &'static str> {
    let number = value.parse().ok().filter(|number| (1..=MAX_WEIGHT).contains(number));
    number.ok_or("a weight from 1 to 10000")
}

fn processors(value: &str) -> Result<String, &'static str> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|number| *number < 8192);
    let is_part = |part: &str| match part.split_once('-') {
        Some((first, last)) => {
            matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last)
        }
        None => number(part).is_some(),
    };
    let good = value.len() <= MAX_LIST && value.split(',').all(is_part);
    good.then(|| value.to_owned()).ok_or("a list of processors such as 0-3,5")
}
