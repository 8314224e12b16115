//! A usual task, written field by field: an answer holds hundreds of thousands, and nearly all of
//! them have only the fields that every task has. The test holds it against
//! [`TaskView`](super::task::TaskView), which writes all others.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};

use tepui_cluster::state::Task;
use tepui_cluster::told::{ContainerTold, Told};

use super::amounts::resources;
use super::task::state_of;
use crate::draft::write_json;

/// Appends a task if it is a usual one; else `false`, and nothing is appended.
pub(super) fn write(text: &mut Vec<u8>, task: &Task) -> bool {
    if task.details.is_some() || !task.statuses.iter().all(is_usual) {
        return false;
    }
    raw(text, r#"{"id":"#);
    string(text, task.id.as_str());
    raw(text, r#","name":"#);
    string(text, &task.name);
    raw(text, r#","framework_id":"#);
    string(text, task.framework.as_str());
    raw(text, r#","executor_id":"#);
    string(text, task.executor.as_ref().map_or("", |id| id.as_str()));
    raw(text, r#","slave_id":"#);
    string(text, task.agent.as_str());
    raw(text, r#","state":""#);
    raw(text, task.state.wire_name());
    raw(text, r#"","resources":"#);
    write_json(text, &resources(&task.resources));
    raw(text, r#","role":"#);
    string(text, task.role.as_str());
    raw(text, r#","statuses":["#);
    for (position, told) in task.statuses.iter().enumerate() {
        if position > 0 {
            text.push(b',');
        }
        status(text, told);
    }
    raw(text, "]}");
    true
}

fn is_usual(told: &Told) -> bool {
    told.labels().is_none() && !matches!(told.container(), Some(ContainerTold::Whole(_)))
}

fn status(text: &mut Vec<u8>, told: &Told) {
    raw(text, r#"{"state":""#);
    raw(text, state_of(told));
    raw(text, r#"","timestamp":"#);
    write_json(text, &told.timestamp().unwrap_or_default());
    if let Some(ContainerTold::Usual { id, address }) = told.container() {
        raw(text, r#","container_status":{"container_id":{"value":"#);
        string(text, id);
        raw(text, r#"},"network_infos":[{"ip_addresses":[{"protocol":""#);
        match address {
            IpAddr::V4(four) => {
                raw(text, r#"IPv4","ip_address":""#);
                octets(text, four);
            }
            IpAddr::V6(six) => {
                raw(text, r#"IPv6","ip_address":""#);
                // Writing to memory does not fail.
                let _ = write!(text, "{six}");
            }
        }
        raw(text, r#""}]}]}"#);
    }
    if let Some(healthy) = told.healthy() {
        raw(text, if healthy { r#","healthy":true"# } else { r#","healthy":false"# });
    }
    text.push(b'}');
}

fn raw(text: &mut Vec<u8>, piece: &str) {
    text.extend_from_slice(piece.as_bytes());
}

/// Appends an address.
fn octets(text: &mut Vec<u8>, address: Ipv4Addr) {
    for (position, octet) in address.octets().into_iter().enumerate() {
        if position > 0 {
            text.push(b'.');
        }
        if octet >= 100 {
            text.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            text.push(b'0' + octet / 10 % 10);
        }
        text.push(b'0' + octet % 10);
    }
}

/// Appends a string; one look at all bytes tells that nothing in it has to be escaped.
fn string(text: &mut Vec<u8>, value: &str) {
    // Without a branch in it: then several bytes are looked at together.
    let escapes = value.bytes().fold(0, |any, byte| {
        any | u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\')
    });
    if escapes != 0 {
        return write_json(text, &value);
    }
    text.push(b'"');
    raw(text, value);
    text.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tepui_cluster::state::TaskDetails;
    use tepui_types::{AgentId, ExecutorId, FrameworkId, Role, TaskId, TaskState};
    use tepui_wire::v1::{self, network_info};

    use super::super::task::TaskView;
    use super::*;

    fn task(name: &str, bundle: &str, statuses: Vec<v1::TaskStatus>) -> Task {
        let role = Role::parse("eng/web").unwrap();
        let mut task = Task {
            id: TaskId::parse("t").unwrap(),
            framework: FrameworkId::parse("f").unwrap(),
            agent: AgentId::parse("a").unwrap(),
            executor: None,
            name: name.into(),
            resources: tepui_wire::resources::parse_text(bundle, &role).unwrap(),
            role,
            state: TaskState::Running,
            forwarded: None,
            statuses: Vec::new(),
            launched: None,
            details: None,
        };
        task.statuses = statuses.into_iter().map(|status| Told::keep(&task, status)).collect();
        task
    }

    fn status(ip: &str) -> v1::TaskStatus {
        let version = if ip.contains(':') { "IPv6" } else { "IPv4" };
        let address = network_info::IpAddress {
            protocol: network_info::Protocol::from_str_name(version).map(Into::into),
            ip_address: Some(ip.into()),
        };
        let network = v1::NetworkInfo { ip_addresses: vec![address], ..v1::NetworkInfo::default() };
        v1::TaskStatus {
            task_id: v1::TaskId { value: "t".into() },
            state: v1::TaskState::TaskRunning.into(),
            timestamp: Some(1_795_333_542.306_404_8),
            container_status: Some(v1::ContainerStatus {
                container_id: Some(v1::ContainerId { value: "c\u{7f}".into(), parent: None }),
                network_infos: vec![network],
                ..v1::ContainerStatus::default()
            }),
            ..v1::TaskStatus::default()
        }
    }

    fn is_the_same(task: &Task) -> bool {
        let mut text = Vec::new();
        let written = write(&mut text, task);
        assert!(!written || text == serde_json::to_vec(&TaskView::of(task)).unwrap());
        assert!(written || text.is_empty());
        written
    }

    #[test]
    fn usual_tasks_are_written_as_all_others_are() {
        let bundles = ["", "cpus:0.1;mem:32", "cpus:1;ports:[31000-31001, 31005-31005];zones:{a}"];
        for bundle in bundles {
            let told = vec![status("10.0.109.255"), status("fe80::1")];
            assert!(is_the_same(&task("t", bundle, told)));
        }
        let bare = v1::TaskStatus { container_status: None, ..status("::1") };
        let healthy = |yes| v1::TaskStatus { healthy: Some(yes), ..status("::1") };
        let told = vec![bare, healthy(true), healthy(false)];
        let in_executor = Task {
            executor: ExecutorId::parse("e").ok(),
            state: TaskState::Killing,
            ..task("t", "", told)
        };
        assert!(is_the_same(&in_executor));
    }

    #[test]
    fn tasks_with_more_to_them_are_left_to_the_other_way() {
        let labelled = v1::TaskStatus { labels: Some(v1::Labels::default()), ..status("::1") };
        assert!(!is_the_same(&task("t", "", vec![labelled])));
        let named = v1::TaskStatus {
            container_status: Some(v1::ContainerStatus::default()),
            ..status("::1")
        };
        assert!(!is_the_same(&task("t", "", vec![named])));
        let details = Some(Box::new(TaskDetails::default()));
        assert!(!is_the_same(&Task { details, ..task("t", "", Vec::new()) }));
    }

    proptest! {
        #[test]
        fn any_name_is_written_as_json_wants_it(name in any::<String>()) {
            prop_assert!(is_the_same(&task(&name, "", Vec::new())));
        }
    }
}
