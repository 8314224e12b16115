//! How processes of a run ended by signals, and who ended the run by that.

use std::collections::VecDeque;
use std::time::Duration;

use tepui_accounting::{Exit, GroupId, Sender};
use tepui_types::ContainerId;

/// Ends of one run's processes that are remembered.
const MOST: usize = 16;
/// What follows the end of a run's first process so soon is tidied up after it.
const CLOSELY: Duration = Duration::from_secs(60);

/// What ends runs on the agent's behalf: its own main thread, and the shims, which outlive it.
const OWN_PROGRAMS: [&str; 2] = ["tepui-agentd", "tepui-shim"];
/// What makes containers, and ends itself as its container ended.
const RUNTIME: &str = "tepui-runtime";
const SYSTEMD: &str = "systemd";

/// A process of a run that a signal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    pid: u32,
    /// Since boot.
    at: Duration,
    signal: u32,
    /// Who sent it, where that was seen.
    sender: Option<tepui_agent::Sender>,
    /// The sender is one of those that end what a run leaves behind.
    is_tidying: bool,
    /// What is known of it, when the kernel chose it for want of memory.
    out_of_memory: Option<String>,
}

impl Death {
    /// None for a process that no signal ended, or whose end says nothing of who ended the run.
    pub(super) fn of<'a>(
        exit: &Exit,
        run: &ContainerId,
        owner: impl Fn(GroupId) -> Option<&'a ContainerId>,
    ) -> Option<Self> {
        let signal = exit.signal().filter(|_| !is_echo(exit))?;
        let sender = exit.sender.as_ref();
        Some(Self {
            pid: exit.pid,
            at: Duration::from_nanos(exit.boot_time_ns),
            signal,
            sender: sender.map(|sender| describe(sender, run, owner)),
            is_tidying: sender.is_some_and(tidies),
            out_of_memory: exit.out_of_memory.then(|| {
                let bytes = exit.peak_pages.saturating_mul(rustix::param::page_size() as u64);
                let (comm, pid, mb) = (&exit.comm, exit.pid, bytes >> 20);
                format!("the kernel chose process {pid} ({comm}), which had had {mb} MB resident")
            }),
        })
    }

    /// The oldest make room, but not for what is only tidied up.
    pub(super) fn remember(self, among: &mut VecDeque<Self>) {
        if among.len() >= MOST {
            if self.is_tidying && self.out_of_memory.is_none() {
                return;
            }
            among.pop_front();
        }
        among.push_back(self);
    }
}

/// Whether a container's runtime repeats the end of its container, by a signal to itself: who ended
/// the container is told by the end of the container's own process.
fn is_echo(exit: &Exit) -> bool {
    let by_itself =
        |sender: &Sender| matches!(sender, Sender::Process { pid, .. } if *pid == exit.pid);
    exit.comm == RUNTIME && exit.sender.as_ref().is_some_and(by_itself)
}

/// Whether the sender is one of those that end what a run leaves behind: the shim, systemd, and in a
/// container the kernel or the runtime.
fn tidies(sender: &Sender) -> bool {
    match sender {
        Sender::Kernel => true,
        Sender::Process { comm, group: None, .. } if comm == SYSTEMD => true,
        Sender::Process { comm, .. } if comm == RUNTIME => true,
        Sender::Process { pid, comm, group } => group.is_none() && is_own(*pid, comm),
    }
}

fn is_own(pid: u32, comm: &str) -> bool {
    pid == std::process::id() || OWN_PROGRAMS.contains(&comm)
}

fn describe<'a>(
    sender: &Sender,
    run: &ContainerId,
    owner: impl Fn(GroupId) -> Option<&'a ContainerId>,
) -> tepui_agent::Sender {
    let (pid, comm, group) = match sender {
        Sender::Kernel => return tepui_agent::Sender::Other("the kernel".into()),
        Sender::Process { pid, comm, group } => (*pid, comm.as_str(), group),
    };
    let whose = match group.and_then(owner) {
        Some(other) if other == run => "of the task itself".to_owned(),
        Some(other) => format!("of run {other}"),
        // A task cannot pass for these: it is in a group.
        None if is_own(pid, comm) => return tepui_agent::Sender::Agent,
        None if comm == SYSTEMD => return tepui_agent::Sender::Systemd,
        None => "of the host".to_owned(),
    };
    tepui_agent::Sender::Other(format!("process {pid} ({comm}) {whose}").into())
}

/// The ends of a run's processes by signals, as far as they are remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deaths {
    /// The first process of its command, where that is known by the number that the kernel has for it.
    pub(super) main: Option<u32>,
    /// Oldest first.
    pub(super) all: Vec<Death>,
}

impl Deaths {
    /// Who sent the signal that ended the run. What it leaves behind is ended after it, often by the
    /// same signal, which says nothing of that.
    pub fn sender(&self, signal: i32) -> Option<tepui_agent::Sender> {
        let of_it = |death: &&Death| i64::from(death.signal) == i64::from(signal);
        let mut latest_first = self.all.iter().rev().filter(of_it);
        if let Some(main) = latest_first.clone().find(|death| Some(death.pid) == self.main) {
            return main.sender.clone();
        }
        let mut told = latest_first.next()?;
        for former in latest_first {
            if !told.is_tidying || told.at.saturating_sub(former.at) > CLOSELY {
                break;
            }
            told = former;
        }
        told.sender.clone()
    }

    /// What is known of the last process that the kernel killed for want of memory.
    pub fn out_of_memory(&self) -> Option<String> {
        self.all.iter().rev().find_map(|death| death.out_of_memory.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str) -> ContainerId {
        ContainerId::parse(name).unwrap()
    }

    fn exit(pid: u32, second: u64, sender: Option<Sender>) -> Exit {
        Exit {
            group: GroupId::from_raw(1),
            boot_time_ns: second * 1_000_000_000,
            pid,
            comm: "python3".to_owned(),
            wait_status: 9,
            peak_pages: 0,
            out_of_memory: false,
            sender,
        }
    }

    fn by(pid: u32, comm: &str, group: Option<u64>) -> Option<Sender> {
        let group = group.map(GroupId::from_raw);
        Some(Sender::Process { pid, comm: comm.to_owned(), group })
    }

    fn death(exit: &Exit) -> Option<Death> {
        let (own, other) = (run("r"), run("other"));
        Death::of(exit, &own, |group| match group.raw() {
            1 => Some(&own),
            2 => Some(&other),
            _ => None,
        })
    }

    fn text(text: &str) -> Option<tepui_agent::Sender> {
        Some(tepui_agent::Sender::Other(text.into()))
    }

    #[test]
    fn the_sender_of_a_fatal_signal_is_named_with_where_it_belongs() {
        let own = std::process::id();
        for (sender, expected) in [
            (Some(Sender::Kernel), text("the kernel")),
            (by(7, "kill", None), text("process 7 (kill) of the host")),
            (by(7, "kill", Some(1)), text("process 7 (kill) of the task itself")),
            (by(7, "kill", Some(2)), text("process 7 (kill) of run other")),
            (None, None),
            (by(7, "tepui-shim", None), Some(tepui_agent::Sender::Agent)),
            (by(own, "tokio-rt-worker", None), Some(tepui_agent::Sender::Agent)),
            (by(1, "systemd", None), Some(tepui_agent::Sender::Systemd)),
            (by(8, "tepui-shim", Some(1)), text("process 8 (tepui-shim) of the task itself")),
        ] {
            assert_eq!(death(&exit(5, 0, sender)).unwrap().sender, expected);
        }
        // The runtime repeats how its container ended, which says nothing of who ended it.
        let echo = Exit { comm: RUNTIME.to_owned(), ..exit(5, 0, by(5, RUNTIME, Some(1))) };
        assert_eq!(death(&echo), None);
        assert_eq!(death(&Exit { wait_status: 256, ..exit(5, 0, None) }), None);
        let chosen = Exit { out_of_memory: true, ..exit(5, 0, Some(Sender::Kernel)) };
        let all = vec![death(&chosen).unwrap()];
        let told = Deaths { main: None, all }.out_of_memory().unwrap();
        assert!(told.contains("process 5 (python3)"), "{told}");
    }

    fn sender(main: Option<u32>, exits: &[Exit]) -> Option<tepui_agent::Sender> {
        let all = exits.iter().filter_map(death).collect();
        Deaths { main, all }.sender(9)
    }

    #[test]
    fn who_ends_what_a_run_leaves_behind_did_not_end_the_run() {
        let host = by(7, "kill", None);
        let killed = text("process 7 (kill) of the host");
        for tidying in [
            by(8, "tepui-shim", None),
            by(1, "systemd", None),
            Some(Sender::Kernel),
            by(9, RUNTIME, Some(1)),
        ] {
            let exits = [
                exit(5, 100, host.clone()),
                exit(6, 100, tidying.clone()),
                exit(7, 130, tidying.clone()),
            ];
            assert_eq!(sender(Some(5), &exits), killed);
            assert_eq!(sender(None, &exits), killed, "also where pids are others: {tidying:?}");
        }
    }

    #[test]
    fn who_ended_a_part_of_a_run_before_did_not_end_the_run() {
        let agent = by(8, "tepui-shim", None);
        let exits = [
            exit(6, 100, by(5, "python3", Some(1))),
            exit(5, 500, agent.clone()),
            exit(9, 500, agent),
        ];
        for main in [Some(5), None] {
            assert_eq!(sender(main, &exits), Some(tepui_agent::Sender::Agent));
        }
        let unseen = [exit(6, 499, by(7, "kill", None)), exit(5, 500, None)];
        assert_eq!(sender(Some(5), &unseen), None);
        assert_eq!(sender(None, &[]), None);
    }

    #[test]
    fn what_is_tidied_up_makes_nobody_forget_the_cause() {
        let mut among = VecDeque::new();
        for pid in 0..40 {
            let sender = if pid == 20 { by(7, "kill", None) } else { by(1, "systemd", None) };
            death(&exit(pid, 100, sender)).unwrap().remember(&mut among);
        }
        assert_eq!(among.len(), MOST);
        let deaths = Deaths { main: None, all: among.into() };
        assert_eq!(deaths.sender(9), text("process 7 (kill) of the host"));
    }
}
