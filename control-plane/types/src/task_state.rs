use std::fmt;

/// The state of a task as frameworks see it (`spec/mesos-http.md` 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TaskState {
    /// Accepted by the control plane, not yet started.
    Staging,
    /// Its executor prepares it.
    Starting,
    /// It runs.
    Running,
    /// It was told to end and still runs.
    Killing,
    /// It ended with status 0.
    Finished,
    /// It ended badly, or could not run.
    Failed,
    /// It ended because it was told to.
    Killed,
    /// Its description is invalid or not allowed.
    Error,
    /// Gone, for frameworks that are not partition aware; may come back to life.
    Lost,
    /// It never started; retrying is sane.
    Dropped,
    /// Its agent does not answer.
    Unreachable,
    /// Its agent says that it is no longer there.
    Gone,
    /// An operator says that its agent is gone for good.
    GoneByOperator,
    /// The control plane does not know it.
    Unknown,
}

/// A step that no task may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a task cannot go from {from} to {to}")]
pub struct IllegalTransition {
    /// Where the task was.
    pub from: TaskState,
    /// Where it was said to go.
    pub to: TaskState,
}

impl TaskState {
    /// Every state, in the order of the table.
    pub const ALL: [Self; 14] = [
        Self::Staging,
        Self::Starting,
        Self::Running,
        Self::Killing,
        Self::Finished,
        Self::Failed,
        Self::Killed,
        Self::Error,
        Self::Lost,
        Self::Dropped,
        Self::Unreachable,
        Self::Gone,
        Self::GoneByOperator,
        Self::Unknown,
    ];

    /// True when the task holds no resources any more and never will under this id.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Finished
                | Self::Failed
                | Self::Killed
                | Self::Error
                | Self::Lost
                | Self::Dropped
                | Self::Gone
                | Self::GoneByOperator
        )
    }

    /// The state after a step to `to`, when that step is legal: forward through staging,
    /// starting, running, killing; from any live state to any terminal one or to unreachable;
    /// from unreachable or lost back to what the agent reports. States may be skipped, and a
    /// live state may repeat (health changes).
    ///
    /// # Errors
    /// When the task is already terminal, or would go backwards.
    pub fn advance(self, to: Self) -> Result<Self, IllegalTransition> {
        let legal = match (self, to) {
            (Self::Unreachable | Self::Lost, _) => true,
            (from, _) if from.is_terminal() => false,
            (_, Self::Unknown) => false,
            (_, Self::Unreachable) => true,
            (_, to) if to.is_terminal() => true,
            (from, to) => from.rank() <= to.rank(),
        };
        if legal { Ok(to) } else { Err(IllegalTransition { from: self, to }) }
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Staging => 0,
            Self::Starting => 1,
            Self::Running => 2,
            Self::Killing => 3,
            _ => 4,
        }
    }

    /// The name on the wire: `TASK_RUNNING`.
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::Staging => "TASK_STAGING",
            Self::Starting => "TASK_STARTING",
            Self::Running => "TASK_RUNNING",
            Self::Killing => "TASK_KILLING",
            Self::Finished => "TASK_FINISHED",
            Self::Failed => "TASK_FAILED",
            Self::Killed => "TASK_KILLED",
            Self::Error => "TASK_ERROR",
            Self::Lost => "TASK_LOST",
            Self::Dropped => "TASK_DROPPED",
            Self::Unreachable => "TASK_UNREACHABLE",
            Self::Gone => "TASK_GONE",
            Self::GoneByOperator => "TASK_GONE_BY_OPERATOR",
            Self::Unknown => "TASK_UNKNOWN",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wire_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_task_stays_what_it_is() {
        for from in TaskState::ALL.into_iter().filter(|s| s.is_terminal()) {
            let moves = TaskState::ALL.into_iter().any(|to| from.advance(to).is_ok());
            assert_eq!(moves, from == TaskState::Lost, "{from}");
        }
    }

    #[test]
    fn a_running_task_cannot_go_back_to_staging() {
        assert!(TaskState::Running.advance(TaskState::Staging).is_err());
        assert!(TaskState::Running.advance(TaskState::Running).is_ok());
        assert!(TaskState::Staging.advance(TaskState::Running).is_ok());
    }
}
