//! Reading and writing definitions: the worked examples of `marathon-api.md` section 12, the error
//! texts, the translation of deprecated fields, and properties over generated apps.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use proptest::prelude::*;
use serde_json::{Value, json};
use tepui_marathon::{
    App, AppUpdate, EnvValue, Network, PathId, Ratio, Rejection, Settings, UnreachableStrategy,
    Version, decode_app, decode_app_updates, decode_group_update, decode_stored_app,
};

fn decode(body: &Value) -> Result<AppUpdate, Rejection> {
    decode_app(body.to_string().as_bytes(), &PathId::root(), true, &Settings::default())
}

fn create(body: &Value) -> Result<App, Rejection> {
    let update = decode(body)?;
    let id = update.id.clone().expect("a decoded definition has an id");
    update.complete(&id, None, None, &Settings::default())
}

fn patched(base: &App, body: &Value) -> Result<App, Rejection> {
    let update =
        decode_app(body.to_string().as_bytes(), &PathId::root(), false, &Settings::default())?;
    update.complete(&base.id, Some(base), None, &Settings::default())
}

/// The refusal of a definition, as the client sees it.
fn refusal(body: &Value) -> (u16, Value) {
    let rejection = create(body).expect_err("the definition is refused");
    (rejection.status, serde_json::to_value(&rejection).unwrap())
}

/// Asserts that the definition is refused with this text at this path.
#[track_caller]
fn assert_broken(body: &Value, path: &str, error: &str) {
    let (status, answer) = refusal(body);
    assert_eq!((status, &answer["message"]), (422, &json!("Object is not valid")), "{answer}");
    let found = answer["details"].as_array().unwrap().iter().any(|detail| {
        detail["path"] == path && detail["errors"].as_array().unwrap().contains(&json!(error))
    });
    assert!(found, "{error:?} at {path} is not in {answer}");
}

/// Asserts that the structure is refused with this key at this path.
#[track_caller]
fn assert_structure(body: &Value, path: &str, key: &str) {
    let (status, answer) = refusal(body);
    assert_eq!(
        (status, answer),
        (422, json!({"message": "Invalid JSON", "details": [{"path": path, "errors": [key]}]}))
    );
}

#[test]
fn the_minimal_app_gets_every_documented_default() {
    let mut app = create(&json!({"id": "/t/web", "cmd": "sleep 1000"})).unwrap();
    let version = Version::parse("2030-01-02T03:04:05.678Z").unwrap();
    app.version = version;
    app.version_info.last_scaling_at = version;
    app.version_info.last_config_change_at = version;
    app.assign_service_ports([10000]);
    assert_eq!(
        serde_json::to_value(&app).unwrap(),
        json!({
            "id": "/t/web", "cmd": "sleep 1000", "backoffFactor": 1.15, "backoffSeconds": 1,
            "cpus": 1, "disk": 0, "executor": "", "instances": 1, "labels": {},
            "maxLaunchDelaySeconds": 300, "mem": 128, "gpus": 0, "networks": [{"mode": "host"}],
            "portDefinitions": [{"port": 10000, "name": "default", "protocol": "tcp"}],
            "requirePorts": false,
            "upgradeStrategy": {"maximumOverCapacity": 1, "minimumHealthCapacity": 1},
            "version": "2030-01-02T03:04:05.678Z",
            "versionInfo": {
                "lastScalingAt": "2030-01-02T03:04:05.678Z",
                "lastConfigChangeAt": "2030-01-02T03:04:05.678Z"
            },
            "killSelection": "YOUNGEST_FIRST",
            "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
            "role": "*"
        })
    );
}

#[test]
fn the_seed_apps_are_accepted() {
    let basic = create(&json!({
        "id": "basic-service", "cmd": "while [ true ] ; do nc -lp $PORT0; done",
        "cpus": 0.1, "mem": 10.0, "instances": 2
    }))
    .unwrap();
    assert_eq!(
        (basic.id.as_str(), basic.cpus.as_milli(), basic.instances),
        ("/basic-service", 100, 2)
    );
    let json = serde_json::to_string(&basic).unwrap();
    assert!(json.contains(r#""cpus":0.1,"#) && json.contains(r#""mem":10,"#), "{json}");
    let checked = create(&json!({
        "id": "/web", "cmd": "python3 -m http.server $PORT0",
        "upgradeStrategy": {"minimumHealthCapacity": 0.5},
        "healthChecks": [{
            "protocol": "HTTP", "path": "/", "portIndex": 0, "gracePeriodSeconds": 10,
            "intervalSeconds": 10, "timeoutSeconds": 20, "maxConsecutiveFailures": 3,
            "ignoreHttp1xx": false
        }]
    }))
    .unwrap();
    assert_eq!(checked.upgrade_strategy.minimum_health_capacity, Ratio::from_milli(500));
    assert_eq!(checked.upgrade_strategy.maximum_over_capacity, Ratio::ONE);
    assert_eq!(checked.health_checks[0].port_index, Some(0));
}

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

#[test]
fn containers_in_every_form_are_taken() {
    for fields in [
        json!({"networks": [{"mode": "container/bridge"}],
               "container": {"docker": {"image": "nginx"},
                             "portMappings": [{"containerPort": 80, "hostPort": 0}]}}),
        json!({"container": {"type": "MESOS", "docker": {"image": "nginx"},
                             "linuxInfo": {"seccomp": {"unconfined": true},
                                           "ipcInfo": {"mode": "PRIVATE", "shmSize": 8}}}}),
        json!({"container": {"type": "MESOS",
                             "docker": {"image": "nginx", "privileged": false, "parameters": [],
                                        "pullConfig": null, "credential": null},
                             "linuxInfo": {"seccomp": null, "ipcInfo": null}},
               "labels": {"TEPUI_OWNER": "me", "TEPUI_METRICS": "true", "TEPUI_METRICS_PATH": "/m",
                          "HAPROXY_GROUP": "x"}}),
        json!({"container": {"type": "MESOS", "volumes": [
            {"containerPath": "data", "mode": "RW", "hostPath": "/x"}]}}),
        json!({"networks": [{"mode": "container", "name": "dmz"}], "tty": true}),
    ] {
        let mut app = json!({"id": "/a", "cmd": "sleep 1"});
        for (key, value) in fields.as_object().unwrap() {
            app[key] = value.clone();
        }
        create(&app).unwrap_or_else(|broken| panic!("{fields}: {broken:?}"));
    }
}

#[test]
fn deprecated_fields_are_translated_and_contradictions_refused() {
    let app = create(&json!({
        "id": "/a", "cmd": "sleep 1", "ports": [0, 8080], "uris": ["http://h/a.tgz", "http://h/b"]
    }))
    .unwrap();
    assert_eq!(app.service_ports().collect::<Vec<_>>(), [0, 8080]);
    assert_eq!(
        app.fetch.iter().map(|fetch| (fetch.uri.as_str(), fetch.extract)).collect::<Vec<_>>(),
        [("http://h/a.tgz", true), ("http://h/b", false)]
    );
    let emitted = serde_json::to_value(&app).unwrap();
    assert!(emitted.get("ports").is_none() && emitted.get("uris").is_none());
    for (fields, message) in [
        (
            json!({"ports": [1], "portDefinitions": []}),
            "cannot specify both ports and port definitions",
        ),
        (
            json!({"uris": ["a"], "fetch": [{"uri": "b"}]}),
            "cannot specify both uris and fetch fields",
        ),
        (json!({"ipAddress": {}, "ports": [1]}), "cannot specify both an IP address and port"),
        (
            json!({"ipAddress": {}, "networks": [{"mode": "host"}]}),
            "must not specify both networks and ipAddress",
        ),
        (
            json!({"container": {"docker": {"image": "x", "network": "HOST"}}, "networks": [{"mode": "host"}]}),
            "must not specify both container.docker.network and networks",
        ),
        (
            json!({"container": {"docker": {"image": "x", "portMappings": []}, "portMappings": []}}),
            "cannot specify both portMappings and docker.portMappings",
        ),
    ] {
        let mut app = json!({"id": "/a", "cmd": "sleep 1"});
        for (key, value) in fields.as_object().unwrap() {
            app[key] = value.clone();
        }
        assert_eq!(refusal(&app), (422, json!({"message": message})));
    }
}

#[test]
fn null_is_the_same_as_absent() {
    let plain = create(&json!({"id": "/a", "cmd": "sleep 1"})).unwrap();
    let nulls = json!({"id": "/a", "cmd": "sleep 1", "ports": null, "dependencies": null,
        "container": null, "upgradeStrategy": null, "unknown": [1]});
    assert_eq!(create(&nulls).unwrap(), plain);
    assert_eq!(patched(&plain, &json!({"cmd": null})).unwrap(), plain);
}

#[test]
fn updates_replace_whole_fields_and_keep_the_rest() {
    let base = create(&json!({
        "id": "/a", "cmd": "sleep 1", "env": {"A": "1", "B": "2"}, "instances": 3,
        "labels": {"x": "y"}, "role": "*"
    }))
    .unwrap();
    let changed = patched(&base, &json!({"env": {"C": "3"}, "instances": 5})).unwrap();
    assert_eq!(changed.env.keys().collect::<Vec<_>>(), ["C"]);
    assert_eq!(changed.env["C"], EnvValue::Text("3".to_owned()));
    assert_eq!((changed.instances, changed.cmd.as_deref()), (5, Some("sleep 1")));
    assert_eq!(changed.labels, base.labels);
    assert!(base.differs_in_config(&changed));
    let scaled = patched(&base, &json!({"instances": 9})).unwrap();
    assert!(!base.differs_in_config(&scaled));
}

#[test]
fn single_instance_apps_never_overlap_themselves() {
    let label = json!({"MARATHON_SINGLE_INSTANCE_APP": "true"});
    let base = create(&json!({"id": "/a", "cmd": "sleep 1"})).unwrap();
    let labelled = patched(&base, &json!({"labels": label})).unwrap();
    assert_eq!(labelled.upgrade_strategy.minimum_health_capacity, Ratio::ZERO);
    assert_eq!(labelled.upgrade_strategy.maximum_over_capacity, Ratio::ZERO);
    assert_broken(
        &json!({"id": "/a", "cmd": "sleep 1", "labels": label,
            "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 0}}),
        "/upgradeStrategy/minimumHealthCapacity",
        "got 1.0, expected 0.0",
    );
}

#[test]
fn only_a_lone_version_is_a_rollback() {
    let update = |body: Value| {
        decode_app(body.to_string().as_bytes(), &PathId::root(), false, &Settings::default())
            .unwrap()
    };
    let version = "2030-01-02T03:04:05.678Z";
    assert!(update(json!({"version": version})).rollback().is_some());
    assert!(update(json!({"version": version, "id": "/a"})).rollback().is_some());
    assert!(update(json!({"version": version, "cmd": "sleep 1"})).rollback().is_none());
    assert!(update(json!({"cmd": "sleep 1"})).rollback().is_none());
}

#[test]
fn errors_in_lists_and_groups_begin_with_their_place() {
    let settings = Settings::default();
    let error = decode_app_updates(br#"[{"id":"/a"},{"id":5}]"#, &settings).unwrap_err();
    assert_eq!(
        serde_json::to_value(&error).unwrap()["details"],
        json!([{"path": "(1)/id", "errors": ["error.expected.jsstring"]}])
    );
    let body = br#"{"id":"g","groups":[{"id":"h","apps":[{"id":"a","cmd":7}]}]}"#;
    let error = decode_group_update(body, &PathId::root(), true, &settings).unwrap_err();
    assert_eq!(
        serde_json::to_value(&error).unwrap()["details"],
        json!([{"path": "/groups(0)/apps(0)/cmd", "errors": ["error.expected.jsstring"]}])
    );
}

#[test]
fn ids_in_groups_are_relative_to_their_group() {
    let body = br#"{"id":"g","groups":[{"id":"h","dependencies":["../x"],
        "apps":[{"id":"a","cmd":"sleep 1","dependencies":["b","../c"]}]}]}"#;
    let update = decode_group_update(body, &PathId::root(), true, &Settings::default()).unwrap();
    let sub = &update.groups.as_ref().unwrap()[0];
    let app = &sub.apps.as_ref().unwrap()[0];
    assert_eq!(update.id.unwrap().as_str(), "/g");
    assert_eq!(sub.id.as_ref().unwrap().as_str(), "/g/h");
    assert_eq!(app.id.as_ref().unwrap().as_str(), "/g/h/a");
    let dependencies = app.dependencies.as_ref().unwrap();
    assert_eq!(dependencies.iter().map(PathId::as_str).collect::<Vec<_>>(), ["/g/h/b", "/g/c"]);
    let sibling = &sub.dependencies.as_ref().unwrap()[0];
    assert_eq!(sibling.as_str(), "/g/x", "a sibling of the group that names it");
}

#[test]
fn pods_in_a_group_are_refused_by_name_and_an_empty_list_of_them_is_not() {
    let decode =
        |body: &[u8]| decode_group_update(body, &PathId::root(), true, &Settings::default());
    assert!(decode(br#"{"id":"g","pods":[],"apps":[]}"#).is_ok());
    let refused = decode(br#"{"id":"g","groups":[{"id":"h","pods":[{"id":"p"}]}]}"#).unwrap_err();
    assert_eq!(
        serde_json::to_value(&refused).unwrap()["details"],
        json!([{"path": "/groups(0)/pods", "errors": ["this release does not run pods"]}])
    );
}

#[test]
fn scaling_a_group_stands_alone() {
    let decode =
        |body: &[u8]| decode_group_update(body, &PathId::root(), false, &Settings::default());
    assert_eq!(decode(br#"{"scaleBy":2}"#).unwrap().scale_by, Some(Ratio::from_milli(2000)));
    assert_eq!(decode(br#"{"scaleBy":2,"apps":[]}"#).unwrap_err().status, 422);
    assert_eq!(decode(br#"{"scaleBy":-1}"#).unwrap_err().status, 422);
}

#[test]
fn deep_or_broken_bodies_are_refused_without_harm() {
    let deep = "[".repeat(1_000_000);
    let error = decode_app(deep.as_bytes(), &PathId::root(), true, &Settings::default());
    assert_eq!(error.unwrap_err().status, 400);
    let nan = br#"{"id":"/a","cpus":NaN}"#;
    assert_eq!(
        decode_app(nan, &PathId::root(), true, &Settings::default()).unwrap_err().status,
        400
    );
}

fn text() -> impl Strategy<Value = String> {
    "[ -~äß]{2,12}"
}

prop_compose! {
    fn probe()(
        protocol in prop::sample::select(vec!["HTTP", "HTTPS", "TCP", "COMMAND"]),
        index in prop::option::of(0_u32..2),
        grace in 0_u32..1000,
        path in prop::option::of("/[a-z]{0,5}"),
        ignore in any::<bool>(),
    ) -> Value {
        let mut check = json!({"protocol": protocol, "gracePeriodSeconds": grace,
            "ignoreHttp1xx": ignore, "path": path, "portIndex": index});
        if protocol == "COMMAND" {
            check["command"] = json!({"value": "true"});
        }
        check
    }
}

fn constraints() -> impl Strategy<Value = Vec<Vec<String>>> {
    let operator = prop::sample::select(vec![
        vec!["UNIQUE"],
        vec!["CLUSTER"],
        vec!["cluster", "r1"],
        vec!["GROUP_BY"],
        vec!["group_by", "3"],
        vec!["MAX_PER", "2"],
        vec!["LIKE", "a.*"],
        vec!["UNLIKE", "b"],
        vec!["IS", "4.2"],
    ]);
    let one = ("[@a-z]{1,8}", operator).prop_map(|(field, rest)| {
        std::iter::once(field).chain(rest.into_iter().map(str::to_owned)).collect()
    });
    prop::collection::vec(one, 0..3)
}

prop_compose! {
    fn definition()(
        id in "[a-z][a-z0-9]{0,5}(/[a-z0-9]{1,5}){0,2}x",
        cmd in text(),
        cpus in 1_u64..1_000_000,
        mem in 0_u64..10_000_000,
        instances in 0_u32..1_000_000,
        env in prop::collection::btree_map("[A-Z_]{1,6}", text(), 0..4),
        labels in prop::collection::btree_map(text(), text(), 0..3),
        constraints in constraints(),
        checks in prop::collection::vec(probe(), 0..2),
        factor in 1.0_f64..100.0,
        shares in (0.0_f64..=1.0, 0.0_f64..=1.0),
        unreachable in prop::option::of((0_u32..100, 100_u32..200)),
        grace in prop::option::of(0_u32..100),
    ) -> Value {
        json!({
            "id": id, "cmd": cmd, "cpus": cpus as f64 / 1000.0, "mem": mem as f64 / 1000.0,
            "instances": instances, "env": env, "labels": labels, "constraints": constraints,
            "healthChecks": checks, "backoffFactor": factor,
            "upgradeStrategy":
                {"minimumHealthCapacity": shares.0, "maximumOverCapacity": shares.1},
            "unreachableStrategy": unreachable.map(|(inactive, expunge)| {
                json!({"inactiveAfterSeconds": inactive, "expungeAfterSeconds": expunge})
            }),
            "taskKillGracePeriodSeconds": grace,
            "portDefinitions": [{"port": 0, "name": "a"}, {"port": 9, "protocol": "udp,tcp",
                "labels": {"VIP_0": "/x:1"}}],
            "fetch": [{"uri": "http://h/x", "extract": false, "destPath": "d"}],
            "dependencies": ["../q"],
            "acceptedResourceRoles": ["*"],
            "readinessChecks": [{"portName": "a"}],
        })
    }
}

/// Any JSON, with keys that mean something here now and then.
fn garbage() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "\\PC{0,6}".prop_map(Value::from),
        prop::sample::select(vec!["/a", "../..", "DOCKER", "UNIQUE", "*", "host", "unlimited"])
            .prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "id",
        "cmd",
        "args",
        "cpus",
        "mem",
        "env",
        "labels",
        "container",
        "docker",
        "volumes",
        "portMappings",
        "portDefinitions",
        "ports",
        "networks",
        "mode",
        "healthChecks",
        "constraints",
        "upgradeStrategy",
        "unreachableStrategy",
        "fetch",
        "uri",
        "ipAddress",
        "resourceLimits",
        "apps",
        "groups",
        "scaleBy",
        "version",
        "dependencies",
        "role",
        "readinessChecks",
        "check",
        "http",
        "exec",
        "command",
        "secrets",
        "image",
        "network",
    ]);
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..8).prop_map(|map| {
                map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn reading_what_was_written_gives_the_same_app(body in definition(), at in 0_i64..1 << 41) {
        let mut app = create(&body).unwrap();
        app.version = Version::from_millis(at);
        app.version_info.last_scaling_at = Version::from_millis(at / 2);
        app.version_info.last_config_change_at = Version::from_millis(at / 3);
        let text = serde_json::to_vec(&app).unwrap();
        prop_assert_eq!(&decode_stored_app(&text, &Settings::default()).unwrap(), &app);
        // A client that reads an app and puts it back changes nothing but the versions.
        let put = decode_app(&text, &PathId::root(), true, &Settings::default()).unwrap();
        let again = put.complete(&app.id, Some(&app), None, &Settings::default()).unwrap();
        prop_assert_eq!(&again, &app);
        prop_assert_eq!(serde_json::to_vec(&again).unwrap(), text);
    }

    #[test]
    fn any_json_is_an_answer_and_never_a_panic(body in garbage()) {
        let text = body.to_string();
        let settings = Settings::default();
        let root = PathId::root();
        for required in [true, false] {
            if let Ok(update) = decode_app(text.as_bytes(), &root, required, &settings) {
                let id = update.id.clone().unwrap_or_else(PathId::root);
                if let Ok(app) = update.complete(&id, None, None, &settings) {
                    serde_json::to_string(&app).unwrap();
                }
            }
            let _ = decode_group_update(text.as_bytes(), &root, required, &settings);
        }
        let _ = decode_app_updates(text.as_bytes(), &settings);
        let _ = decode_stored_app(text.as_bytes(), &settings);
    }

    #[test]
    fn any_bytes_are_an_answer_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_app(&bytes, &PathId::root(), true, &Settings::default());
    }
}

#[test]
fn an_app_may_use_more_than_it_was_given_and_never_less() {
    let limited = |limits: Value| {
        create(
            &json!({"id": "/a", "cmd": "sleep 1", "cpus": 1, "mem": 32, "resourceLimits": limits}),
        )
    };
    let app = limited(json!({"cpus": "unlimited", "mem": 64})).unwrap();
    let emitted = serde_json::to_value(&app).unwrap();
    assert_eq!(emitted["resourceLimits"], json!({"cpus": "unlimited", "mem": 64}));
    assert!(limited(json!({"mem": 16})).is_err());
    assert!(limited(json!({"mem": "much"})).is_err());
}

#[test]
fn strategies_accept_their_other_spellings() {
    let app = create(&json!({"id": "/a", "cmd": "sleep 1", "unreachableStrategy": "disabled",
        "killSelection": "OldestFirst", "networks": [{"mode": "HOST"}]}))
    .unwrap();
    assert_eq!(app.unreachable_strategy, UnreachableStrategy::Disabled);
    assert_eq!(app.networks, [Network::Host]);
    let emitted = serde_json::to_value(&app).unwrap();
    assert_eq!(emitted["unreachableStrategy"], "disabled");
    assert_eq!(emitted["killSelection"], "OLDEST_FIRST");
}
