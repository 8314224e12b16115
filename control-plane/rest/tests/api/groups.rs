use serde_json::json;

use crate::rig::Api;

const SHOP: &str = r#"{"id":"/shop","groups":[{"id":"back","apps":[{"id":"db","cmd":"run db"}]}],
    "apps":[{"id":"web","cmd":"run web","dependencies":["/shop/back"],"instances":2}]}"#;

#[tokio::test]
async fn a_group_is_created_whole_and_shown_with_what_is_asked_for() {
    let api = Api::new();
    let created = api.post("/v2/groups", SHOP).await.expect(201);
    assert_eq!(created.header("location"), "/shop");
    assert_eq!(created.header("marathon-deployment-id"), created.json()["deploymentId"]);
    api.world.advance(20);
    let group = api.get("/v2/groups//shop").await.expect(200).json();
    assert_eq!(group["apps"][0]["id"], "/shop/web");
    assert_eq!(group["groups"][0]["apps"][0]["id"], "/shop/back/db");
    assert_eq!(group["pods"], json!([]));
    assert!(group.get("enforceRole").is_none());
    let narrow = api.get("/v2/groups/shop?embed=group.apps&embed=group.apps.counts").await.json();
    assert_eq!(narrow["apps"][0]["tasksRunning"], 2);
    assert!(narrow.get("groups").is_none());
    let apps = api.get("/v2/groups/shop/apps").await.expect(200).json();
    assert_eq!(apps.as_array().unwrap().len(), 2);
    let again = api.post("/v2/groups", SHOP).await.expect(409).json();
    assert_eq!(again["message"], "Group /shop is already created. Use PUT to change this group.");
    let nested = api.post("/v2/groups/shop", r#"{"id":"extra"}"#).await.expect(201);
    assert_eq!(nested.header("location"), "/shop/extra");
    api.post("/v2/groups", "{}").await.expect(422);
}

#[tokio::test]
async fn a_dry_run_tells_the_steps_and_changes_nothing() {
    let api = Api::new();
    let steps = api.put("/v2/groups?dryRun=true", SHOP).await.expect(200).json();
    assert_eq!(
        steps["steps"][0]["actions"],
        json!([
            {"action": "StartApplication", "app": "/shop/back/db"},
            {"action": "StartApplication", "app": "/shop/web"}
        ])
    );
    api.get("/v2/groups/shop").await.expect(404);
}

#[tokio::test]
async fn groups_scale_roll_back_and_go() {
    let api = Api::new();
    let first = api.post("/v2/groups", SHOP).await.expect(201).json()["version"].clone();
    api.world.advance(20);
    api.put("/v2/groups/shop", r#"{"scaleBy":2}"#).await.expect(200);
    api.world.advance(20);
    assert_eq!(api.app("/shop/web").await["instances"], 4);
    api.put("/v2/groups/shop", r#"{"scaleBy":2,"apps":[]}"#).await.expect(422);
    let versions = api.get("/v2/groups/shop/versions").await.expect(200).json();
    assert!(versions.as_array().unwrap().contains(&first));
    let first = first.as_str().unwrap();
    let old = api.get(&format!("/v2/groups/shop/versions/{first}")).await.expect(200).json();
    assert_eq!(old["apps"][0]["instances"], 2);
    api.put(&format!("/v2/groups/shop/versions/{first}"), "").await.expect(200);
    api.world.advance(20);
    assert_eq!(api.app("/shop/web").await["instances"], 2);
    let body = json!({ "version": first }).to_string();
    api.put("/v2/groups/shop", &body).await.expect(200);
    api.get("/v2/groups/shop/versions/2020-01-01T00:00:00.000Z").await.expect(404);
    api.delete("/v2/groups/shop").await.expect(200);
    api.world.advance(20);
    api.get("/v2/groups/shop").await.expect(404);
    assert_eq!(api.get("/v2/apps").await.json(), json!({"apps": []}));
}

#[tokio::test]
async fn errors_inside_a_group_name_their_place() {
    let api = Api::new();
    let body = r#"{"id":"/g","apps":[{"id":"a","cmd":"run a"},{"id":"b"}]}"#;
    let error = api.post("/v2/groups", body).await.expect(422).json();
    assert_eq!(error["message"], "Object is not valid");
    assert_eq!(error["details"][0]["path"], "/apps(1)");
    let body = r#"{"id":"/g","apps":[{"id":"a","cmd":5}]}"#;
    let error = api.post("/v2/groups", body).await.expect(422).json();
    assert_eq!(error["details"][0]["path"], "/apps(0)/cmd");
}

#[tokio::test]
async fn role_policies_are_for_top_level_groups() {
    let api = Api::new();
    api.post("/v2/groups", SHOP).await.expect(201);
    api.world.advance(20);
    let set = api.patch("/v2/groups/shop", r#"{"enforceRole":true}"#).await.expect(200);
    assert!(set.bytes.is_empty());
    assert_eq!(api.get("/v2/groups/shop").await.json()["enforceRole"], true);
    api.patch("/v2/groups/shop/back", r#"{"enforceRole":true}"#).await.expect(422);
}
