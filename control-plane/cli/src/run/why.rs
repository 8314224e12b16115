//! What the control plane says about a framework that is offered nothing more
//! (`GET /tepui/v1/explain/frameworks/{id}`), as lines for people.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::output::number;

/// What the framework itself declined; it knows better what was missing.
const DECLINED: &str = "FILTERED";

/// The answer of the control plane.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Reasons {
    reasons: Vec<Reason>,
}

/// One reason, for one agent or for all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Reason {
    agent_id: Option<String>,
    reason: String,
    text: String,
    free_cpus: Option<f64>,
    free_mem_mb: Option<f64>,
}

/// One line per kind of reason with the number of agents it holds for.
pub(crate) fn lines(reasons: &Reasons) -> Vec<String> {
    let mut kinds: BTreeMap<&str, Vec<&Reason>> = BTreeMap::new();
    for reason in reasons.reasons.iter().filter(|reason| reason.reason != DECLINED) {
        kinds.entry(&reason.reason).or_default().push(reason);
    }
    kinds.into_values().filter_map(|of_kind| line(&of_kind)).collect()
}

fn line(of_kind: &[&Reason]) -> Option<String> {
    let text = &of_kind.first()?.text;
    let agents = of_kind.iter().filter(|reason| reason.agent_id.is_some()).count();
    let agents = match agents {
        0 => String::new(),
        1 => "1 agent: ".to_owned(),
        many => format!("{many} agents: "),
    };
    let most = |amount: fn(&Reason) -> Option<f64>| {
        of_kind.iter().filter_map(|reason| amount(reason)).max_by(f64::total_cmp)
    };
    let free = match (most(|reason| reason.free_cpus), most(|reason| reason.free_mem_mb)) {
        (Some(cpus), Some(mem)) => {
            format!(" (at most {} cpus and {} MiB of memory)", number(cpus), number(mem))
        }
        _ => String::new(),
    };
    Some(format!("{agents}{text}{free}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: serde_json::Value) -> Vec<String> {
        lines(&serde_json::from_value(json).unwrap())
    }

    #[test]
    fn reasons_are_counted_by_kind_and_what_was_declined_is_left_out() {
        let told = read(serde_json::json!({"reasons": [
            {"agent_id": "a", "role": "*", "reason": "NOTHING_FREE", "text": "all in use"},
            {"agent_id": "b", "role": "*", "reason": "NOTHING_FREE", "text": "all in use"},
            {"agent_id": "c", "role": "*", "reason": "FILTERED", "text": "declined",
                "remaining_seconds": 3.0},
            {"agent_id": "d", "role": "*", "reason": "BELOW_MINIMUM", "text": "too little is free",
                "free_cpus": 0.005, "free_mem_mb": 20.0},
            {"role": "*", "reason": "SUPPRESSED", "text": "framework suppressed the role"},
        ]}));
        assert_eq!(
            told,
            [
                "1 agent: too little is free (at most 0.005 cpus and 20 MiB of memory)",
                "2 agents: all in use",
                "framework suppressed the role",
            ]
        );
    }

    #[test]
    fn an_answer_of_another_release_says_nothing() {
        assert!(read(serde_json::json!({})).is_empty());
    }
}
