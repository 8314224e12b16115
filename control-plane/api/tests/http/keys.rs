//! The key sets that legacy clients read (`spec/mesos-http.md` 4.1, 4.3): exactly these.

use serde_json::{Value as Json, json};

use crate::client::{Rig, config};
use crate::scenes::{agent_info, busy, framework_info, subscribe, subscribe_as};

/// Keys of an object: those named must be there, those with `?` may be, no others.
#[track_caller]
fn keys(what: &str, object: &Json, expected: &str) {
    let object = object.as_object().unwrap_or_else(|| panic!("{what} is no object"));
    for name in expected.split_whitespace().filter(|name| !name.ends_with('?')) {
        assert!(object.contains_key(name), "{what} has no {name}: {:?}", object.keys());
    }
    for key in object.keys() {
        let known = expected.split_whitespace().any(|name| name.trim_end_matches('?') == key);
        assert!(known, "{what} has a key of its own: {key}");
    }
}

const RESOURCES: &str = "cpus gpus mem disk ports?";
const COUNTERS: &str = "TASK_STAGING TASK_STARTING TASK_RUNNING TASK_KILLING TASK_FINISHED \
     TASK_KILLED TASK_FAILED TASK_LOST TASK_ERROR TASK_UNREACHABLE";
const AGENT: &str = "id hostname port attributes domain? pid registered_time reregistered_time? \
     resources used_resources offered_resources reserved_resources unreserved_resources active \
     deactivated version capabilities drain_info? estimated_drain_start_time_seconds?";
const TASK: &str = "id name framework_id executor_id slave_id state resources limits? role \
     statuses user? labels? discovery? container? health_check?";
const FRAMEWORK: &str = "id name used_resources offered_resources capabilities hostname webui_url \
     active connected recovered user failover_timeout checkpoint registered_time \
     unregistered_time principal? resources reregistered_time? role? roles? tasks \
     unreachable_tasks completed_tasks offers executors labels? offer_constraints";

#[track_caller]
fn check_agent(agent: &Json, more: &str) {
    keys("slave", agent, &format!("{AGENT} {more}"));
    for name in ["resources", "used_resources", "offered_resources", "unreserved_resources"] {
        keys(name, &agent[name], RESOURCES);
    }
    for (role, reserved) in agent["reserved_resources"].as_object().unwrap() {
        keys(role, reserved, RESOURCES);
    }
}

#[track_caller]
fn check_task(task: &Json) {
    keys("task", task, TASK);
    keys("task's resources", &task["resources"], RESOURCES);
    for status in task["statuses"].as_array().unwrap() {
        keys("status", status, "state timestamp labels? container_status? healthy?");
    }
}

#[track_caller]
fn check_framework(framework: &Json) {
    keys("framework", framework, FRAMEWORK);
    assert_ne!(framework.get("role").is_some(), framework.get("roles").is_some());
    for name in ["used_resources", "offered_resources", "resources"] {
        keys(name, &framework[name], RESOURCES);
    }
    for list in ["tasks", "unreachable_tasks", "completed_tasks"] {
        framework[list].as_array().unwrap().iter().for_each(check_task);
    }
    for offer in framework["offers"].as_array().unwrap() {
        keys("offer", offer, "id framework_id allocation_info slave_id resources");
        keys("allocation_info", &offer["allocation_info"], "role");
        keys("offer's resources", &offer["resources"], RESOURCES);
    }
    for executor in framework["executors"].as_array().unwrap() {
        let expected =
            "executor_id name framework_id command resources role? labels? type? slave_id";
        keys("executor", executor, expected);
        keys("command", &executor["command"], "shell? value? argv environment? uris");
        for uri in executor["command"]["uris"].as_array().unwrap() {
            keys("uri", uri, "value executable");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn state_has_the_keys_of_mesos() {
    let busy = busy().await;
    let state = busy.rig.get("/state").await.json();
    keys(
        "state",
        &state,
        "version git_sha? git_branch? git_tag? build_date build_time build_user start_time \
         elected_time? id pid hostname capabilities activated_slaves deactivated_slaves \
         unreachable_slaves domain? leader leader_info cluster? log_dir? external_log_file? flags \
         slaves recovered_slaves frameworks completed_frameworks orphan_tasks \
         unregistered_frameworks",
    );
    keys("leader_info", &state["leader_info"], "id pid port hostname domain?");
    assert_eq!(state["pid"], "master@10.0.0.1:5050");
    assert_eq!(state["leader"], state["pid"]);
    assert_eq!(state["activated_slaves"], 1);
    assert_eq!(state["orphan_tasks"], json!([]));
    check_agent(&state["slaves"][0], "");
    check_framework(&state["frameworks"][0]);
    check_framework(&state["completed_frameworks"][0]);
    let framework = &state["frameworks"][0];
    assert_eq!(framework["tasks"].as_array().unwrap().len(), 2);
    assert_eq!(framework["completed_tasks"].as_array().unwrap().len(), 1);
    assert_eq!(framework["offers"].as_array().unwrap().len(), 1);
    assert_eq!(framework["executors"].as_array().unwrap().len(), 1);
    assert_eq!(framework["labels"], json!([{ "key": "team", "value": "a" }, { "key": "bare" }]));
}

#[tokio::test(start_paused = true)]
async fn values_have_the_forms_of_mesos() {
    let busy = busy().await;
    let state = busy.rig.get("/state").await.json();
    let agent = &state["slaves"][0];
    assert_eq!(agent["pid"], "slave(1)@a1.test:5051");
    assert_eq!(agent["attributes"], json!({ "rack": "r1", "level": 1.5 }));
    assert_eq!(
        agent["domain"]["fault_domain"],
        json!({ "region": { "name": "north" }, "zone": { "name": "n1" } })
    );
    assert_eq!(agent["resources"]["ports"], "[31000-31009]");
    assert_eq!(agent["resources"]["mem"], 4608);
    assert_eq!(agent["unreserved_resources"]["mem"], 4096);
    assert_eq!(agent["reserved_resources"]["web"]["mem"], 512);
    assert_eq!(agent["used_resources"]["cpus"], 2.1);
    assert_eq!(agent["registered_time"], 1_700_000_000.0);
    let tasks = busy.rig.get("/tasks?task_id=plain").await.json();
    let task = &tasks["tasks"][0];
    assert_eq!(task["executor_id"], "");
    assert_eq!(task["state"], "TASK_RUNNING");
    assert_eq!(task["role"], "*");
    assert_eq!(task["statuses"][0]["state"], "TASK_RUNNING");
    let container = &task["statuses"][0]["container_status"];
    keys("container_status", container, "container_id network_infos cgroup_info? executor_pid?");
    assert_eq!(container["container_id"]["value"], "c1");
    let network = &container["network_infos"][0];
    keys("network_info", network, "groups? labels? ip_addresses name? port_mappings?");
    let address = json!({ "protocol": "IPv4", "ip_address": "10.0.0.2" });
    assert_eq!(network["ip_addresses"], json!([address]));
    let executor = &state["frameworks"][0]["executors"][0];
    let variables = &executor["command"]["environment"]["variables"];
    assert_eq!((&variables[0]["name"], &variables[0]["value"]), (&json!("A"), &json!("1")));
    let tasks = busy.rig.get("/tasks?task_id=custom").await.json();
    assert_eq!(tasks["tasks"][0]["executor_id"], "e1");
    assert_eq!(tasks["tasks"][0]["discovery"]["visibility"], "CLUSTER");
    assert_eq!(tasks["tasks"][0]["labels"], json!([{ "key": "app", "value": "b" }]));
}

#[tokio::test(start_paused = true)]
async fn the_summary_counts_tasks_by_state() {
    let busy = busy().await;
    let summary = busy.rig.get("/state-summary").await.json();
    keys("summary", &summary, "hostname cluster? slaves frameworks");
    check_agent(&summary["slaves"][0], &format!("{COUNTERS} framework_ids"));
    assert_eq!(summary["slaves"][0]["TASK_RUNNING"], 2);
    assert_eq!(summary["slaves"][0]["framework_ids"], json!([busy.framework.id]));
    let framework = &summary["frameworks"][0];
    keys(
        "framework",
        framework,
        &format!(
            "id name pid? used_resources offered_resources capabilities hostname webui_url active \
             connected recovered slave_ids {COUNTERS}"
        ),
    );
    assert_eq!(framework["TASK_FINISHED"], 1);
    assert_eq!(framework["slave_ids"], json!([busy.agent.id.as_str()]));
}

#[tokio::test(start_paused = true)]
async fn slaves_shows_resources_in_full() {
    let busy = busy().await;
    let slaves = busy.rig.get("/slaves").await.json();
    keys("slaves", &slaves, "slaves recovered_slaves");
    check_agent(
        &slaves["slaves"][0],
        "reserved_resources_full unreserved_resources_full used_resources_full \
         offered_resources_full",
    );
    let agent = &slaves["slaves"][0];
    let reserved = &agent["reserved_resources_full"]["web"][0];
    assert_eq!((&reserved["name"], &reserved["role"]), (&json!("mem"), &json!("web")));
    let used = agent["used_resources_full"].as_array().unwrap();
    assert!(used.iter().any(|one| one["name"] == "cpus" && one["scalar"]["value"] == 2.1));
}

#[tokio::test(start_paused = true)]
async fn frameworks_and_roles_have_the_keys_of_mesos() {
    let busy = busy().await;
    let frameworks = busy.rig.get("/frameworks").await.json();
    keys("frameworks", &frameworks, "frameworks completed_frameworks unregistered_frameworks");
    check_framework(&frameworks["frameworks"][0]);
    assert_eq!(frameworks["completed_frameworks"][0]["name"], "removed");
    let roles = busy.rig.get("/roles").await.json();
    keys("roles", &roles, "roles");
    for role in roles["roles"].as_array().unwrap() {
        keys("role", role, "name weight quota resources allocated offered reserved frameworks");
        keys("quota", &role["quota"], "role guarantee limit consumed");
    }
    let names: Vec<&str> = roles["roles"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|role| role["name"].as_str())
        .collect();
    assert_eq!(names, ["*", "web"]);
    assert_eq!(roles["roles"][1]["reserved"]["mem"], 512);
}

#[tokio::test(start_paused = true)]
async fn a_framework_of_several_roles_shows_them() {
    let rig = Rig::new();
    rig.plane.agent(agent_info("a1.test"));
    let mut info = framework_info("many");
    info["roles"] = json!(["a/b", "c"]);
    info["capabilities"] = json!([{ "type": "MULTI_ROLE" }]);
    let _framework = subscribe_as(&rig, &info).await;
    let shown = rig.get("/frameworks").await.json();
    let framework = &shown["frameworks"][0];
    check_framework(framework);
    assert_eq!(framework["roles"], json!(["a/b", "c"]));
    assert_eq!(framework["capabilities"], json!(["MULTI_ROLE"]));
    assert_eq!(framework.get("role"), None);
    let roles = rig.get("/roles").await.json();
    let names: Vec<&Json> = roles["roles"].as_array().unwrap().iter().map(|r| &r["name"]).collect();
    assert_eq!(names, ["a", "a/b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn small_answers_have_the_keys_of_mesos() {
    let rig = Rig::new();
    let version = rig.get("/version").await.json();
    let expected = "build_date build_time build_user git_branch? git_sha? git_tag? version";
    keys("version", &version, expected);
    assert!(version["build_date"].is_string() && version["build_time"].is_number());
    let flags = rig.get("/flags").await.json();
    assert_eq!(flags, json!({ "flags": { "port": "5050" } }));
    let stats = rig.get("/system/stats.json").await.json();
    keys(
        "stats",
        &stats,
        "avg_load_1min avg_load_5min avg_load_15min cpus_total mem_total_bytes mem_free_bytes",
    );
    assert_eq!(rig.get("/weights").await.json(), json!([]));
    assert_eq!(rig.get("/quota").await.json(), json!({ "infos": [], "configs": [] }));
    assert_eq!(rig.get("/maintenance/schedule").await.json(), json!({ "windows": [] }));
    let maintenance = rig.get("/maintenance/status").await.json();
    assert_eq!(maintenance, json!({ "draining_machines": [], "down_machines": [] }));
}

#[tokio::test(start_paused = true)]
async fn agents_that_have_not_come_back_are_listed() {
    let plane = crate::plane::TestPlane::waiting(config());
    plane.recover(agent_info("a9.test"));
    let rig = Rig::over(plane);
    for path in ["/state", "/slaves"] {
        let answer = rig.get(path).await.json();
        let recovered = &answer["recovered_slaves"][0];
        keys("recovered slave", recovered, "id hostname port attributes domain?");
        assert_eq!(recovered["hostname"], "a9.test");
        assert_eq!(recovered["domain"]["fault_domain"]["zone"]["name"], "n1");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unsubscribed_framework_is_shown_as_inactive() {
    let rig = Rig::new();
    drop(subscribe(&rig, "left").await);
    let shown = rig.get("/frameworks").await.json();
    let framework = &shown["frameworks"][0];
    check_framework(framework);
    assert_eq!((&framework["active"], &framework["connected"]), (&json!(false), &json!(false)));
}

#[tokio::test(start_paused = true)]
async fn tasks_of_an_unreachable_agent_are_listed_apart() {
    let busy = busy().await;
    busy.rig.plane.lose(&busy.agent);
    busy.rig.plane.advance(tepui_types::Span::from_secs(601));
    let state = busy.rig.get("/state").await.json();
    assert_eq!((&state["unreachable_slaves"], &state["slaves"]), (&json!(1), &json!([])));
    let framework = &state["frameworks"][0];
    check_framework(framework);
    assert_eq!(framework["tasks"], json!([]));
    assert_eq!(framework["unreachable_tasks"].as_array().unwrap().len(), 2);
    let summary = busy.rig.get("/state-summary").await.json();
    assert_eq!(summary["frameworks"][0]["TASK_UNREACHABLE"], 2);
    let tasks = busy.rig.get("/tasks").await.json();
    assert_eq!(tasks["tasks"].as_array().unwrap().len(), 3);
}
