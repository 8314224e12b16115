//! What clients see of tasks, deployments, the queue and events: the worked examples of
//! `marathon-api.md` section 12 and the key sets of section 9.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::sync::Arc;

use serde_json::{Value, json};
use tepui_marathon::{
    Action, ActionKind, App, AppId, AppInfo, CurrentAction, Deployment, DeploymentRef, Event,
    EventPayload, Group, GroupInfo, InstanceId, IpAddress, IpProtocol, PathId, Plan,
    ProcessedOffersSummary, Queue, QueueDelay, QueueItem, RejectReason, Settings, Step, StepPlan,
    Task, TaskCounts, TaskId, Version, decode_app,
};
use tepui_types::{Role, TaskState, Uuid};

const TASK: &str = "t_web.instance-11112222-3333-11ea-8000-0242ac110002._app.1";
const DEPLOYMENT: &str = "7f0c6c5e-0000-4000-8000-000000000001";

fn at(text: &str) -> Version {
    Version::parse(text).unwrap()
}

fn web() -> AppId {
    PathId::parse("/t/web").unwrap()
}

fn app() -> Arc<App> {
    let body = br#"{"id":"/t/web","cmd":"sleep 1000"}"#;
    let update = decode_app(body, &PathId::root(), true, &Settings::default()).unwrap();
    Arc::new(update.complete(&web(), None, None, &Settings::default()).unwrap())
}

fn address() -> IpAddress {
    IpAddress { ip_address: "10.0.0.11".to_owned(), protocol: IpProtocol::V4 }
}

fn task() -> Task {
    Task {
        id: TaskId::parse(TASK).unwrap(),
        app_id: web(),
        host: "node1".to_owned(),
        slave_id: Some("S-0".to_owned()),
        ports: vec![31007],
        service_ports: vec![10000],
        ip_addresses: vec![address()],
        state: TaskState::Running,
        staged_at: Some(at("2030-01-02T03:04:06.100Z")),
        started_at: Some(at("2030-01-02T03:04:07.200Z")),
        version: Some(at("2030-01-02T03:04:05.678Z")),
        health_check_results: vec![],
        check_result: None,
        local_volumes: vec![],
        region: None,
        zone: None,
        role: Role::default_role(),
    }
}

fn json_of(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

#[test]
fn a_task_shows_the_documented_keys() {
    assert_eq!(
        json_of(&task()),
        json!({"id": TASK, "appId": "/t/web", "host": "node1", "slaveId": "S-0",
            "ports": [31007], "servicePorts": [10000],
            "ipAddresses": [{"ipAddress": "10.0.0.11", "protocol": "IPv4"}],
            "state": "TASK_RUNNING", "stagedAt": "2030-01-02T03:04:06.100Z",
            "startedAt": "2030-01-02T03:04:07.200Z", "version": "2030-01-02T03:04:05.678Z",
            "healthCheckResults": [], "localVolumes": [], "role": "*"})
    );
}

#[test]
fn a_deployment_shows_its_steps_and_progress() {
    let action = |action| Action { action, app: web() };
    let deployment = Deployment {
        id: Uuid::parse(DEPLOYMENT).unwrap(),
        version: at("2030-01-02T03:04:05.678Z"),
        affected_apps: vec![web()],
        steps: vec![
            Step { actions: vec![action(ActionKind::StartApplication)] },
            Step { actions: vec![action(ActionKind::ScaleApplication)] },
        ],
        current_actions: vec![CurrentAction {
            action: ActionKind::ScaleApplication,
            app: web(),
            readiness_check_results: vec![],
        }],
        current_step: 2,
    };
    assert_eq!(
        json_of(&deployment),
        json!({"id": DEPLOYMENT, "version": "2030-01-02T03:04:05.678Z",
            "affectedApps": ["/t/web"], "affectedPods": [],
            "steps": [{"actions": [{"action": "StartApplication", "app": "/t/web"}]},
                {"actions": [{"action": "ScaleApplication", "app": "/t/web"}]}],
            "currentActions": [{"action": "ScaleApplication", "app": "/t/web",
                "readinessCheckResults": []}],
            "currentStep": 2, "totalSteps": 2})
    );
}

#[test]
fn the_queue_lists_every_reason_in_the_order_of_the_checks() {
    let item = QueueItem {
        count: 1,
        delay: QueueDelay { time_left_seconds: 0, overdue: true },
        since: at("2030-01-02T03:04:06.000Z"),
        processed_offers_summary: ProcessedOffersSummary::default(),
        last_unused_offers: None,
        app: app(),
    };
    let queue = json_of(&Queue { queue: vec![item] });
    let item = &queue["queue"][0];
    assert_eq!(item["delay"], json!({"timeLeftSeconds": 0, "overdue": true}));
    assert_eq!(item["app"]["id"], "/t/web");
    assert!(item.get("role").is_none() && item.get("lastUnusedOffers").is_none());
    let reasons: Vec<&str> = item["processedOffersSummary"]["rejectSummaryLastOffers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, RejectReason::ALL.map(RejectReason::name));
}

#[test]
fn embeds_follow_the_definition() {
    let mut info = AppInfo::new(app());
    assert!(json_of(&info).get("tasksRunning").is_none());
    info.counts = Some(TaskCounts::default());
    info.deployments = Some(vec![DeploymentRef { id: Uuid::parse(DEPLOYMENT).unwrap() }]);
    info.tasks = Some(vec![task()]);
    let shown = json_of(&info);
    assert_eq!(shown["tasksUnhealthy"], 0);
    assert_eq!(shown["deployments"], json!([{"id": DEPLOYMENT}]));
    assert_eq!(shown["tasks"][0]["id"], TASK);
    assert!(shown.get("lastTaskFailure").is_none());
}

#[test]
fn a_group_shows_its_empty_lists_but_no_role_policy() {
    let group = GroupInfo {
        id: PathId::root(),
        apps: Some(vec![]),
        groups: Some(vec![]),
        pods: true,
        dependencies: vec![],
        version: at("2030-01-02T03:04:05.678Z"),
        enforce_role: None,
    };
    assert_eq!(
        json_of(&group),
        json!({"id": "/", "apps": [], "groups": [], "pods": [], "dependencies": [],
            "version": "2030-01-02T03:04:05.678Z"})
    );
}

#[test]
fn groups_are_changed_along_one_path_and_share_the_rest() {
    let v1 = Version::from_millis(1);
    let v2 = Version::from_millis(2);
    let id = |text: &str| PathId::parse(text).unwrap();
    let root = Group::empty(PathId::root(), v1);
    let root = root.with_group(&id("/x/y"), v1, |_| ());
    let changed = root.with_group(&id("/t"), v2, |group| {
        group.apps.insert(web(), app());
    });
    assert_eq!(changed.version, v2);
    assert!(changed.app(&web()).is_some() && changed.app(&id("/t/other")).is_none());
    assert_eq!(changed.group(&id("/x/y")).unwrap().version, v1);
    assert!(Arc::ptr_eq(&root.groups[&id("/x")], &changed.groups[&id("/x")]));
    assert_eq!(changed.all_apps().len(), 1);
    assert!(root.app(&web()).is_none());
}

#[test]
fn a_status_update_event_is_the_documented_line() {
    let event = Event {
        timestamp: at("2030-01-02T03:04:07.250Z"),
        payload: EventPayload::StatusUpdate {
            slave_id: "S-0".to_owned(),
            task_id: TaskId::parse(TASK).unwrap(),
            task_status: TaskState::Running,
            message: String::new(),
            app_id: web(),
            host: "node1".to_owned(),
            ip_addresses: vec![address()],
            ports: vec![31007],
            version: at("2030-01-02T03:04:05.678Z"),
        },
    };
    assert_eq!(
        serde_json::to_string(&event).unwrap(),
        format!(
            r#"{{"slaveId":"S-0","taskId":"{TASK}","taskStatus":"TASK_RUNNING","message":"","appId":"/t/web","host":"node1","ipAddresses":[{{"ipAddress":"10.0.0.11","protocol":"IPv4"}}],"ports":[31007],"version":"2030-01-02T03:04:05.678Z","eventType":"status_update_event","timestamp":"2030-01-02T03:04:07.250Z"}}"#
        )
    );
}

#[test]
fn every_event_has_exactly_its_documented_keys() {
    let instance =
        InstanceId::parse("t_web.instance-11112222-3333-11ea-8000-0242ac110002").unwrap();
    let id = Uuid::parse(DEPLOYMENT).unwrap();
    let version = Version::from_millis(0);
    let plan = || Plan { id, steps: vec![], version };
    let text = || "x".to_owned();
    let check = tepui_marathon::HealthCheck::default;
    let cases: Vec<(EventPayload, &[&str])> = vec![
        (EventPayload::StreamAttached { remote_address: text() }, &["remoteAddress"]),
        (
            EventPayload::ApiPost { client_ip: text(), uri: text(), app_definition: app() },
            &["appDefinition", "clientIp", "uri"],
        ),
        (
            EventPayload::GroupChangeFailed { group_id: web(), version, reason: text() },
            &["groupId", "reason", "version"],
        ),
        (
            EventPayload::DeploymentInfo { plan: StepPlan(plan()), current_step: Step::default() },
            &["currentStep", "plan"],
        ),
        (EventPayload::DeploymentSuccess { id, plan: plan() }, &["id", "plan"]),
        (EventPayload::DeploymentFailed { id, plan: plan(), reason: None }, &["id", "plan"]),
        (EventPayload::AppTerminated { app_id: web() }, &["appId"]),
        (
            EventPayload::InstanceChanged {
                instance_id: instance.clone(),
                condition: text(),
                run_spec_id: web(),
                agent_id: text(),
                host: text(),
                run_spec_version: version,
            },
            &["agentId", "condition", "host", "instanceId", "runSpecId", "runSpecVersion"],
        ),
        (
            EventPayload::InstanceHealthChanged {
                instance_id: instance.clone(),
                run_spec_id: web(),
                healthy: None,
                run_spec_version: version,
            },
            &["instanceId", "runSpecId", "runSpecVersion"],
        ),
        (
            EventPayload::FailedHealthCheck {
                app_id: web(),
                task_id: instance.clone(),
                health_check: check(),
            },
            &["appId", "healthCheck", "taskId"],
        ),
        (
            EventPayload::UnhealthyInstanceKill {
                app_id: web(),
                task_id: TaskId::parse(TASK).unwrap(),
                instance_id: instance,
                version,
                reason: text(),
                host: text(),
                slave_id: text(),
            },
            &["appId", "host", "instanceId", "reason", "slaveId", "taskId", "version"],
        ),
        (
            EventPayload::SchedulerRegistered { framework_id: text(), master: text() },
            &["frameworkId", "master"],
        ),
        (EventPayload::SchedulerDisconnected {}, &[]),
    ];
    for (payload, keys) in cases {
        let event = Event { timestamp: version, payload };
        let shown = json_of(&event);
        let mut expected: Vec<&str> = keys.to_vec();
        expected.extend(["eventType", "timestamp"]);
        expected.sort_unstable();
        let mut found: Vec<&String> = shown.as_object().unwrap().keys().collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{}", event.event_type());
        assert_eq!(shown["eventType"], event.event_type());
    }
}
