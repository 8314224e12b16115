use serde_json::json;
use tepui_rest::{Leadership, Options};

use crate::rig::{Api, World};

#[tokio::test]
async fn info_has_exactly_the_documented_keys() {
    let api = Api::new();
    let info = api.get("/v2/info").await.expect(200).json();
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(
        keys(&info),
        [
            "buildref",
            "elected",
            "frameworkId",
            "http_config",
            "leader",
            "marathon_config",
            "name",
            "version",
            "zookeeper_config"
        ]
    );
    assert_eq!((&info["name"], &info["frameworkId"]), (&json!("marathon"), &json!("F-1")));
    assert_eq!(keys(&info["marathon_config"]).len(), 41);
    assert_eq!(info["marathon_config"]["webui_url"], json!(null));
    assert_eq!(keys(&info["zookeeper_config"]).len(), 8);
}

#[tokio::test]
async fn info_and_config_tell_the_settings_in_force() {
    let config = tepui_apps::Config {
        max_instances_per_offer: 17,
        min_revive_interval: tepui_types::Span::from_millis(250),
        user: "web".into(),
        max_versions: 3,
        ..tepui_apps::Config::default()
    };
    let api = Api::over(World::configured(config), Options::default());
    let info = api.get("/v2/info").await.expect(200).json();
    let settings = &info["marathon_config"];
    assert_eq!(settings["max_instances_per_offer"], 17);
    assert_eq!(settings["min_revive_offers_interval"], 250);
    assert_eq!(settings["mesos_user"], "web");
    assert_eq!(settings["failover_timeout"], 604_800);
    assert_eq!(info["zookeeper_config"]["zk_max_versions"], 3);
    let config = api.get("/config").await.expect(200).json();
    assert_eq!(config["max_instances_per_offer"], 17);
    assert_eq!(config["kill_retry_timeout"], 30_000);
}

#[tokio::test]
async fn the_leader_is_told_and_can_be_made_to_step_down() {
    let options = Options { leader_wait: (0, std::time::Duration::ZERO), ..Options::default() };
    let api = Api::over(World::new(), options);
    assert_eq!(api.get("/v2/leader").await.expect(200).json(), json!({"leader": "localhost:8080"}));
    api.delete("/v2/leader?backup=file:///x").await.expect(422);
    let gone = api.delete("/v2/leader").await.expect(200).json();
    assert_eq!(gone, json!({"message": "Leadership abdicated"}));
    let lost = api.get("/v2/apps").await.expect(502).json();
    assert_eq!(lost["message"], "Could not determine the current leader");
    *api.world.leadership.lock().unwrap() = Leadership::Elsewhere("other:8080".to_owned());
    let moved = api.get("/v2/events?event_type=x").await.expect(302);
    assert_eq!(moved.header("location"), "http://other:8080/v2/events?event_type=x");
    api.get("/v2/apps").await.expect(502);
}

#[tokio::test]
async fn metrics_come_as_json_and_for_prometheus() {
    let api = Api::new();
    api.post("/v2/apps", r#"{"id":"/a","cmd":"sleep 1","instances":2}"#).await.expect(201);
    api.world.advance(10);
    let metrics = api.get("/metrics").await.expect(200).json();
    assert_eq!(metrics["gauges"]["marathon.apps.active.gauge"], json!({"value": 1}));
    assert_eq!(metrics["counters"]["marathon.tasks.launched.counter"], json!({"count": 2}));
    let text = api.get("/metrics/prometheus").await.expect(200);
    assert!(text.header("content-type").starts_with("text/plain"));
    let text = String::from_utf8(text.bytes).unwrap();
    assert!(text.contains(
        "# TYPE marathon_instances_running_gauge gauge\nmarathon_instances_running_gauge 2\n"
    ));
    let api = Api::over(World::new(), Options { prometheus: false, ..Options::default() });
    let off = api.get("/metrics/prometheus").await.expect(404).json();
    assert_eq!(off["message"], "Prometheus reporter is disabled");
}

#[tokio::test]
async fn what_is_not_there_says_so_by_name() {
    let api = Api::new();
    for path in ["/v2/pods", "/v2/pods/a", "/v2/pods/::status", "/v2/pods/a%3A%3Astatus"] {
        let answer = api.get(path).await.expect(501).json();
        assert!(answer["message"].as_str().unwrap().contains("pods"), "{path}");
    }
    api.send(http::Method::HEAD, "/v2/pods", "").await.expect(501);
    api.post("/v2/pods", r#"{"id":"/p"}"#).await.expect(501);
    assert_eq!(api.get("/v2/plugins").await.expect(200).json(), json!({"plugins": []}));
    let plugin = api.get("/v2/plugins/x/main.js").await.expect(404).json();
    assert_eq!(plugin["message"], "No plugin with this pluginId: x");
    for path in ["/v2/eventSubscriptions", "/v2/artifacts", "/v2/schemas", "/nowhere", "/v2"] {
        assert!(api.get(path).await.expect(404).json()["message"].is_string());
    }
    api.post("/logging", r#"{"logger":"x","level":"debug"}"#).await.expect(501);
    api.post("/logging", r#"{"logger":"x","level":"loud"}"#).await.expect(422);
    api.get("/config").await.expect(200);
}
