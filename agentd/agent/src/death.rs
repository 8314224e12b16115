//! Why a run ended badly: what was found out about its end, and how its task's status says so.
//!
//! The first sentence is Mesos's own, clients look at it; what Mesos does not know comes after it.

use std::fmt::Write;
use std::sync::Arc;

use tepui_types::TaskState;
use tepui_wire::v1::{self, task_status::Reason};

use crate::Exit;
use crate::state::Fate;
use crate::status::{Saying, exit_message};

/// Longest message of a status, in bytes.
const MAX_MESSAGE: usize = 2048;
/// Most lines of error output in it.
const MAX_LINES: usize = 10;
/// Longest of these lines, in bytes.
const MAX_LINE: usize = 200;

/// What a task is told that was ended for a port.
const FOREIGN_PORT: &str = "The task was ended because it asked for a port that it was not given";

/// What was found out about the end of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// What ended it.
    pub cause: Cause,
    /// Bytes of memory that it could have, where that was limited.
    pub memory_limit: Option<u64>,
    /// Most bytes of memory that it had at a time, where that is counted.
    pub memory_peak: Option<u64>,
    /// Most bytes of memory that one of its processes had resident, where that is counted.
    pub largest_process: Option<u64>,
    /// Processes that the kernel killed for want of memory.
    pub oom_kills: u64,
    /// What the kernel knows of those kills, where somebody listened.
    pub oom_context: Option<Arc<str>>,
    /// Share of its periods in which it had used up its processor time, in thousandths.
    pub throttled_thousandths: Option<u16>,
    /// Processes that it could not start because it had as many as it may.
    pub forks_refused: u64,
    /// Whether a core file was written.
    pub core_dumped: bool,
    /// Who sent the signal that ended it, where somebody listened.
    pub sender: Option<Sender>,
    /// The end of its error output.
    pub last_output: Arc<str>,
}

/// Who sent the signal that ended a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The agent, or a process of its own: it had its reasons, which are told instead.
    Agent,
    /// systemd: because the agent asked it to, or somebody else did.
    Systemd,
    /// Anybody else, in words.
    Other(Arc<str>),
}

/// What ended a run, besides its own exit and signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// Its own exit, or a signal.
    #[default]
    Itself,
    /// It needed more memory than it may have.
    OutOfMemory,
    /// It took longer than it may.
    RunTime,
    /// It did not say in time that it is well.
    Watchdog,
    /// It did not say in time that it is ready, or ended without having said so.
    NotReady,
}

/// The terminal status of a command task, as Mesos's command executor writes it, or its agent where
/// the run was ended for what it used.
pub(crate) fn last_words(
    exit: &Exit,
    fate: Option<&Fate>,
    certificate: Option<&Certificate>,
) -> Saying {
    if fate == Some(&Fate::ForeignPort) {
        return Saying::agent(TaskState::Failed, Reason::ContainerLimitation, FOREIGN_PORT);
    }
    let cause = certificate.map(|one| one.cause).unwrap_or_default();
    let saying = match (fate, exit, cause) {
        (Some(Fate::CompletionTime), ..) | (None, _, Cause::RunTime) => {
            Saying::executor(TaskState::Failed).because(Reason::MaxCompletionTimeReached)
        }
        (Some(Fate::DiskExceeded { used, limit }), ..) => return over_disk(*used, *limit),
        (Some(_), ..) => Saying::executor(TaskState::Killed),
        (None, _, Cause::OutOfMemory) => return out_of_memory(exit, certificate),
        (None, Exit::Code(0), _) => Saying::executor(TaskState::Finished),
        (None, ..) => Saying::executor(TaskState::Failed),
    };
    let ended_ill = fate == Some(&Fate::Unhealthy) || (fate.is_none() && cause == Cause::Watchdog);
    let message = exit_message(exit);
    let message = match (saying.state, certificate) {
        (TaskState::Failed, Some(certificate)) => with_details(message, fate, certificate),
        _ => message,
    };
    Saying { healthy: ended_ill.then_some(false), ..saying.saying(message) }
}

/// In the shape of Mesos's memory isolator.
fn out_of_memory(exit: &Exit, certificate: Option<&Certificate>) -> Saying {
    let known = certificate.cloned().unwrap_or_default();
    let limit = known.memory_limit.unwrap_or_default();
    let used = known.memory_peak.unwrap_or(limit);
    let message = format!(
        "Memory limit exceeded: Requested: {} Maximum Used: {}\n{}",
        bytes(limit),
        bytes(used),
        exit_message(exit),
    );
    let message = with_details(message, None, &known);
    let saying = Saying::agent(TaskState::Failed, Reason::ContainerLimitationMemory, message);
    Saying { limitation: Some(limitation("mem", limit)), ..saying }
}

/// In the words of Mesos's disk isolators.
fn over_disk(used: u64, limit: u64) -> Saying {
    let message = format!("Disk usage ({}) exceeds quota ({})", bytes(used), bytes(limit));
    let saying = Saying::agent(TaskState::Failed, Reason::ContainerLimitationDisk, message);
    Saying { limitation: Some(limitation("disk", limit)), ..saying }
}

fn limitation(name: &str, limit: u64) -> v1::TaskResourceLimitation {
    const MB: f64 = 1_048_576.0;
    // Far below what a double cannot tell apart any more.
    #[expect(clippy::cast_precision_loss, reason = "the wire's unit is a double of megabytes")]
    let value = limit as f64 / MB;
    let resource = v1::Resource {
        name: name.to_owned(),
        r#type: v1::value::Type::Scalar.into(),
        scalar: Some(v1::value::Scalar { value }),
        ..v1::Resource::default()
    };
    v1::TaskResourceLimitation { resources: vec![resource] }
}

/// What is to be said of a command that ended before it had begun its work.
#[must_use]
pub fn describe_end(exit: &Exit, certificate: &Certificate) -> String {
    with_details(exit_message(exit), None, certificate)
}

/// Adds what is known to a first sentence.
pub(crate) fn with_details(
    first: String,
    fate: Option<&Fate>,
    certificate: &Certificate,
) -> String {
    let mut text = first;
    for line in details(fate, certificate) {
        text.push('\n');
        text.push_str(&line);
    }
    let room = MAX_MESSAGE.saturating_sub(text.len());
    let lines: Vec<String> = last_lines(&certificate.last_output, room);
    if !lines.is_empty() {
        text.push_str("\nlast error output:");
        for line in lines {
            text.push_str("\n  ");
            text.push_str(&line);
        }
    }
    truncate(&mut text, MAX_MESSAGE);
    text
}

fn details(fate: Option<&Fate>, certificate: &Certificate) -> Vec<String> {
    let mut lines = Vec::new();
    match certificate.cause {
        Cause::Watchdog => lines.push("it did not say in time that it is well (watchdog)".into()),
        Cause::NotReady => lines.push("it did not say in time that it is ready".into()),
        Cause::Itself | Cause::OutOfMemory | Cause::RunTime => {}
    }
    lines.extend(certificate.sender.as_ref().map(|sender| sender_line(sender, fate, certificate)));
    if certificate.core_dumped {
        lines.push("a core file was written".into());
    }
    lines.extend(memory_line(certificate));
    lines.extend(certificate.oom_context.as_ref().map(|context| format!("memory: {context}")));
    if let Some(share) = certificate.throttled_thousandths.filter(|share| *share > 0) {
        let (whole, part) = (share / 10, share % 10);
        lines.push(format!("throttled in {whole}.{part} % of its processor periods"));
    }
    if certificate.forks_refused > 0 {
        let count = certificate.forks_refused;
        lines.push(format!("could not start {count} processes: it had as many as it may"));
    }
    for line in &mut lines {
        truncate(line, MAX_LINE);
    }
    lines
}

/// Who sent the signal, and on whose behalf: that a process of the agent did says nothing.
fn sender_line(sender: &Sender, fate: Option<&Fate>, certificate: &Certificate) -> String {
    let reason = match (fate, certificate.cause) {
        (Some(Fate::Killed), _) => Some("it was asked to end the task"),
        (Some(Fate::Shutdown), _) => Some("it was asked to end the executor"),
        (Some(Fate::Unhealthy), _) => Some("the task's health checks failed"),
        (Some(Fate::CompletionTime), _) | (None, Cause::RunTime) => Some("its time was over"),
        (Some(Fate::ForeignPort), _) => Some("it asked for a port that it was not given"),
        (Some(Fate::DiskExceeded { .. }), _) => Some("its sandbox held too much"),
        (Some(Fate::NeverRegistered | Fate::NeverReregistered), _) => {
            Some("the executor did not register in time")
        }
        (None, Cause::Watchdog) => Some("it did not say in time that it is well"),
        (None, Cause::NotReady) => Some("it did not say in time that it is ready"),
        (None, Cause::Itself | Cause::OutOfMemory) => None,
    };
    match (sender, reason) {
        (Sender::Agent | Sender::Systemd, Some(reason)) => {
            format!("the signal came from the agent: {reason}")
        }
        (Sender::Agent, None) => "the signal came from the agent".to_owned(),
        (Sender::Systemd, None) => {
            "the signal came from systemd, and not on behalf of the agent".to_owned()
        }
        (Sender::Other(who), _) => format!("the signal came from {who}"),
    }
}

fn memory_line(certificate: &Certificate) -> Option<String> {
    let Some(peak) = certificate.memory_peak else {
        // Where nobody counts all of its memory together.
        let largest = certificate.largest_process?;
        return Some(format!("its largest process had {} of memory", rounded(largest)));
    };
    let mut line = format!("peak memory {}", rounded(peak));
    if let Some(limit) = certificate.memory_limit {
        // Writing to a string cannot fail.
        let _ = write!(line, " of {}", rounded(limit));
    }
    if certificate.oom_kills > 0 {
        let _ = write!(line, ", processes killed for want of memory: {}", certificate.oom_kills);
    }
    Some(line)
}

/// The last lines of a text that have room, without control characters.
fn last_lines(text: &str, room: usize) -> Vec<String> {
    let mut left = room.saturating_sub("\nlast error output:".len());
    let mut lines = Vec::new();
    for line in text.lines().rev().filter(|line| !line.trim().is_empty()).take(MAX_LINES) {
        let mut line: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
        truncate(&mut line, MAX_LINE);
        let length = line.len() + "\n  ".len();
        if length > left {
            break;
        }
        left -= length;
        lines.push(line);
    }
    lines.reverse();
    lines
}

fn truncate(text: &mut String, most: usize) {
    if text.len() > most {
        let dots = "…";
        text.truncate(text.floor_char_boundary(most - dots.len()));
        text.push_str(dots);
    }
}

/// A number of bytes as Mesos writes it: in the largest unit that it is a whole number of.
fn bytes(number: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
    let whole = UNITS.iter().find(|(unit, _)| number >= *unit && number.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{number}B"), |(unit, name)| format!("{}{name}", number / unit))
}

/// The same for people: with one decimal.
fn rounded(number: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
    let Some((unit, name)) = UNITS.iter().find(|(unit, _)| number >= *unit) else {
        return format!("{number} B");
    };
    let tenths = (u128::from(number) * 10 + u128::from(*unit) / 2) / u128::from(*unit);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> Certificate {
        Certificate {
            memory_limit: Some(40 << 20),
            memory_peak: Some(41_000_000),
            last_output: "one\n\ntwo\u{7}\n".into(),
            ..Certificate::default()
        }
    }

    #[test]
    fn a_failure_begins_as_in_mesos_and_goes_on_with_what_is_known() {
        let known = Certificate {
            throttled_thousandths: Some(356),
            sender: Some(Sender::Other("process 7 (killer)".into())),
            ..certificate()
        };
        let saying = last_words(&Exit::Code(1), None, Some(&known));
        let expected = "Command exited with status 1\n\
            the signal came from process 7 (killer)\n\
            peak memory 39.1 MB of 40.0 MB\n\
            throttled in 35.6 % of its processor periods\n\
            last error output:\n  one\n  two";
        assert_eq!(saying.message.as_deref(), Some(expected));
        assert_eq!((saying.state, saying.reason), (TaskState::Failed, None));
    }

    #[test]
    fn success_and_a_kill_that_was_asked_for_say_no_more_than_mesos() {
        let finished = last_words(&Exit::Code(0), None, Some(&certificate()));
        assert_eq!(finished.message.as_deref(), Some("Command exited with status 0"));
        let killed = last_words(&Exit::Signal(15), Some(&Fate::Killed), Some(&certificate()));
        assert_eq!(killed.message.as_deref(), Some("Command terminated with signal Terminated"));
    }

    #[test]
    fn who_exceeds_its_memory_is_told_so_as_in_mesos() {
        let known = Certificate {
            cause: Cause::OutOfMemory,
            memory_peak: Some(40 << 20),
            oom_kills: 1,
            ..certificate()
        };
        let saying = last_words(&Exit::Signal(9), None, Some(&known));
        let message = saying.message.unwrap();
        let first = "Memory limit exceeded: Requested: 40MB Maximum Used: 40MB\n\
            Command terminated with signal Killed\n\
            peak memory 40.0 MB of 40.0 MB, processes killed for want of memory: 1\n";
        assert!(message.starts_with(first), "{message}");
        assert_eq!(saying.reason, Some(Reason::ContainerLimitationMemory));
        let limitation = saying.limitation.unwrap();
        assert_eq!(limitation.resources[0].scalar.unwrap().value, 40.0);
        let asked = last_words(&Exit::Signal(9), Some(&Fate::Killed), Some(&known));
        assert_eq!(asked.state, TaskState::Killed, "the end was asked for before");
    }

    #[test]
    fn a_signal_of_the_agent_is_told_with_its_reason_and_not_with_its_process() {
        let says = |sender: Sender, fate: Option<Fate>, cause| {
            let known = Certificate { sender: Some(sender), cause, ..Certificate::default() };
            let message = last_words(&Exit::Signal(15), fate.as_ref(), Some(&known)).message;
            message.unwrap().lines().nth(1).unwrap_or_default().to_owned()
        };
        let by_agent = |text: &str| format!("the signal came from the agent: {text}");
        let unhealthy = || Some(Fate::Unhealthy);
        assert_eq!(says(Sender::Agent, None, Cause::RunTime), by_agent("its time was over"));
        for sender in [Sender::Agent, Sender::Systemd] {
            let late = says(sender.clone(), Some(Fate::CompletionTime), Cause::Itself);
            assert_eq!(late, by_agent("its time was over"));
            assert_eq!(says(sender, unhealthy(), Cause::Itself), "", "a kill needs no more");
        }
        let stranger = Sender::Other("process 7 (kill) of the host".into());
        let alone = says(stranger.clone(), None, Cause::Itself);
        assert_eq!(alone, "the signal came from process 7 (kill) of the host");
        let stopped = says(Sender::Systemd, None, Cause::Itself);
        assert_eq!(stopped, "the signal came from systemd, and not on behalf of the agent");
        let raced = says(stranger, Some(Fate::CompletionTime), Cause::Itself);
        assert_eq!(raced, alone, "somebody outside was faster");
        let known = Certificate { sender: Some(Sender::Agent), ..Certificate::default() };
        let told = with_details("gone".to_owned(), Some(&Fate::Shutdown), &known);
        assert_eq!(told, "gone\n".to_owned() + &by_agent("it was asked to end the executor"));
    }

    #[test]
    fn where_nobody_counts_memory_together_that_of_its_largest_process_is_told() {
        let says = |known: Certificate| with_details("gone".to_owned(), None, &known);
        let alone = Certificate { largest_process: Some(3 << 20), ..Certificate::default() };
        assert_eq!(says(alone.clone()), "gone\nits largest process had 3.0 MB of memory");
        let counted = Certificate { memory_peak: Some(5 << 20), ..alone };
        assert_eq!(says(counted), "gone\npeak memory 5.0 MB");
    }

    #[test]
    fn a_watchdog_that_bites_is_a_failed_health_check() {
        let known = Certificate { cause: Cause::Watchdog, ..Certificate::default() };
        let saying = last_words(&Exit::Signal(6), None, Some(&known));
        assert_eq!((saying.state, saying.healthy), (TaskState::Failed, Some(false)));
        assert!(
            saying.message.unwrap().starts_with("Command terminated with signal Aborted\nit did")
        );
    }

    #[test]
    fn a_message_is_never_longer_than_it_may_be() {
        let long = "ä".repeat(5000);
        let known = Certificate {
            last_output: format!("{long}\n").repeat(50).into(),
            oom_context: Some(long.as_str().into()),
            sender: Some(Sender::Other(long.as_str().into())),
            ..certificate()
        };
        let message = with_details("Command exited with status 1".to_owned(), None, &known);
        assert!(message.len() <= MAX_MESSAGE, "{} bytes", message.len());
        assert!(message.contains("last error output:"));
    }

    #[test]
    fn bytes_are_written_as_in_mesos() {
        for (number, text) in [(40 << 20, "40MB"), (1 << 30, "1GB"), (1025, "1025B"), (0, "0B")] {
            assert_eq!(bytes(number), text);
        }
    }
}
