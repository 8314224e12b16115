use serde_json::{Value, json};

use crate::rig::{Api, World};

const WEB: &str = r#"{"id":"/t/web","cmd":"sleep 1000","labels":{"tier":"front"}}"#;

#[tokio::test]
async fn a_created_app_is_answered_whole_and_then_runs() {
    let api = Api::new();
    let created = api.post("/v2/apps", r#"{"id":"/t/web","cmd":"sleep 1000"}"#).await.expect(201);
    let body = created.json();
    let deployment = body["deployments"][0]["id"].as_str().unwrap();
    assert_eq!(created.header("location"), "/t/web");
    assert_eq!(created.header("marathon-deployment-id"), deployment);
    let version = body["version"].clone();
    assert_eq!(
        body,
        json!({
            "id": "/t/web", "cmd": "sleep 1000", "backoffFactor": 1.15, "backoffSeconds": 1,
            "cpus": 1, "disk": 0, "executor": "", "instances": 1, "labels": {},
            "maxLaunchDelaySeconds": 300, "mem": 128, "gpus": 0, "networks": [{"mode": "host"}],
            "portDefinitions": [{"port": 10000, "name": "default", "protocol": "tcp"}],
            "requirePorts": false,
            "upgradeStrategy": {"maximumOverCapacity": 1, "minimumHealthCapacity": 1},
            "version": version,
            "versionInfo": {"lastScalingAt": version, "lastConfigChangeAt": version},
            "killSelection": "YOUNGEST_FIRST",
            "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
            "role": "*", "tasksStaged": 0, "tasksRunning": 0, "tasksHealthy": 0,
            "tasksUnhealthy": 0, "deployments": [{"id": deployment}]
        })
    );
    api.world.advance(10);
    let app = api.app("/t/web").await;
    assert_eq!((&app["tasksRunning"], &app["deployments"]), (&json!(1), &json!([])));
    let task = &app["tasks"][0];
    assert_eq!((&task["appId"], &task["host"]), (&json!("/t/web"), &json!("node1")));
    assert_eq!((&task["state"], &task["servicePorts"]), (&json!("TASK_RUNNING"), &json!([10000])));
    assert_eq!(task["version"], version);
}

#[tokio::test]
async fn what_exists_or_is_missing_is_said_in_the_documented_words() {
    let api = Api::new();
    api.post("/v2/apps", WEB).await.expect(201);
    let again = api.post("/v2/apps", WEB).await.expect(409).json();
    assert_eq!(again["message"], "An app with id [/t/web] already exists.");
    for (path, message) in [
        ("/v2/apps/none", "App '/none' does not exist"),
        ("/v2/apps/None_X", "App '/None_X' does not exist"),
        ("/v2/apps/none/tasks", "App '/none' does not exist"),
        ("/v2/apps/none/versions", "App '/none' does not exist"),
        ("/v2/apps/none/*", "Group '/none' does not exist"),
        ("/v2/groups/none", "Group '/none' does not exist"),
        (
            "/v2/apps/t/web/versions/2020-01-01T00:00:00.000Z",
            "App '/t/web' does not exist in version 2020-01-01T00:00:00.000Z",
        ),
    ] {
        assert_eq!(api.get(path).await.expect(404).json(), json!({ "message": message }), "{path}");
    }
    for path in ["/v2/apps/none", "/v2/apps/none/tasks"] {
        let gone = api.delete(path).await.expect(404).json();
        assert_eq!(gone["message"], "App '/none' does not exist");
    }
    let patch = api.patch("/v2/apps/none", r#"{"instances":1}"#).await.expect(404);
    assert_eq!(patch.json()["message"], "App '/none' does not exist");
    let bad = api.get("/v2/apps/t/web/versions/soon").await.expect(422).json();
    assert_eq!(
        bad["message"],
        "Invalid timestamp provided 'soon'. Expecting ISO-8601 datetime string."
    );
}

#[tokio::test]
async fn updates_scale_change_and_create() {
    let api = Api::new();
    api.post("/v2/apps", WEB).await.expect(201);
    api.world.advance(10);
    let scaled = api.put("/v2/apps//t/web", r#"{"instances":3}"#).await.expect(200);
    assert!(!scaled.header("marathon-deployment-id").is_empty());
    assert!(scaled.json()["version"].is_string());
    api.world.advance(10);
    let app = api.app("/t/web").await;
    assert_eq!((&app["instances"], &app["tasksRunning"]), (&json!(3), &json!(3)));
    assert_eq!(app["labels"], json!({"tier": "front"}));
    // Without partialUpdate what is left out gets its default.
    let whole = r#"{"cmd":"sleep 2000","instances":1,"version":"2020-01-01T00:00:00.000Z"}"#;
    api.put("/v2/apps/t/web?partialUpdate=False", whole).await.expect(200);
    api.world.advance(60);
    let app = api.app("/t/web").await;
    assert_eq!((&app["cmd"], &app["labels"]), (&json!("sleep 2000"), &json!({})));
    assert_eq!(app["tasksRunning"], 1);
    let new = api.put("/v2/apps/t/new", r#"{"id":"ignored","cmd":"sleep 1"}"#).await.expect(201);
    assert_eq!(new.header("location"), "/t/new");
    api.world.advance(10);
    let both = r#"[{"id":"/t/new","instances":2},{"id":"/t/third","cmd":"sleep 3"}]"#;
    api.put("/v2/apps", both).await.expect(200);
    api.world.advance(10);
    assert_eq!(api.app("/t/new").await["tasksRunning"], 2);
    assert_eq!(api.app("/t/third").await["tasksRunning"], 1);
    let missing = r#"[{"id":"/t/new","instances":1},{"id":"/t/fourth","instances":3}]"#;
    api.patch("/v2/apps", missing).await.expect(404);
}

#[tokio::test]
async fn an_app_returns_to_an_earlier_version() {
    let api = Api::new();
    let first = api.post("/v2/apps", WEB).await.expect(201).json()["version"].clone();
    api.world.advance(10);
    api.put("/v2/apps/t/web", r#"{"cmd":"sleep 2"}"#).await.expect(200);
    api.world.advance(60);
    let versions = api.get("/v2/apps/t/web/versions").await.expect(200).json();
    let versions = versions["versions"].as_array().unwrap();
    assert_eq!((versions.len(), &versions[1]), (2, &first));
    let path = format!("/v2/apps/t/web/versions/{}", first.as_str().unwrap());
    let old = api.get(&path).await.expect(200).json();
    assert_eq!((&old["cmd"], &old["version"]), (&json!("sleep 1000"), &first));
    let rollback = json!({ "version": first }).to_string();
    api.put("/v2/apps/t/web", &rollback).await.expect(200);
    api.world.advance(60);
    assert_eq!(api.app("/t/web").await["cmd"], "sleep 1000");
    let mixed = json!({"version": first, "cmd": "sleep 9"}).to_string();
    api.put("/v2/apps/t/web", &mixed).await.expect(422);
}

#[tokio::test]
async fn a_locked_app_names_the_deployment_in_the_way() {
    let api = Api::new();
    api.world.hold_launches();
    let id = api.post("/v2/apps", WEB).await.expect(201).json()["deployments"].clone();
    let locked = api.put("/v2/apps/t/web", r#"{"cmd":"sleep 5"}"#).await.expect(409).json();
    assert_eq!(
        locked,
        json!({
            "message": "App is locked by one or more deployments. Override with the option \
                        '?force=true'. View details at '/v2/deployments/<DEPLOYMENT_ID>'.",
            "deployments": id
        })
    );
    api.post("/v2/apps/t/web/restart", "").await.expect(409);
    api.put("/v2/apps/t/web?force=True", r#"{"cmd":"sleep 5"}"#).await.expect(200);
    // Deletion is forced unless the client says otherwise.
    api.delete("/v2/apps/t/web?force=false").await.expect(409);
    api.delete("/v2/apps/t/web").await.expect(200);
}

#[tokio::test]
async fn lists_filter_by_command_id_and_labels() {
    let api = Api::new();
    api.post("/v2/apps", WEB).await.expect(201);
    api.post("/v2/apps", r#"{"id":"/db","cmd":"run DB","labels":{"tier":"back"}}"#)
        .await
        .expect(201);
    api.world.advance(10);
    let ids = async |query: &str| -> Vec<Value> {
        let list = api.get(&format!("/v2/apps/?{query}")).await.expect(200).json();
        list["apps"].as_array().unwrap().iter().map(|app| app["id"].clone()).collect()
    };
    assert_eq!(ids("").await, ["/db", "/t/web"]);
    assert_eq!(ids("cmd=db").await, ["/db"]);
    assert_eq!(ids("id=WEB").await, ["/t/web"]);
    assert_eq!(ids("label=tier%3D%3Dback").await, ["/db"]);
    assert_eq!(ids("label=tier%20in%20(front,%20back),tier!=back").await, ["/t/web"]);
    let bad = api.get("/v2/apps?label=%3D").await.expect(422).json();
    assert!(bad["message"].as_str().unwrap().starts_with("Can not parse label selector"));
    let list = api.get("/v2/apps?embed=apps.tasks&embed=apps.taskStats").await.json();
    assert_eq!(list["apps"][0]["tasks"].as_array().unwrap().len(), 1);
    assert!(list["apps"][0]["taskStats"].is_object());
    let plain = api.get("/v2/apps").await.json();
    assert!(plain["apps"][0].get("tasks").is_none());
    let below = api.get("/v2/apps//t/*").await.expect(200).json();
    assert_eq!(below["*"][0]["id"], "/t/web");
    assert_eq!(api.get("/v2/apps//*").await.json()["*"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn tasks_are_listed_killed_and_killed_with_scaling() {
    let api = Api::new();
    api.post("/v2/apps", r#"{"id":"/t/web","cmd":"sleep 1000","instances":3}"#).await.expect(201);
    api.world.advance(10);
    let tasks = api.get("/v2/apps/t/web/tasks").await.expect(200).json()["tasks"].clone();
    let ids: Vec<&str> =
        tasks.as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 3);
    assert_eq!(
        api.get("/v2/tasks?status=running").await.json()["tasks"].as_array().unwrap().len(),
        3
    );
    assert_eq!(api.get("/v2/tasks?status[]=staging").await.json(), json!({"tasks": []}));
    assert_eq!(api.get("/v2/apps/t/*/tasks").await.json()["tasks"].as_array().unwrap().len(), 3);
    let killed = api.delete(&format!("/v2/apps/t/web/tasks/{}", ids[0])).await.expect(200).json();
    assert_eq!(killed["task"]["id"], ids[0]);
    api.world.advance(10);
    assert_eq!(api.app("/t/web").await["tasksRunning"], 3);
    let scaled =
        api.delete(&format!("/v2/apps/t/web/tasks/{}?scale=true", ids[1])).await.expect(200);
    assert!(!scaled.header("marathon-deployment-id").is_empty());
    api.world.advance(10);
    assert_eq!(api.app("/t/web").await["instances"], 2);
    let body = json!({ "ids": [ids[2], ids[1]] }).to_string();
    let killed = api.post("/v2/tasks/delete", &body).await.expect(200).json();
    assert_eq!(killed["tasks"].as_array().unwrap().len(), 1);
    let malformed = api.post("/v2/tasks/delete", r#"{"ids":["../x"]}"#).await.expect(400).json();
    assert!(malformed["message"].as_str().unwrap().starts_with("Invalid task id '../x'."));
    let both = api.delete("/v2/apps/t/web/tasks?scale=true&wipe=true").await.expect(400).json();
    assert_eq!(both["message"], "You cannot use scale and wipe at the same time.");
    api.world.advance(20);
    let other = api.delete("/v2/apps/t/web/tasks?host=node2").await.expect(200).json();
    assert_eq!(other, json!({"tasks": []}));
    let all = api.delete("/v2/apps/t/web/tasks?host=node1").await.expect(200).json();
    assert_eq!(all["tasks"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_app_that_fits_nowhere_waits_with_its_reasons() {
    let api = Api::over(World::with_cpus(4.0), tepui_rest::Options::default());
    api.post("/v2/apps", r#"{"id":"/t/huge","cmd":"sleep 1","cpus":10000}"#).await.expect(201);
    api.world.advance(10);
    let queue = api.get("/v2/queue?embed=lastUnusedOffers").await.expect(200).json();
    let item = &queue["queue"][0];
    assert_eq!((&item["count"], &item["app"]["id"]), (&json!(1), &json!("/t/huge")));
    let reasons = item["processedOffersSummary"]["rejectSummaryLastOffers"].as_array().unwrap();
    assert_eq!(reasons.len(), 10);
    assert_eq!(reasons[4], json!({"reason": "InsufficientCpus", "declined": 1, "processed": 1}));
    assert_eq!(item["lastUnusedOffers"][0]["reason"], json!(["InsufficientCpus"]));
    assert!(item.get("role").is_none());
    api.delete("/v2/queue//t/huge/delay").await.expect(204);
    let unknown = api.delete("/v2/queue/t/none/delay").await.expect(404).json();
    assert_eq!(unknown["message"], "Application /t/none not found in tasks queue.");
}

#[tokio::test]
async fn deployments_are_listed_rolled_back_and_stopped() {
    let api = Api::new();
    api.world.hold_launches();
    let id =
        api.post("/v2/apps", WEB).await.expect(201).header("marathon-deployment-id").to_owned();
    let list = api.get("/v2/deployments").await.expect(200).json();
    assert_eq!((&list[0]["id"], &list[0]["affectedApps"]), (&json!(id), &json!(["/t/web"])));
    assert_eq!(list[0]["currentStep"], 2);
    let path = format!("/v2/deployments/{id}");
    let rollback = api.delete(&path).await.expect(200).json();
    assert_ne!(rollback["deploymentId"], id);
    let gone = api.delete(&path).await.expect(404).json();
    assert_eq!(gone["message"], format!("DeploymentPlan {id} does not exist"));
    api.delete("/v2/deployments/nonsense").await.expect(404);
    let id = api
        .post("/v2/apps", r#"{"id":"/b","cmd":"sleep 1"}"#)
        .await
        .expect(201)
        .header("marathon-deployment-id")
        .to_owned();
    let stopped = api.delete(&format!("/v2/deployments/{id}?force=true")).await.expect(202);
    assert!(stopped.bytes.is_empty());
}
