use serde_json::{Value, json};
use tepui_marathon::{PathId, Settings, decode_app};

use super::*;
use crate::environment::task_ports;

const NODE: &str = "node";
const ADDRESS: &str = "10.9.8.7";
/// What no side fixes.
const RANDOM: u16 = 20_000;
const AGENT_KINDS: [&str; 3] = ["MESOS_HTTP", "MESOS_HTTPS", "MESOS_TCP"];
const LEADER_KINDS: [&str; 3] = ["HTTP", "HTTPS", "TCP"];

/// An app with two ports, the second as given, on a network.
fn app(network: &Value, port: &Value, check: (&str, Value)) -> App {
    let mut app = json!({"id": "/a", "cmd": "sleep 1", "networks": [network], (check.0): check.1});
    match network["mode"].as_str() {
        Some("host") => app["portDefinitions"] = json!([{"port": 0}, port]),
        _ => {
            let first = json!({"containerPort": 79, "hostPort": 0});
            app["container"] = json!({"type": "MESOS", "portMappings": [first, port]});
        }
    }
    let (text, settings) = (app.to_string(), Settings::default());
    let update = decode_app(text.as_bytes(), &PathId::root(), true, &settings).unwrap();
    let id = update.id.clone().unwrap();
    update.complete(&id, None, None, &settings).unwrap()
}

fn ports_of(app: &App, host: Option<u16>) -> Vec<TaskPort> {
    task_ports(app, &[Some(31_000), host], || RANDOM)
}

/// One of the agent's kinds, or the `check`: what it addresses.
fn asked_by_agent(app: &App, host: Option<u16>) -> u32 {
    let ports = ports_of(app, host);
    let health = health_check(app, &ports).map(|check| match (check.http, check.tcp) {
        (Some(http), None) => http.port,
        (None, Some(tcp)) => tcp.port,
        both => panic!("{both:?}"),
    });
    let check = general_check(app, &ports).map(|check| match (check.http, check.tcp) {
        (Some(http), None) => http.port,
        (None, Some(tcp)) => tcp.port,
        both => panic!("{both:?}"),
    });
    health.xor(check).unwrap()
}

fn asked_by_leader(app: &App, host: Option<u16>) -> (String, u16) {
    let now = tepui_marathon::Version::default();
    let task = TaskRecord {
        id: tepui_marathon::TaskId::parse("a.instance-c0ffee00-0000-4000-8000-000000000001._app.1")
            .unwrap(),
        agent_id: "agent".into(),
        hostname: NODE.into(),
        region: None,
        zone: None,
        attributes: std::collections::BTreeMap::new(),
        host_ports: [Some(31_000), host].into_iter().flatten().collect(),
        state: tepui_types::TaskState::Running,
        staged_at: now,
        started_at: None,
        ip_addresses: vec![tepui_marathon::IpAddress {
            ip_address: ADDRESS.into(),
            protocol: tepui_marathon::IpProtocol::V4,
        }],
        unreachable_since: None,
    };
    let check = &app.health_checks[0];
    target(app, &task, check.port, check.port_index).unwrap()
}

/// A network, a port of the app on it, the host port that was taken for it; where the leader asks,
/// and which port agents ask.
type Row = (Value, Value, Option<u16>, (&'static str, u16), u32);

/// Every network and way of giving a port.
fn table() -> Vec<Row> {
    let host = json!({"mode": "host"});
    let bridge = json!({"mode": "container/bridge"});
    let container = json!({"mode": "container", "name": "dcos"});
    let mapped = |host: u16| json!({"containerPort": 80, "hostPort": host});
    let unmapped = json!({"containerPort": 80});
    let open = json!({"containerPort": 0, "hostPort": 0});
    let given = Some(31_005);
    vec![
        (host.clone(), json!({"port": 0}), given, (NODE, 31_005), 31_005),
        (host.clone(), json!({"port": 8_080}), given, (NODE, 31_005), 31_005),
        (host, json!({"port": 8_080}), Some(8_080), (NODE, 8_080), 8_080),
        (bridge.clone(), mapped(0), given, (NODE, 31_005), 80),
        (bridge.clone(), mapped(31_005), given, (NODE, 31_005), 80),
        (bridge.clone(), unmapped.clone(), given, (NODE, 31_005), 80),
        (bridge, open.clone(), given, (NODE, 31_005), 31_005),
        (container.clone(), mapped(0), given, (NODE, 31_005), 80),
        (container.clone(), mapped(31_005), given, (NODE, 31_005), 80),
        (container.clone(), unmapped, None, (ADDRESS, 80), 80),
        (container, open, given, (NODE, 31_005), 31_005),
    ]
}

#[test]
fn agents_ask_the_port_inside_the_tasks_network() {
    for (network, port, host, _, expected) in table() {
        for kind in AGENT_KINDS {
            let check = json!([{"protocol": kind, "portIndex": 1}]);
            let app = app(&network, &port, ("healthChecks", check));
            assert_eq!(asked_by_agent(&app, host), expected, "{kind} {network} {port}");
        }
        for kind in ["http", "tcp"] {
            let app = app(&network, &port, ("check", json!({(kind): {"portIndex": 1}})));
            assert_eq!(asked_by_agent(&app, host), expected, "check {kind} {network} {port}");
        }
    }
}

#[test]
fn the_leader_asks_the_host_or_the_container_where_nothing_of_the_host_leads_to_it() {
    for (network, port, host, expected, _) in table() {
        for kind in LEADER_KINDS {
            let check = json!([{"protocol": kind, "portIndex": 1}]);
            let app = app(&network, &port, ("healthChecks", check));
            let (name, number) = asked_by_leader(&app, host);
            assert_eq!((name.as_str(), number), expected, "{kind} {network} {port}");
            assert_eq!(health_check(&app, &ports_of(&app, host)), None);
        }
    }
}

#[test]
fn a_port_that_the_check_names_itself_is_asked_whatever_is_mapped() {
    for (network, port, host, _, _) in table() {
        for kind in AGENT_KINDS {
            let check = json!([{"protocol": kind, "port": 9_999}]);
            let app = app(&network, &port, ("healthChecks", check));
            assert_eq!(asked_by_agent(&app, host), 9_999, "{kind} {network} {port}");
        }
        for kind in ["http", "tcp"] {
            let app = app(&network, &port, ("check", json!({(kind): {"port": 9_999}})));
            assert_eq!(asked_by_agent(&app, host), 9_999, "check {kind} {network} {port}");
        }
        for kind in LEADER_KINDS {
            let check = json!([{"protocol": kind, "port": 9_999}]);
            let app = app(&network, &port, ("healthChecks", check));
            let expected = if network["mode"] == "container" { ADDRESS } else { NODE };
            let asked = asked_by_leader(&app, host);
            assert_eq!(asked, (expected.to_owned(), 9_999), "{kind} {network} {port}");
        }
    }
}

#[test]
fn a_command_addresses_no_port() {
    let line = json!({"value": "true"});
    for (network, port, host, _, _) in table() {
        let check = json!([{"protocol": "COMMAND", "command": line}]);
        let asking = app(&network, &port, ("healthChecks", check));
        let health = health_check(&asking, &ports_of(&asking, host)).unwrap();
        assert_eq!((health.http, health.tcp), (None, None));
        assert_eq!(health.command.unwrap().value.as_deref(), Some("true"));
        let check = json!({"exec": {"command": {"shell": "true"}}});
        let asking = app(&network, &port, ("check", check));
        let check = general_check(&asking, &ports_of(&asking, host)).unwrap();
        assert_eq!((check.http, check.tcp), (None, None));
        assert_eq!(check.command.unwrap().command.value.as_deref(), Some("true"));
    }
}
