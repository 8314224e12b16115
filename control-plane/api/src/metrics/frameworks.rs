//! The families of each framework.

use std::fmt::Write as _;

use tepui_cluster::Cluster;
use tepui_cluster::state::Framework;
use tepui_types::TaskState;
use tepui_wire::v1::{offer::operation, scheduler};

use super::{Metrics, length, number};

/// Counts of all frameworks, and each framework's own.
pub(super) fn frameworks(all: &mut Metrics, cluster: &Cluster) {
    let connected = length(cluster.frameworks().filter(|f| f.is_connected()).count());
    let known = length(cluster.frameworks().len());
    for (name, value) in [
        ("connected", connected),
        ("disconnected", known - connected),
        ("active", connected),
        ("inactive", known - connected),
    ] {
        all.insert(format!("master/frameworks_{name}"), value);
    }
    for framework in cluster.frameworks().chain(cluster.completed_frameworks()) {
        one(all, framework);
    }
}

const ACTIVE: [TaskState; 4] =
    [TaskState::Staging, TaskState::Starting, TaskState::Running, TaskState::Killing];

fn one(all: &mut Metrics, framework: &Framework) {
    let name = percent_encoded(&framework.info.name);
    let prefix = format!("master/frameworks/{name}/{}/", framework.id);
    let mut put = |name: String, value: f64| {
        all.insert(format!("{prefix}{name}"), value);
    };
    let counters = &framework.counters;
    put("subscribed".into(), f64::from(u8::from(framework.is_connected())));
    put("calls".into(), number(counters.all_calls()));
    for (kind, count) in &counters.calls {
        if let Ok(kind) = scheduler::call::Type::try_from(*kind) {
            put(format!("calls/{}", kind.as_str_name().to_lowercase()), number(*count));
        }
    }
    put("events".into(), number(counters.all_events()));
    for (kind, count) in &counters.events {
        if let Ok(kind) = scheduler::event::Type::try_from(*kind) {
            put(format!("events/{}", kind.as_str_name().to_lowercase()), number(*count));
        }
    }
    put("operations".into(), number(counters.operations.values().sum()));
    for (kind, count) in &counters.operations {
        if let Ok(kind) = operation::Type::try_from(*kind) {
            put(format!("operations/{}", kind.as_str_name().to_lowercase()), number(*count));
        }
    }
    for (name, count) in [
        ("sent", counters.offers_sent),
        ("accepted", counters.offers_accepted),
        ("declined", counters.offers_declined),
        ("rescinded", counters.offers_rescinded),
    ] {
        put(format!("offers/{name}"), number(count));
    }
    for role in &framework.roles {
        let suppressed = framework.suppressed.contains(role);
        put(format!("roles/{role}/suppressed"), f64::from(u8::from(suppressed)));
    }
    let mut active = ACTIVE.map(|state| (state, 0));
    for task in framework.tasks.values() {
        if let Some((_, count)) = active.iter_mut().find(|(state, _)| *state == task.state) {
            *count += 1;
        }
    }
    for (state, count) in active {
        put(format!("tasks/active/{}", state.wire_name().to_lowercase()), length(count));
    }
    let unreachable = length(framework.unreachable.len());
    put("tasks/active/task_unreachable".into(), unreachable);
    for (state, count) in &counters.ended_tasks {
        put(format!("tasks/terminal/{}", state.wire_name().to_lowercase()), number(*count));
    }
}

/// Everything but letters, digits, `-`, `_`, `.`, `~` as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
