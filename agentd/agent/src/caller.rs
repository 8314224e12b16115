//! Who calls the agent's API, and what only an operator may: whoever launches containers here chooses
//! their user, so to call is as good as being root.

use std::fmt;
use std::sync::Arc;

use tepui_types::ContainerId;
use tepui_wire::v1::agent::call::Type;

/// Whoever is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody who is no task of this host.
    Operator,
    /// A process of a task, of an executor, or of a container below one. Which, where that is known.
    Task(Option<ContainerId>),
    /// Somebody on this host of whom nobody can tell; the text says why.
    Unclear(Arc<str>),
}

impl Caller {
    /// Why this caller is refused what only operators may do; `deed` completes "may not".
    #[must_use]
    pub fn objection(&self, deed: impl fmt::Display) -> Option<String> {
        let who = match self {
            Self::Operator => return None,
            Self::Task(Some(run)) => format!("container {run} of this host"),
            Self::Task(None) => "a task of this host".to_owned(),
            Self::Unclear(reason) => format!(
                "a caller on this host that could be a task ({reason}; a call from another host, or \
                 another connection, may help)"
            ),
        };
        Some(format!(
            "{who} may not {deed}: only operators may, unless calls_of_tasks = \"all\" in the agent's \
             configuration lets tasks do it"
        ))
    }
}

/// Whether a call hands out what the API shows to everybody, and changes nothing.
#[must_use]
#[expect(deprecated, reason = "clients that exist use the old names of the calls")]
pub fn is_open_to_all(call: Type) -> bool {
    matches!(
        call,
        Type::Unknown
            | Type::GetHealth
            | Type::GetFlags
            | Type::GetVersion
            | Type::GetMetrics
            | Type::GetLoggingLevel
            | Type::GetState
            | Type::GetContainers
            | Type::GetFrameworks
            | Type::GetExecutors
            | Type::GetOperations
            | Type::GetTasks
            | Type::GetAgent
            | Type::GetResourceProviders
            | Type::WaitContainer
            | Type::WaitNestedContainer
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_may_everything_and_nobody_else_what_is_not_open_to_all() {
        assert_eq!(Caller::Operator.objection("LAUNCH_CONTAINER"), None);
        let run = ContainerId::parse("r1").ok();
        let text = Caller::Task(run).objection("LAUNCH_CONTAINER").unwrap_or_default();
        assert!(text.contains("container r1") && text.contains("LAUNCH_CONTAINER"), "{text}");
        assert!(text.contains("calls_of_tasks"), "{text}");
        let unclear = Caller::Unclear("its socket is closed already".into());
        assert!(unclear.objection("x").is_some_and(|text| text.contains("closed already")));
        assert!(Caller::Task(None).objection("x").is_some());
    }

    #[test]
    fn what_changes_something_or_hands_out_files_is_for_operators() {
        let all = (0..100).filter_map(|number| Type::try_from(number).ok());
        let kept: Vec<_> = all.filter(|call| !is_open_to_all(*call)).collect();
        let names: Vec<_> = kept.iter().map(Type::as_str_name).collect();
        for name in [
            "SET_LOGGING_LEVEL",
            "LIST_FILES",
            "READ_FILE",
            "LAUNCH_NESTED_CONTAINER",
            "LAUNCH_CONTAINER",
            "LAUNCH_NESTED_CONTAINER_SESSION",
            "KILL_NESTED_CONTAINER",
            "KILL_CONTAINER",
            "REMOVE_NESTED_CONTAINER",
            "REMOVE_CONTAINER",
            "ATTACH_CONTAINER_INPUT",
            "ATTACH_CONTAINER_OUTPUT",
            "PRUNE_IMAGES",
        ] {
            assert!(names.contains(&name), "{name} is not among {names:?}");
        }
        assert!(names.iter().all(|name| !name.starts_with("GET_")), "{names:?}");
    }
}
