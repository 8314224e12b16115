//! Reading and writing definitions: the worked examples of `marathon-api.md` section 12, the error
//! texts, the translation of deprecated fields, and properties over generated apps.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod generated;
mod groups;
mod refusals;

use serde_json::{Value, json};
use tepui_marathon::{
    App, AppUpdate, EnvValue, Network, PathId, Ratio, Rejection, Settings, UnreachableStrategy,
    Version, decode_app,
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
