//! State, containers, metrics and the operator's looks.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::rig::{Rig, command, custom};

fn busy() -> Rig {
    let rig = Rig::new();
    rig.launch(command("t1"));
    rig.launch(custom("t2"));
    rig
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn the_state_has_the_documented_keys() {
    let rig = busy();
    let state = rig.get("/state").await.json();
    for key in [
        "version",
        "build_date",
        "build_time",
        "build_user",
        "start_time",
        "id",
        "pid",
        "hostname",
        "capabilities",
        "resources",
        "reserved_resources",
        "unreserved_resources",
        "reserved_resources_full",
        "unreserved_resources_full",
        "reserved_resources_allocated",
        "unreserved_resources_allocated",
        "resource_providers",
        "attributes",
        "flags",
        "frameworks",
        "completed_frameworks",
    ] {
        assert!(state.get(key).is_some(), "{key} is missing: {:?}", keys(&state));
    }
    assert_eq!(state["id"], "a1");
    assert_eq!(state["pid"], "slave(1)@10.0.0.1:5051");
    let resources = json!({
        "cpus": 4.0, "gpus": 0.0, "mem": 1024.0, "disk": 2048.0, "ports": "[31000-32000]",
    });
    assert_eq!(state["resources"], resources);
    assert_eq!(state["unreserved_resources_allocated"]["cpus"], 1.0);
    assert_eq!(state["unreserved_resources_full"][0]["name"], "cpus");
}

#[tokio::test]
async fn frameworks_hold_executors_which_hold_tasks() {
    let rig = busy();
    let state = rig.get("/slave(1)/state").await.json();
    let framework = &state["frameworks"][0];
    assert_eq!((&framework["id"], &framework["role"]), (&json!("f1"), &json!("*")));
    let executors = framework["executors"].as_array().unwrap();
    let find = |id: &str| executors.iter().find(|one| one["id"] == id).unwrap();
    let of_command = find("t1");
    assert_eq!(of_command["name"], "Command Executor (Task: t1) (Command: sh -c 'sleep 100')");
    assert_eq!(of_command["directory"], rig.sandbox("t1").display().to_string());
    let task = &of_command["tasks"][0];
    assert_eq!((&task["id"], &task["executor_id"]), (&json!("t1"), &json!("")));
    assert_eq!(task["state"], "TASK_RUNNING");
    assert_eq!(task["resources"]["ports"], "[31000-31001]");
    assert_eq!(task["labels"], json!([{"key": "team", "value": "sky"}]));
    assert_eq!(task["statuses"][0]["state"], "TASK_STARTING");
    let custom = find("e1");
    assert_eq!((&custom["type"], &custom["tasks"]), (&json!("CUSTOM"), &json!([])));
    assert_eq!(custom["queued_tasks"][0]["id"], "t2");
}

#[tokio::test]
async fn containers_are_measured_and_filtered() {
    let rig = busy();
    let all = rig.get("/containers").await.json();
    assert_eq!(all.as_array().unwrap().len(), 2);
    let one = rig.get("/containers?framework_id=f1&executor_id=t1").await.json();
    let one = &one.as_array().unwrap()[..];
    assert_eq!(one.len(), 1);
    assert_eq!(one[0]["statistics"]["cpus_user_time_secs"], 1.5);
    assert_eq!(one[0]["statistics"]["mem_rss_bytes"], 1 << 20);
    assert_eq!(one[0]["statistics"]["cpus_limit"], 0.5);
    let statistics = &one[0]["statistics"];
    for (name, value) in [
        ("threads", json!(5)),
        ("cpus_nr_throttled", json!(2)),
        ("net_rx_bytes", json!(1010)),
        ("net_rx_packets", json!(2)),
        ("net_tx_bytes", json!(500)),
        ("net_tcp_active_connections", json!(2.0)),
        ("net_tcp_rtt_microsecs_p99", json!(1000.0)),
    ] {
        assert_eq!(statistics[name], value, "{name}");
    }
    assert_eq!(statistics.get("mem_anon_bytes"), None, "the host does not tell it");
    assert_eq!(one[0]["status"]["executor_pid"], 4711);
    let id = one[0]["container_id"].as_str().unwrap();
    let by_id = rig.get(&format!("/containers?container_id={id}")).await.json();
    assert_eq!(by_id.as_array().unwrap().len(), 1);
    let mixed = rig.get(&format!("/containers?container_id={id}&executor_id=t1")).await;
    assert_eq!(mixed.status, StatusCode::BAD_REQUEST);
    let statistics = rig.get("/monitor/statistics").await.json();
    assert_eq!(
        keys(&statistics[0]),
        ["executor_id", "executor_name", "framework_id", "source", "statistics"]
    );
}

#[tokio::test]
async fn metrics_are_there_under_both_sets_of_names() {
    let rig = busy();
    let mesos = rig.get("/metrics/snapshot").await.json();
    assert_eq!(mesos["slave/registered"], 1.0);
    assert_eq!(mesos["slave/tasks_running"], 1.0);
    assert_eq!(mesos["slave/tasks_staging"], 1.0);
    assert_eq!(mesos["slave/cpus_total"], 4.0);
    assert_eq!(mesos["slave/cpus_used"], 1.0);
    assert_eq!(mesos["slave/cpus_percent"], 0.25);
    assert!(mesos["system/mem_total_bytes"].as_f64().unwrap() > 0.0);
    let call = rig.post("/api/v1", json!({"type": "GET_METRICS"})).await.json();
    let listed = call["get_metrics"]["metrics"].as_array().unwrap().len();
    assert_eq!(listed, mesos.as_object().unwrap().len());
    let ours = rig.get("/metrics").await;
    assert!(ours.header("content-type").starts_with("text/plain"));
    for line in [
        "tepui_tasks{state=\"running\"} 1",
        "tepui_agent_registered 1",
        "tepui_agent_cpus 4",
        "tepui_agent_cpus_allocated 1",
        "tepui_agent_memory_bytes 1073741824",
        "tepui_agent_memory_allocated_bytes 67108864",
        "# TYPE tepui_tasks_ended_total counter",
    ] {
        assert!(ours.text().contains(line), "{line} is missing:\n{}", ours.text());
    }
}

#[tokio::test]
async fn every_task_has_its_series() {
    let rig = busy();
    let text = rig.get("/metrics").await.text();
    let sandbox = rig.sandbox("t1");
    let container = sandbox.file_name().unwrap().to_str().unwrap();
    let info = format!(
        "tepui_task_info{{agent=\"a1\",app=\"\",cgroup_id=\"4711\",container=\"{container}\",\
         executor=\"t1\",framework=\"f1\",image=\"\",name=\"t1\",role=\"*\",runtime=\"systemd\",\
         task=\"t1\",unit=\"tepui-task-t1.service\"}} 1"
    );
    let task = "agent=\"a1\",app=\"\",framework=\"f1\"";
    for line in [
        info,
        format!("tepui_task_cpu_seconds_total{{{task},mode=\"user\",role=\"*\",task=\"t1\"}} 1.5"),
        format!(
            "tepui_task_cpu_seconds_total{{{task},mode=\"system\",role=\"*\",task=\"t1\"}} 0.5"
        ),
        format!("tepui_task_memory_used_bytes{{{task},role=\"*\",task=\"e1\"}} 1048576"),
        format!("tepui_task_memory_limit_bytes{{{task},role=\"*\",task=\"t1\"}} 33554432"),
        format!("tepui_task_cpu_limit_cores{{{task},role=\"*\",task=\"t1\"}} 0.5"),
        format!("tepui_task_processes{{{task},role=\"*\",task=\"t1\"}} 3"),
        format!("tepui_task_start_timestamp_seconds{{{task},role=\"*\",task=\"t1\"}} 1700000000"),
    ] {
        assert!(text.contains(&line), "{line} is missing:\n{text}");
    }
    let state = "tepui_task_state{agent=\"a1\",app=\"\",framework=\"f1\",role=\"*\",\
                 state=\"running\",task=\"t1\"} 1";
    assert!(text.contains(state), "{state} is missing:\n{text}");
    let exporter = rig.get("/metrics/mesos").await.text();
    for line in [
        "mesos_slave_cpus{type=\"free\"} 3",
        "mesos_agent_cpus_limit{id=\"t1\",framework_id=\"f1\",source=\"t1\"} 0.5",
        "mesos_agent_mem_limit_bytes{id=\"t1\",framework_id=\"f1\",source=\"t1\"} 33554432",
    ] {
        assert!(exporter.lines().any(|one| one == line), "{line} is not in\n{exporter}");
    }
    assert!(!text.contains("name=\"t2\""), "t2 waits for its executor:\n{text}");
}

#[tokio::test]
async fn a_snapshot_may_be_given_time_but_nonsense_is_refused() {
    let rig = Rig::new();
    assert_eq!(rig.get("/metrics/snapshot?timeout=5secs").await.status, StatusCode::OK);
    for odd in ["5", "secs", "-1secs", "nansecs", "5%20parsecs"] {
        let answer = rig.get(&format!("/metrics/snapshot?timeout={odd}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{odd}");
    }
}

#[tokio::test]
async fn answers_are_padded_for_scripts_of_other_sites() {
    let rig = Rig::new();
    for path in ["/version", "/slave(1)/state", "/metrics/snapshot"] {
        let plain = rig.get(path).await.text();
        let padded = rig.get(&format!("{path}?jsonp=angular.callbacks._0")).await;
        assert_eq!(padded.header("content-type"), "text/javascript");
        let text = padded.text();
        let inner = text.strip_prefix("angular.callbacks._0(").unwrap();
        let inner = inner.strip_suffix(");").unwrap();
        let keys = |text: &str| {
            let value: Value = serde_json::from_str(text).unwrap();
            value.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(keys(inner), keys(&plain), "{path}");
    }
    let injected = rig.get("/version?jsonp=alert(1)//").await;
    assert_eq!(injected.header("content-type"), "application/json");
    let missing = rig.get("/files/browse?path=/x&jsonp=f").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(!missing.text().starts_with("f("));
}

#[tokio::test]
async fn a_container_that_is_not_there_is_unknown_and_a_launch_says_what_is_missing() {
    let rig = busy();
    let sandbox = rig.sandbox("t1");
    let id = sandbox.file_name().unwrap().to_str().unwrap();
    for kind in ["WAIT_CONTAINER", "KILL_CONTAINER", "REMOVE_CONTAINER", "ATTACH_CONTAINER_OUTPUT"]
    {
        let part = kind.to_lowercase();
        let nested = json!({"value": id, "parent": {"value": id}});
        let nested = json!({"type": kind, &part: {"container_id": nested}});
        let gone = if kind == "REMOVE_CONTAINER" { 200 } else { 404 };
        assert_eq!(rig.post("/api/v1", nested).await.status.as_u16(), gone, "{kind}");
    }
    let nested = json!({
        "type": "LAUNCH_NESTED_CONTAINER",
        "launch_nested_container": {"container_id": {"value": "n", "parent": {"value": id}}},
    });
    let nested = rig.post("/api/v1", nested).await;
    assert_eq!(nested.status, StatusCode::BAD_REQUEST);
    assert!(nested.text().contains("nothing to execute"), "{}", nested.text());
}

#[tokio::test]
async fn the_operator_looks_at_everything() {
    let rig = busy();
    let call = |kind: &str| {
        let (rig, call) = (rig.clone(), json!({ "type": kind }));
        async move { rig.post("/api/v1", call).await.json() }
    };
    assert_eq!(call("GET_HEALTH").await["get_health"]["healthy"], true);
    assert_eq!(call("GET_VERSION").await["get_version"]["version_info"]["version"], "1.11.0");
    assert_eq!(call("GET_FLAGS").await["get_flags"]["flags"][0]["name"], "work_dir");
    assert_eq!(call("GET_LOGGING_LEVEL").await["get_logging_level"]["level"], 0);
    let agent = call("GET_AGENT").await;
    assert_eq!(agent["get_agent"]["agent_info"]["hostname"], "host.example");
    let state = call("GET_STATE").await;
    let tasks = &state["get_state"]["get_tasks"];
    assert_eq!(tasks["launched_tasks"][0]["task_id"]["value"], "t1");
    assert_eq!(tasks["queued_tasks"][0]["task_id"]["value"], "t2");
    assert_eq!(call("GET_TASKS").await["get_tasks"], *tasks);
    let executors = call("GET_EXECUTORS").await;
    assert_eq!(executors["get_executors"]["executors"].as_array().unwrap().len(), 2);
    let frameworks = call("GET_FRAMEWORKS").await;
    assert_eq!(frameworks["get_frameworks"]["frameworks"][0]["framework_info"]["name"], "marathon");
    let containers = call("GET_CONTAINERS").await;
    assert_eq!(containers["get_containers"]["containers"].as_array().unwrap().len(), 2);
    assert_eq!(call("GET_OPERATIONS").await["type"], "GET_OPERATIONS");
    assert_eq!(call("GET_RESOURCE_PROVIDERS").await["type"], "GET_RESOURCE_PROVIDERS");
}

#[tokio::test]
async fn what_is_not_here_says_so() {
    let rig = busy();
    let container = json!({"container_id": {"value": "nobody"}});
    for (call, code) in [
        (json!({}), 400),
        (json!({"type": "DANCE"}), 400),
        (json!({"type": "UNKNOWN"}), 501),
        (json!({"type": "LIST_FILES"}), 400),
        (json!({"type": "KILL_CONTAINER"}), 400),
        (json!({"type": "KILL_CONTAINER", "kill_container": container}), 404),
        (json!({"type": "WAIT_CONTAINER", "wait_container": container}), 404),
        (json!({"type": "REMOVE_CONTAINER", "remove_container": container}), 200),
        (json!({"type": "LAUNCH_CONTAINER", "launch_container": container}), 400),
        (json!({"type": "LAUNCH_CONTAINER"}), 400),
        (json!({"type": "PRUNE_IMAGES"}), 200),
    ] {
        let answer = rig.post("/api/v1", call.clone()).await;
        assert_eq!(answer.status.as_u16(), code, "{call}: {}", answer.text());
    }
}

#[tokio::test]
async fn the_small_endpoints_answer() {
    let rig = Rig::new();
    let health = rig.get("/health").await;
    assert_eq!((health.status, health.body.len()), (StatusCode::OK, 0));
    assert_eq!(rig.get("/version").await.json()["version"], "1.11.0");
    assert_eq!(rig.get("/flags").await.json()["flags"]["work_dir"], "/var/lib/tepui");
    assert_eq!(rig.get("/containerizer/debug").await.json(), json!({"pending": []}));
    assert!(rig.get("/system/stats.json").await.json()["cpus_total"].is_number());
    assert_eq!(rig.get("/nowhere").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_host_without_images_lists_none() {
    let rig = Rig::new();
    let images = rig.get("/tepui/v1/images").await.json();
    assert_eq!(images, json!({"images": [], "pulls": []}));
}

#[tokio::test]
async fn what_of_the_kernel_serves_the_agent_is_told() {
    let rig = busy();
    let kernel = rig.get("/tepui/v1/kernel").await.json();
    assert_eq!(kernel["port_enforcement"], json!({"mode": "deny", "by": "kernel", "reason": null}));
    assert_eq!(kernel["figures"][0], json!({"figure": "cpu time", "source": "cpu.stat"}));
    let metrics = rig.get("/metrics").await.text();
    for line in [
        "tepui_agent_port_enforcement 1",
        "tepui_agent_network_repairs_total{what=\"rules\"} 0",
        "tepui_ebpf_program_run_seconds_total{program=\"tepui_bind4\"} 0.25",
        "tepui_ebpf_program_runs_total{program=\"tepui_bind4\"} 1000",
        "tepui_ebpf_map_entries{map=\"cpu_use\"} 2",
        "tepui_task_network_bytes_total{agent=\"a1\",app=\"\",direction=\"received\",framework=\"f1\",\
         proto=\"tcp\",role=\"*\",task=\"t1\"} 1000",
        "tepui_task_port_denied_total{agent=\"a1\",app=\"\",framework=\"f1\",op=\"bind\",role=\"*\",\
         task=\"t1\"} 4",
        "tepui_task_process_ends_total{agent=\"a1\",app=\"\",framework=\"f1\",how=\"failure\",role=\"*\",\
         task=\"t1\"} 2",
        "tepui_task_network_tcp_rtt_seconds_bucket{agent=\"a1\",app=\"\",framework=\"f1\",role=\"*\",\
         task=\"t1\",le=\"0.001\"} 2",
        "tepui_task_network_tcp_rtt_seconds_count{agent=\"a1\",app=\"\",framework=\"f1\",role=\"*\",\
         task=\"t1\"} 2",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line} is not in\n{metrics}");
    }
}
