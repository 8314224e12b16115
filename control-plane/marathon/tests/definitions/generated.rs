//! Properties over generated definitions, and over what is none.

use proptest::prelude::*;
use serde_json::{Value, json};
use tepui_marathon::{
    PathId, Settings, Version, decode_app, decode_app_updates, decode_group_update,
    decode_stored_app,
};

use crate::create;

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
