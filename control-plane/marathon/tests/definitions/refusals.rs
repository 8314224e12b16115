//! What is refused, and with which words.

use serde_json::{Value, json};
use tepui_marathon::{PathId, Settings, decode_app};

use crate::{assert_broken, assert_structure, create, refusal};

#[test]
fn the_worked_errors_have_their_exact_bodies() {
    assert_structure(&json!({"id": 5}), "/id", "error.expected.jsstring");
    assert_structure(&json!({"cmd": "x y"}), "/id", "error.path.missing");
    assert_eq!(
        refusal(&json!({"id": "/t/a"})),
        (
            422,
            json!({"message": "Object is not valid", "details": [{"path": "/", "errors": [
                "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'."
            ]}]})
        )
    );
    let not_json = decode_app(b"{", &PathId::root(), true, &Settings::default()).unwrap_err();
    assert_eq!((not_json.status, not_json.body.message.as_str()), (400, "Invalid JSON"));
    let empty = decode_app(b" \n", &PathId::root(), true, &Settings::default()).unwrap_err();
    assert_eq!(
        (empty.status, empty.body.message.as_str()),
        (400, "Please specify data in JSON format")
    );
}

#[test]
fn wrong_structure_is_named_by_path() {
    for (body, path, key) in [
        (json!([]), "/", "error.expected.jsobject"),
        (json!({"id": "/a", "cmd": 1}), "/cmd", "error.expected.jsstring"),
        (json!({"id": "/a", "cmd": ""}), "/cmd", "error.minLength"),
        (json!({"id": "/A", "cmd": "ab"}), "/id", "error.pattern"),
        (json!({"id": "/a", "cpus": "1"}), "/cpus", "error.expected.jsnumber"),
        (json!({"id": "/a", "cpus": 0}), "/cpus", "error.min"),
        (json!({"id": "/a", "cpus": -1}), "/cpus", "error.min"),
        (json!({"id": "/a", "mem": 1e300}), "/mem", "error.max"),
        (json!({"id": "/a", "instances": -1}), "/instances", "error.min"),
        (json!({"id": "/a", "instances": 1.5}), "/instances", "error.expected.jsnumber"),
        (json!({"id": "/a", "instances": 4_294_967_296_u64}), "/instances", "error.max"),
        (json!({"id": "/a", "env": {"N": 5}}), "/env/N", "error.expected.jsstring"),
        (json!({"id": "/a", "env": {"N": {}}}), "/env/N/secret", "error.path.missing"),
        (
            json!({"id": "/a", "container": {"type": "MESOS", "volumes": [
                {"containerPath": "a", "hostPath": "/b", "mode": "RX"}]}}),
            "/container/volumes(0)/mode",
            "error.unknown.enum.literal",
        ),
        (json!({"id": "/a", "labels": ["a"]}), "/labels", "error.expected.jsobject"),
        (json!({"id": "/a", "constraints": "x"}), "/constraints", "error.expected.jsarray"),
        (json!({"id": "/a", "requirePorts": "yes"}), "/requirePorts", "error.expected.jsboolean"),
        (json!({"id": "/a", "ports": [65_536]}), "/ports(0)", "error.max"),
        (json!({"id": "/a", "backoffFactor": 0.5}), "/backoffFactor", "error.min"),
        (json!({"id": "/a", "killSelection": "x"}), "/killSelection", "error.unknown.enum.literal"),
        (json!({"id": "/a", "executor": "/a//b"}), "/executor", "error.pattern"),
        (
            json!({"id": "/a", "upgradeStrategy": {"minimumHealthCapacity": 2}}),
            "/upgradeStrategy/minimumHealthCapacity",
            "error.max",
        ),
        (
            json!({"id": "/a", "upgradeStrategy": {}}),
            "/upgradeStrategy/minimumHealthCapacity",
            "error.path.missing",
        ),
    ] {
        assert_structure(&body, path, key);
    }
}

#[test]
fn an_overlong_id_is_refused_and_the_limit_is_named() {
    let (_, answer) = refusal(&json!({"id": format!("/{}", "a".repeat(300)), "cmd": "ab"}));
    assert_eq!(
        answer["details"],
        json!([{"path": "/id",
                "errors": ["error.maxLength", "an id may have at most 255 bytes"]}])
    );
    let (_, answer) = refusal(&json!({"id": format!("/{}", "a".repeat(200)), "cmd": "ab"}));
    assert_eq!(answer["details"][0]["path"], "/id");
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table with one entry per rule")]
fn broken_rules_have_their_documented_texts() {
    let app = |fields: Value| {
        let mut app = json!({"id": "/t/a", "cmd": "sleep 1"});
        for (key, value) in fields.as_object().unwrap() {
            app[key] = value.clone();
        }
        app
    };
    for (fields, path, error) in [
        (json!({"cmd": "x"}), "/cmd", "must not be an empty string"),
        (
            json!({"args": ["a"]}),
            "/",
            "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
        ),
        (
            json!({"id": "/t/restart"}),
            "/id",
            "must not end with any of the following reserved keywords: restart, tasks, versions, ., ..",
        ),
        (json!({"id": "/"}), "/id", "Path must contain at least one path element"),
        (
            json!({"portDefinitions": [{"port": 5}, {"port": 5}]}),
            "/portDefinitions",
            "Ports must be unique.",
        ),
        (
            json!({"portDefinitions": [{"name": "a"}, {"name": "a"}]}),
            "/portDefinitions",
            "Port names must be unique.",
        ),
        (json!({"ports": [7, 7]}), "/ports", "ports must be unique"),
        (
            json!({"container": {"type": "MESOS", "portMappings": [{}]}}),
            "/container/portMappings",
            "portMappings are not allowed with host-networking",
        ),
        (
            json!({"networks": [{"mode": "host", "name": "x"}]}),
            "/networks(0)",
            "Host networks may not have names or labels",
        ),
        (
            json!({"networks": [{"mode": "host"}, {"mode": "host"}]}),
            "/networks",
            "May specify a single host network, single bridge network, or else 1-to-n container networks",
        ),
        (
            json!({"networks": [{"mode": "container"}]}),
            "/networks",
            "Network name must be specified when container network is selected.",
        ),
        (
            json!({"healthChecks": [{"portIndex": 1}]}),
            "/healthChecks(0)",
            "Health check port indices must address an element of the ports array or container port mappings.",
        ),
        (
            json!({"healthChecks": [{}], "portDefinitions": []}),
            "/healthChecks(0)",
            "HealthCheck must specify either a port or a portIndex",
        ),
        (
            json!({"healthChecks": [{"protocol": "MESOS_TCP"}, {"protocol": "MESOS_HTTP"}]}),
            "/healthChecks",
            "AppDefinition can contain at most one Mesos health check",
        ),
        (
            json!({"healthChecks": [{"protocol": "COMMAND"}]}),
            "/healthChecks(0)/command",
            "not defined",
        ),
        (
            json!({"labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"}, "instances": 2}),
            "/instances",
            "Single instance app may only have one instance",
        ),
        (json!({"role": "other"}), "/role", "got other, expected one of: [*, t]"),
        (
            json!({"acceptedResourceRoles": ["*", "x"]}),
            "/acceptedResourceRoles",
            "acceptedResourceRoles can only contain *",
        ),
        (json!({"acceptedResourceRoles": []}), "/acceptedResourceRoles", "must not be empty"),
        (
            json!({"unreachableStrategy": {"inactiveAfterSeconds": 9, "expungeAfterSeconds": 3}}),
            "/unreachableStrategy",
            "inactiveAfterSeconds (9) must be less or equal to expungeAfterSeconds, which is 3",
        ),
        (json!({"fetch": [{"uri": "http://a b"}]}), "/fetch(0)", "URI has invalid syntax."),
        (
            json!({"constraints": [["hostname"]]}),
            "/constraints(0)",
            "Each constraint must have either 2 or 3 fields",
        ),
        (
            json!({"constraints": [["hostname", "NEAR"]]}),
            "/constraints(0)",
            "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS",
        ),
        (
            json!({"constraints": [["hostname", "UNIQUE", "x"]]}),
            "/constraints(0)",
            "UNIQUE does not accept a value",
        ),
        (
            json!({"constraints": [["rack", "LIKE", "("]]}),
            "/constraints(0)",
            "is not a valid regular expression",
        ),
        (
            json!({"constraints": [["rack", "MAX_PER"]]}),
            "/constraints(0)",
            "MAX_PER requires an integer value",
        ),
        (
            json!({"env": {"A=B": "x"}}),
            "/env/A=B",
            "the name of a variable must not contain '=' or a NUL character",
        ),
    ] {
        assert_broken(&app(fields), path, error);
    }
}

#[test]
fn what_this_release_does_not_run_is_refused_by_field() {
    for (fields, path) in [
        (json!({"container": {"type": "DOCKER"}}), "/container/docker"),
        (
            json!({"container": {"type": "MESOS", "linuxInfo": {"seccomp": {}}}}),
            "/container/linuxInfo/seccomp",
        ),
        (
            json!({"container": {"type": "MESOS",
                                 "linuxInfo": {"ipcInfo": {"mode": "SHARE_PARENT", "shmSize": 1}}}}),
            "/container/linuxInfo/ipcInfo/shmSize",
        ),
        (
            json!({"container": {"type": "MESOS", "linuxInfo": {"seccmp": {"unconfined": true}}}}),
            "/container/linuxInfo/seccmp",
        ),
        (
            json!({"container": {"type": "MESOS", "linuxInfo": {"seccomp": {"profile": "strict"}}}}),
            "/container/linuxInfo/seccomp/profile",
        ),
        (
            json!({"container": {"type": "MESOS", "linuxInfo": {"seccomp": {"unconfined": "no"}}}}),
            "/container/linuxInfo/seccomp/unconfined",
        ),
        (
            json!({"container": {"type": "MESOS",
                                 "linuxInfo": {"ipcInfo": {"mode": "PRIVATE", "shm": 1}}}}),
            "/container/linuxInfo/ipcInfo/shm",
        ),
        (
            json!({"container": {"type": "MESOS", "docker": {"image": "x", "privileged": true}}}),
            "/container/docker/privileged",
        ),
        (
            json!({"container": {"type": "MESOS", "docker": {"image": "x",
                   "parameters": [{"key": "cap-drop", "value": "ALL"}]}}}),
            "/container/docker/parameters",
        ),
        (
            json!({"container": {"type": "MESOS",
                                 "docker": {"image": "x", "pullConfig": {"secret": "s"}}}}),
            "/container/docker/pullConfig",
        ),
        (
            json!({"container": {"docker": {"image": "x", "credential": {"principal": "me"}}}}),
            "/container/docker/credential",
        ),
        (json!({"ipAddress": {"networkName": "n", "groups": ["g"]}}), "/ipAddress/groups"),
        (json!({"labels": {"TEPUI_SECOMP": "strict"}}), "/labels"),
        (
            json!({"container": {"type": "MESOS", "volumes": [
            {"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}]}}),
            "/container/volumes(0)/persistent",
        ),
        (json!({"gpus": 1}), "/gpus"),
        (json!({"secrets": {"a": {"source": "b"}}}), "/secrets"),
        (json!({"env": {"A": {"secret": "x"}}}), "/env/A/secret"),
    ] {
        let mut app = json!({"id": "/a", "cmd": "sleep 1"});
        for (key, value) in fields.as_object().unwrap() {
            app[key] = value.clone();
        }
        let (status, answer) = refusal(&app);
        let paths: Vec<&str> = answer["details"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|detail| detail["path"].as_str())
            .collect();
        assert!(status == 422 && paths.contains(&path), "{path} is not in {answer}");
    }
    let plain = create(&json!({"id": "/a", "cmd": "sleep 1", "container": {"type": "MESOS"}}));
    assert_eq!(
        serde_json::to_value(plain.unwrap()).unwrap()["container"],
        json!({"type": "MESOS", "volumes": []})
    );
}

#[test]
fn words_of_a_refusal_are_marathons_where_it_has_them_and_name_what_was_meant() {
    for (fields, path, error) in [
        (
            json!({"container": {"docker": {"image": "x", "pullConfig": {"secret": "s"}}}}),
            "/container/docker/pullConfig",
            "pullConfig is not supported with Docker containerizer",
        ),
        (
            json!({"container": {"type": "MESOS",
                                 "docker": {"image": "x", "pullConfig": {"secret": "s"}}}}),
            "/container/docker/pullConfig",
            "pullConfig.secret must refer to an existing secret",
        ),
        (
            json!({"container": {"type": "MESOS", "linuxInfo": {
                   "seccomp": {"profileName": "strict", "unconfined": true}}}}),
            "/container/linuxInfo/seccomp",
            "Seccomp unconfined can NOT be true when Profile is defined",
        ),
        (
            json!({"container": {"type": "MESOS", "linuxInfo": {"seccomp": {}}}}),
            "/container/linuxInfo/seccomp",
            "Seccomp unconfined must be true when Profile is NOT defined",
        ),
        (
            json!({"container": {"type": "MESOS",
                                 "linuxInfo": {"ipcInfo": {"mode": "SHARE_PARENT", "shmSize": 1}}}}),
            "/container/linuxInfo/ipcInfo/shmSize",
            "ipcInfo shmSize can NOT be set when mode is SHARE_PARENT",
        ),
        (
            json!({"labels": {"TEPUI_SECOMP": "strict"}}),
            "/labels",
            "label 'TEPUI_SECOMP' is none that Tepui knows; did you mean 'TEPUI_SECCOMP'?",
        ),
    ] {
        let mut app = json!({"id": "/a", "cmd": "sleep 1"});
        for (key, value) in fields.as_object().unwrap() {
            app[key] = value.clone();
        }
        assert_broken(&app, path, error);
    }
}
