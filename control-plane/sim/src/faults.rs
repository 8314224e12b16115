//! The faults that a run may inject, and how often each happened.

use std::collections::BTreeMap;
use std::fmt;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The control plane died before a batch of effects was durable.
    ControlDiedUnsaved,
    /// The control plane died after a batch was durable, before or between its other effects.
    ControlDiedSaved,
    /// An agent died with part of a batch in its journal.
    AgentDiedUnsaved,
    /// An agent died after a batch was in its journal, before or between its other effects.
    AgentDiedSaved,
    /// An agent's journal was replaced by its snapshot.
    JournalCompacted,
    /// A host was reset: its processes are gone and its boot id is new.
    HostReset,
    /// The link between an agent and the control plane broke.
    LinkBroke,
    /// Neither an agent nor the control plane heard the other for a while.
    Partition,
    /// The control plane did not hear an agent for a while.
    DeafControl,
    /// An agent did not hear the control plane for a while.
    DeafAgent,
    /// A message took long.
    Delay,
    /// A directive was lost on a link that stayed up.
    DirectiveLost,
    /// A directive came twice.
    DirectiveTwice,
    /// A report was lost on a link that stayed up.
    ReportLost,
    /// A report came twice.
    ReportTwice,
    /// A framework's call was lost.
    CallLost,
    /// A framework's call came twice.
    CallTwice,
    /// A framework's call overtook an earlier one.
    CallOvertook,
    /// A framework's stream broke.
    StreamBroke,
    /// A framework's process died and another one took over.
    FrameworkFailover,
    /// A framework ended itself with all its tasks.
    Teardown,
    /// A framework sent ACCEPT twice for one offer.
    AcceptTwice,
    /// A run's artifacts could not be fetched.
    FetchFailed,
    /// A run's process could not be started.
    StartFailed,
    /// A run's process died by a signal.
    ProcessDied,
    /// How a process ended is not known.
    ExitUnknown,
    /// The connection between an executor and its agent broke.
    ExecutorStreamBroke,
    /// The wall clock jumped.
    WallClockJumped,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 28] = [
        Self::ControlDiedUnsaved,
        Self::ControlDiedSaved,
        Self::AgentDiedUnsaved,
        Self::AgentDiedSaved,
        Self::JournalCompacted,
        Self::HostReset,
        Self::LinkBroke,
        Self::Partition,
        Self::DeafControl,
        Self::DeafAgent,
        Self::Delay,
        Self::DirectiveLost,
        Self::DirectiveTwice,
        Self::ReportLost,
        Self::ReportTwice,
        Self::CallLost,
        Self::CallTwice,
        Self::CallOvertook,
        Self::StreamBroke,
        Self::FrameworkFailover,
        Self::Teardown,
        Self::AcceptTwice,
        Self::FetchFailed,
        Self::StartFailed,
        Self::ProcessDied,
        Self::ExitUnknown,
        Self::ExecutorStreamBroke,
        Self::WallClockJumped,
    ];
}

/// How often each kind of fault happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts(BTreeMap<Fault, u64>);

impl FaultCounts {
    pub(crate) fn count(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        for (fault, count) in &other.0 {
            *self.0.entry(*fault).or_default() += count;
        }
    }

    /// How often a kind happened.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or(0)
    }

    /// The kinds that never happened.
    pub fn missing(&self) -> Vec<Fault> {
        Fault::ALL.into_iter().filter(|fault| self.of(*fault) == 0).collect()
    }
}

impl fmt::Display for FaultCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in Fault::ALL {
            writeln!(f, "  {:<20} {}", format!("{fault:?}"), self.of(fault))?;
        }
        Ok(())
    }
}
