//! What a run may use and do: from its tasks' resources and limits (`spec/mesos-http.md` 1.6, 9),
//! from what its container asks for, from labels for what Mesos and Marathon have no field for, and
//! from what the operator decided.

pub(crate) mod above;
pub(crate) mod container;
mod labels;
mod rights;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tepui_types::{ContainerId, ExecutorId, FrameworkId, Resources, Scalar, Span};
use tepui_wire::v1;

pub use rights::{Rights, SeccompProfile, capability_bit};

use crate::Effect;
use crate::book::parent_of;
use crate::containers::wish;
use crate::environment::{held_by, span_of, sum};
use crate::machine::{Agent, Turn};
use crate::state::{Executor, Framework, Phase, Task, is_pod};
use labels::Wishes;

/// What a run may use and do; `None` is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Processors in thousandths: its share when they are scarce.
    pub cpu_milli: Option<u64>,
    /// Processors in thousandths that it may not exceed.
    pub cpu_quota_milli: Option<u64>,
    /// Processors it may run on, as `0-3,5`.
    pub processors: Option<String>,
    /// Bytes of memory that it was given, which the kernel takes back last.
    pub memory_request: Option<u64>,
    /// Bytes of memory that it may not exceed.
    pub memory_limit: Option<u64>,
    /// Bytes of memory above which it is slowed down.
    pub memory_high: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Share of the disks when they are scarce, 1 to 10,000.
    pub io_weight: Option<u64>,
    /// Bytes per second that it may read.
    pub io_read: Option<u64>,
    /// Bytes per second that it may write.
    pub io_write: Option<u64>,
    /// Bytes that its sandbox may hold.
    pub disk: Option<u64>,
    /// What it may do.
    pub rights: Rights,
    /// It is ended after this time.
    pub run_time: Option<Span>,
    /// Between SIGTERM and SIGKILL, when not the agent but the host ends it.
    pub stop_grace: Option<Span>,
    /// It says itself when it is ready, at the latest after this time.
    pub notifies_within: Option<Span>,
    /// It says at least so often that it is well.
    pub watchdog: Option<Span>,
}

/// What the operator decided about limits; the defaults are Mesos's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitPolicy {
    /// Processors are a limit too, not only a share (`--cgroups_enable_cfs`).
    pub cpu_is_limit: bool,
    /// Processes and threads of a run that names no number.
    pub processes: Option<u64>,
    /// Share of its memory, in percent, above which a run is slowed down; 100 is never. Off by
    /// default: a run that needs more than it has then crawls for a long time before it ends.
    pub memory_high_percent: u64,
    /// Sandboxes that hold more than their disk are the end of their run
    /// (`--enforce_container_disk_quota`).
    pub enforce_disk: bool,
    /// Capabilities of runs that name none; `None` leaves what their user has.
    pub effective_capabilities: Option<u64>,
    /// Capabilities that no run can have more than.
    pub bounding_capabilities: Option<u64>,
    /// Filter of system calls of runs that name none.
    pub seccomp: Option<SeccompProfile>,
    /// No run gets rights from executed files.
    pub no_new_privileges: bool,
    /// Runs only get devices without hardware behind them.
    pub no_devices: bool,
    /// Why this host cannot hold a container to its devices; `None` where it can. What would open
    /// others is then refused or taken away.
    pub unruled_devices: Option<Arc<str>>,
    /// File with the filter of containers that name none (`--seccomp_profile_name`).
    pub seccomp_file: Option<String>,
    /// The host is kept from every run.
    pub shield: bool,
    /// Containers may be privileged.
    pub privileged_containers: bool,
    /// Folders of the host that containers may mount; `None` is all.
    pub host_volumes: Option<Vec<String>>,
}

impl Default for LimitPolicy {
    fn default() -> Self {
        Self {
            cpu_is_limit: false,
            processes: None,
            memory_high_percent: 100,
            enforce_disk: false,
            effective_capabilities: None,
            bounding_capabilities: None,
            seccomp: None,
            no_new_privileges: false,
            no_devices: false,
            unruled_devices: None,
            seccomp_file: None,
            shield: false,
            privileged_containers: true,
            host_volumes: None,
        }
    }
}

/// Which isolators this agent has, by Mesos's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Isolation {
    /// They hold runs to their limits.
    pub in_force: BTreeSet<Arc<str>>,
    /// They do not, and why.
    pub missing: BTreeMap<Arc<str>, Arc<str>>,
}

impl Isolation {
    /// Why a run that needs the isolator cannot be here; `None` when it can.
    #[must_use]
    pub fn lacks(&self, name: &str) -> Option<&str> {
        if self.in_force.contains(name) {
            return None;
        }
        let why = self.missing.get(name).map(AsRef::as_ref);
        Some(why.unwrap_or("it is not named in this agent's --isolation"))
    }
}

/// Hard limit of the processors.
pub const CPU: &str = "cgroups/cpu";
/// Hard limit of the memory.
pub const MEM: &str = "cgroups/mem";
/// Number of processes and threads.
pub const PIDS: &str = "cgroups/pids";
/// Block devices: weight and speed.
pub const BLKIO: &str = "cgroups/blkio";
/// On which processors.
pub const CPUSET: &str = "cgroups/cpuset";
/// Which devices.
pub const DEVICES: &str = "cgroups/devices";
/// `setrlimit`.
pub const RLIMITS: &str = "posix/rlimits";
/// Capabilities.
pub const CAPABILITIES: &str = "linux/capabilities";
/// Filter of system calls.
pub const SECCOMP: &str = "linux/seccomp";
/// Inter-process communication of its own.
pub const IPC: &str = "namespaces/ipc";
/// Processes of its own.
pub const PID: &str = "namespaces/pid";
/// Disk use of the sandbox, measured.
pub const DISK_DU: &str = "disk/du";
/// Disk use of the sandbox, counted and bounded by XFS.
pub const DISK_XFS: &str = "disk/xfs";
/// The same by ext4; Mesos has no such isolator.
pub const DISK_EXT4: &str = "disk/ext4";
/// Somebody hears the run say that it is ready, or well.
pub const NOTIFY: &str = "systemd/notify";

/// The host's own settings, sockets and namespaces are out of reach.
pub const SHIELD: &str = "systemd/shield";

/// A description that no limits can be read from; the text says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unclear(pub(crate) String);

/// Something that a run asks for by name, and the isolator that it needs.
type Need = (&'static str, String);

impl Agent {
    /// What a run may use and do: a task of a pod what is its own, any other what its executor and
    /// the tasks of it have together.
    pub(crate) fn limits_of(
        &self,
        framework: &Framework,
        executor: &Executor,
        run: &ContainerId,
    ) -> Limits {
        let policy = &self.config.limits;
        let task = self.task_of(framework, executor, run);
        let mut limits = match task.filter(|_| executor.is_pod()) {
            Some(task) => amounts(&sum(&task.info.resources), &[], &[&task.info], policy),
            None => {
                let live: Vec<_> =
                    live_tasks(framework, executor).map(|task| &*task.info).collect();
                let own = executor.info.as_ref().map(|info| info.resources.as_slice());
                amounts(&held_by(framework, executor), own.unwrap_or_default(), &live, policy)
            }
        };
        if let Some(task) = task {
            limits.run_time = completion_of(&task.info);
            limits.stop_grace = Some(crate::kill::grace_of(None, &task.info));
        }
        let info = executor.info.as_ref();
        let (labels, container) = match task {
            Some(task) => (task.info.labels.as_ref(), task.info.container.as_deref()),
            None => (
                info.and_then(|info| info.labels.as_ref()),
                info.and_then(|info| info.container.as_deref()),
            ),
        };
        // What cannot be read was refused before.
        let wishes = Wishes::read(labels).unwrap_or_default();
        // In a container the runtime says what may be done, and needs its own rights to do so.
        if self.container_of(framework, executor, run).is_none() {
            let rights = Rights::of(container, &wishes, policy);
            limits.rights = rights.unwrap_or_else(|_| Rights::none());
        }
        wishes.add_to(&mut limits);
        limits
    }

    /// What any run may use and do; `None` when nobody owns it.
    pub(crate) fn limits_of_run(&self, run: &ContainerId) -> Option<Limits> {
        if self.book.runs.get(run)?.asked.is_some() {
            return self.asked_limits(run);
        }
        let (framework, executor) = self.book.owner(run)?;
        Some(self.limits_of(framework, executor, run))
    }

    /// An asked run is held to what it was given; without that, to what the run above it may use.
    pub(crate) fn asked_limits(&self, run: &ContainerId) -> Option<Limits> {
        let launch = self.book.runs.get(run)?.asked.as_deref()?;
        let above = parent_of(run).and_then(|above| self.limits_of_run(&above));
        let above = above.unwrap_or_default();
        let policy = &self.config.limits;
        let rights = match () {
            // The runtime says what may be done, and needs its own rights to do so.
            () if self.asked_container(run).is_some() => Rights::default(),
            // Nobody gets out of what holds the run above by a call.
            () if above.rights != Rights::default() => above.rights.clone(),
            () => Rights::of(launch.info.as_ref(), &Wishes::default(), policy)
                .unwrap_or_else(|_| Rights::none()),
        };
        let limits = if launch.resources.is_empty() && launch.limits.is_empty() {
            // What it writes is in the sandbox above, and counts there.
            let bare = Limits { processes: policy.processes, ..Limits::default() };
            match parent_of(run) {
                Some(_) => Limits { disk: None, ..above },
                None => bare,
            }
        } else {
            let own = amounts(&sum(&launch.resources), &[], &[&launch.as_task()], policy);
            Limits {
                processors: above.processors,
                processes: above.processes.or(own.processes),
                ..own
            }
        };
        Some(Limits {
            rights,
            run_time: None,
            stop_grace: None,
            notifies_within: None,
            watchdog: None,
            ..limits
        })
    }

    /// A custom executor that runs may use more when tasks come to it, and less when they go.
    pub(crate) fn limit_anew(
        &self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        turn: &mut Turn<'_>,
    ) {
        let Some(framework) = self.book.framework(framework) else { return };
        let Some(executor) = framework.executors.get(executor) else { return };
        let phase = self.book.runs.get(&executor.run).map(|run| run.phase);
        if !executor.is_custom() || !matches!(phase, Some(Phase::Registering | Phase::Running)) {
            return;
        }
        let run = executor.run.clone();
        let limits = self.limits_of(framework, executor, &run);
        turn.push(Effect::Limit { run, limits: Box::new(limits) });
    }

    /// Why a run that was taken on cannot be held here and now to what it asks for.
    pub(crate) fn run_objection(&self, run: &ContainerId) -> Option<String> {
        if let Some(launch) = self.book.runs.get(run)?.asked.as_deref() {
            return self.limits_objection(&launch.as_task());
        }
        let (framework, executor) = self.book.owner(run)?;
        let task = self.task_of(framework, executor, run);
        let task = task.or_else(|| framework.tasks.get(executor.tasks.first()?))?;
        self.limits_objection(&task.info)
    }

    /// Why a task, or its executor, cannot be held here to what it asks for.
    pub(crate) fn limits_objection(&self, task: &v1::TaskInfo) -> Option<String> {
        let executor = task.executor.as_deref().filter(|info| !is_pod(info));
        let labels = match executor {
            Some(executor) => executor.labels.as_ref(),
            None => task.labels.as_ref(),
        };
        let container = match executor {
            Some(executor) => executor.container.as_deref(),
            None => task.container.as_deref(),
        };
        let command = executor.map_or(task.command.as_ref(), |executor| executor.command.as_ref());
        let needs = match needs(labels, (container, command), task, &self.config.limits) {
            Ok(needs) => needs,
            Err(Unclear(why)) => return Some(why),
        };
        let mut lacking = needs.into_iter().filter_map(|(isolator, what)| {
            let why = self.config.isolation.lacks(isolator)?;
            Some(format!("{what} needs the isolator '{isolator}', which this agent lacks: {why}"))
        });
        lacking.next()
    }
}

/// Everything that a task names and that needs somebody to hold it to. Plain amounts of `cpus` and
/// `mem` are no such thing: Mesos's posix isolators run them unlimited too.
fn needs(
    labels: Option<&v1::Labels>,
    (container, command): (Option<&v1::ContainerInfo>, Option<&v1::CommandInfo>),
    task: &v1::TaskInfo,
    policy: &LimitPolicy,
) -> Result<Vec<Need>, Unclear> {
    let wishes = Wishes::read(labels)?;
    let mut needs: Vec<Need> = wishes.needs();
    if has_runtime(container, command) {
        // Nothing is dropped in silence that should protect somebody.
        if let Some(label) = wishes.unheard_in_container() {
            return Err(Unclear(format!("Label '{label}' is for tasks without a container")));
        }
    } else {
        needs.extend(Rights::of(container, &wishes, policy)?.needs(container));
    }
    for (name, isolator) in [("cpus", CPU), ("mem", MEM)] {
        if task.limits.get(name).is_some_and(|limit| limit.value.is_finite()) {
            needs.push((isolator, format!("The limit of '{name}'")));
        }
    }
    if container.is_some_and(|container| container.rlimit_info.is_some()) {
        needs.push((RLIMITS, "container.rlimit_info".to_owned()));
    }
    Ok(needs)
}

/// Whether it runs in a container, whose runtime says what it may do.
fn has_runtime(container: Option<&v1::ContainerInfo>, command: Option<&v1::CommandInfo>) -> bool {
    let bare = v1::CommandInfo::default();
    let described = container.map(|one| wish(one, command.unwrap_or(&bare), None, false, true));
    matches!(described, Some(Ok(Some(_))))
}

/// How long a task may run: what its framework says, or its label.
pub(crate) fn completion_of(task: &v1::TaskInfo) -> Option<Span> {
    let named = task.max_completion_time.as_ref().map(span_of);
    named.or_else(|| Wishes::read(task.labels.as_ref()).ok()?.run_time)
}

fn live_tasks<'a>(
    framework: &'a Framework,
    executor: &'a Executor,
) -> impl Iterator<Item = &'a Task> {
    let tasks = executor.tasks.iter().filter_map(|task| framework.tasks.get(task));
    tasks.filter(|task| !task.is_terminal())
}

/// Amounts of a run: what it was given, and the limits that its tasks name. `own` is what its
/// executor has besides them.
fn amounts(
    given: &Resources,
    own: &[v1::Resource],
    tasks: &[&v1::TaskInfo],
    policy: &LimitPolicy,
) -> Limits {
    let bytes = Scalar::megabytes_as_bytes;
    let some = |amount: u64| (amount > 0).then_some(amount);
    let (cpus, mem) = (some(given.cpus().as_milli()), some(bytes(given.mem())));
    let cpu_limit = limit_of("cpus", own, tasks);
    let mem_limit = limit_of("mem", own, tasks);
    let memory_limit = match mem_limit {
        Named::Nothing => mem,
        Named::Infinite => None,
        Named::Amount(milli) => Some(bytes(Scalar::from_milli(milli))),
    };
    let percent = policy.memory_high_percent;
    Limits {
        cpu_milli: cpus,
        cpu_quota_milli: match cpu_limit {
            Named::Nothing => cpus.filter(|_| policy.cpu_is_limit),
            Named::Infinite => None,
            Named::Amount(milli) => Some(milli),
        },
        // Without a limit beyond it, what was given is the limit itself.
        memory_request: mem.filter(|_| mem_limit != Named::Nothing),
        memory_limit,
        memory_high: memory_limit
            .filter(|_| percent < 100)
            .map(|max| max.saturating_mul(percent) / 100),
        processes: policy.processes,
        disk: some(bytes(given.disk())),
        ..Limits::default()
    }
}

/// What the tasks of an executor say of a limit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Nothing,
    Infinite,
    /// In thousandths.
    Amount(u64),
}

/// Every task counts with its limit, or with what it was given where it names none; as soon as one
/// has no bound the sum has none.
fn limit_of(name: &str, own: &[v1::Resource], tasks: &[&v1::TaskInfo]) -> Named {
    if !tasks.iter().any(|task| task.limits.contains_key(name)) {
        return Named::Nothing;
    }
    let mut sum = amount_of(name, own);
    for task in tasks {
        match task.limits.get(name).map(|limit| limit.value) {
            Some(value) if value.is_infinite() => return Named::Infinite,
            Some(value) => {
                let limit = Scalar::parse(value).unwrap_or(Scalar::ZERO);
                sum = sum.saturating_add(limit.as_milli());
            }
            None => sum = sum.saturating_add(amount_of(name, &task.resources)),
        }
    }
    Named::Amount(sum)
}

fn amount_of(name: &str, resources: &[v1::Resource]) -> u64 {
    let named = resources.iter().filter(|one| one.name == name);
    let values = named.filter_map(|one| one.scalar.as_ref());
    values.filter_map(|one| Scalar::parse(one.value).ok()).map(Scalar::as_milli).sum()
}

#[cfg(test)]
mod tests;
