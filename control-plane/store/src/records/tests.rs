use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::json;
use tepui_apps::{
    AppRevision, Change, Condition, DeploymentRecord, Goal, GroupDefinition, GroupRevision,
    InstanceRecord, RecordKey, TaskRecord,
};
use tepui_cluster::Standing;
use tepui_marathon::{
    Action, ActionKind, App, AppId, InstanceId, IpAddress, IpProtocol, PathId, Settings, Step,
    TaskFailure, TaskId, Version, VersionInfo, decode_app,
};
use tepui_types::{AgentId, FrameworkId, Role, Span, TaskState, Uuid, Wall};
use tepui_wire::v1;

use super::*;
use crate::Memory;
use crate::backend::Batch;

const CONDITIONS: [Condition; 15] = [
    Condition::Scheduled,
    Condition::Provisioned,
    Condition::Staging,
    Condition::Starting,
    Condition::Running,
    Condition::Killing,
    Condition::Unreachable,
    Condition::UnreachableInactive,
    Condition::Finished,
    Condition::Failed,
    Condition::Killed,
    Condition::Error,
    Condition::Gone,
    Condition::Dropped,
    Condition::Unknown,
];

fn definition(value: &serde_json::Value) -> Option<App> {
    let settings = Settings::default();
    let update = decode_app(value.to_string().as_bytes(), &PathId::root(), true, &settings).ok()?;
    update.complete(&update.id.clone()?, None, None, &settings).ok()
}

fn path() -> impl Strategy<Value = PathId> {
    vec("[a-z][a-z0-9]{0,4}(-[a-z0-9])?(\\.[a-z0-9])?", 1..4)
        .prop_map(|segments| PathId::parse(&format!("/{}", segments.join("/"))).unwrap())
}

fn version() -> impl Strategy<Value = Version> {
    (0..253_402_300_799_999_i64).prop_map(Version::from_millis)
}

fn instance_id() -> impl Strategy<Value = InstanceId> {
    (path(), 0..4_000_000_000_000_i64, any::<u64>())
        .prop_map(|(app, millis, entropy)| InstanceId::generate(&app, millis, entropy))
}

fn task_id() -> impl Strategy<Value = TaskId> {
    (instance_id(), any::<u32>())
        .prop_map(|(instance, incarnation)| TaskId::for_app(&instance, incarnation))
}

fn state() -> impl Strategy<Value = TaskState> {
    prop::sample::select(TaskState::ALL.to_vec())
}

fn app() -> impl Strategy<Value = App> {
    let simple = (
        path(),
        "[ -~]{2,30}",
        0..1000_u32,
        0..100_000_u32,
        btree_map("[A-Z_]{1,8}", "\\PC{0,10}", 0..4),
        option::of(1.0..10.0_f64),
    );
    let ports = (vec(10_000..20_000_u16, 0..3), any::<bool>(), option::of("[a-z]{1,8}"));
    let rules = (any::<bool>(), 0.0..=1.0_f64, 0..5_u8, version(), version());
    (simple, ports, rules).prop_filter_map("not a valid app", |(simple, ports, rules)| {
        let (id, cmd, instances, millis, env, factor) = simple;
        let (ports, checked, user) = ports;
        let (rolling, share, rule, made, scaled) = rules;
        let mut value = json!({
            "id": id.as_str(), "cmd": cmd, "instances": instances,
            "cpus": f64::from(millis) / 1000.0, "mem": millis, "env": env,
            "portDefinitions": ports.iter().map(|port| json!({"port": port})).collect::<Vec<_>>(),
            "labels": {"a": "b"},
        });
        let object = value.as_object_mut()?;
        if let Some(factor) = factor {
            object.insert("backoffFactor".into(), json!(factor));
        }
        if let Some(user) = user {
            object.insert("user".into(), json!(user));
        }
        if checked && !ports.is_empty() {
            object.insert(
                "healthChecks".into(),
                json!([{"protocol": "HTTP", "path": "/", "portIndex": 0, "timeoutSeconds": 20}]),
            );
        }
        if rolling {
            let strategy = json!({"minimumHealthCapacity": share, "maximumOverCapacity": 1.0});
            object.insert("upgradeStrategy".into(), strategy);
        }
        let constraints = [
            json!([]),
            json!([["hostname", "UNIQUE"]]),
            json!([["rack", "GROUP_BY", "3"], ["os", "LIKE", "a.*"]]),
            json!([["rack", "MAX_PER", "2"]]),
            json!([["hostname", "CLUSTER", "x"]]),
        ];
        object.insert("constraints".into(), constraints[usize::from(rule)].clone());
        let mut app = definition(&value)?;
        app.version = made;
        app.version_info = VersionInfo { last_scaling_at: scaled, last_config_change_at: made };
        Some(app)
    })
}

fn task() -> impl Strategy<Value = TaskRecord> {
    let place = (
        "\\PC{0,12}",
        "[a-z.]{1,12}",
        option::of("[a-z]{0,4}"),
        option::of("[a-z]{0,4}"),
        btree_map("\\PC{0,4}", "\\PC{0,4}", 0..4),
    );
    let addresses = vec(
        ("[0-9a-f:.]{0,12}", any::<bool>()).prop_map(|(ip_address, six)| IpAddress {
            ip_address,
            protocol: if six { IpProtocol::V6 } else { IpProtocol::V4 },
        }),
        0..3,
    );
    let times = (version(), option::of(version()), option::of(version()));
    (task_id(), place, vec(any::<u16>(), 0..4), state(), addresses, times).prop_map(
        |(id, place, host_ports, state, ip_addresses, times)| TaskRecord {
            id,
            agent_id: place.0,
            hostname: place.1,
            region: place.2,
            zone: place.3,
            attributes: place.4,
            host_ports,
            state,
            staged_at: times.0,
            started_at: times.1,
            ip_addresses,
            unreachable_since: times.2,
        },
    )
}

fn instance() -> impl Strategy<Value = InstanceRecord> {
    let goal = prop::sample::select(vec![Goal::Running, Goal::Stopped, Goal::Decommissioned]);
    let condition = prop::sample::select(CONDITIONS.to_vec());
    (instance_id(), version(), goal, condition, version(), any::<u32>(), option::of(task()))
        .prop_map(|(id, version, goal, condition, since, incarnation, task)| InstanceRecord {
            id,
            version,
            goal,
            condition,
            since,
            incarnation,
            role: Role::parse("eng/web").unwrap(),
            task,
        })
}

fn deployment() -> impl Strategy<Value = DeploymentRecord> {
    let kind = prop::sample::select(vec![
        ActionKind::StartApplication,
        ActionKind::StopApplication,
        ActionKind::ScaleApplication,
        ActionKind::RestartApplication,
    ]);
    let action = (kind, path()).prop_map(|(action, app)| Action { action, app });
    let step = vec(action, 0..3).prop_map(|actions| Step { actions });
    let change =
        (option::of(version()), option::of(version())).prop_map(|(from, to)| Change { from, to });
    (
        any::<[u8; 16]>(),
        version(),
        vec(step, 0..3),
        btree_map(path(), change, 0..3),
        btree_set(path(), 0..3),
        btree_map(path(), version(), 0..3),
        btree_set(instance_id(), 0..3),
    )
        .prop_map(|(id, version, steps, apps, created_groups, changed_groups, marked)| {
            let id = Uuid::from_bytes(id);
            DeploymentRecord { id, version, steps, apps, created_groups, changed_groups, marked }
        })
}

fn failure() -> impl Strategy<Value = TaskFailure> {
    (path(), "\\PC{0,9}", "\\PC{0,9}", state(), task_id(), version(), version(), option::of("a"))
        .prop_map(|(app_id, host, message, state, task_id, timestamp, version, slave_id)| {
            TaskFailure { app_id, host, message, state, task_id, timestamp, version, slave_id }
        })
}

fn group() -> impl Strategy<Value = GroupRevision> {
    let definition = (vec(path(), 0..3), option::of(any::<bool>()))
        .prop_map(|(dependencies, enforce_role)| GroupDefinition { dependencies, enforce_role });
    let id = prop_oneof![path(), Just(PathId::root())];
    (id, version(), option::of(definition)).prop_map(|(id, version, definition)| GroupRevision {
        id,
        version,
        definition,
    })
}

fn apps_record() -> impl Strategy<Value = tepui_apps::Record> {
    use tepui_apps::Record;
    prop_oneof![
        "[a-z0-9-]{1,40}".prop_map(|id| Record::Framework(FrameworkId::parse(&id).unwrap())),
        (path(), version(), option::of(app())).prop_map(|(id, version, definition)| {
            Record::App(AppRevision { id, version, definition: definition.map(Arc::new) })
        }),
        group().prop_map(Record::Group),
        instance().prop_map(|instance| Record::Instance(Box::new(instance))),
        deployment().prop_map(|deployment| Record::Deployment(Box::new(deployment))),
        failure().prop_map(|failure| Record::Failure(Box::new(failure))),
    ]
}

fn agent_info() -> impl Strategy<Value = v1::AgentInfo> {
    ("[a-z.]{0,9}", option::of(any::<i32>())).prop_map(|(hostname, port)| v1::AgentInfo {
        hostname,
        port,
        ..v1::AgentInfo::default()
    })
}

fn cluster_record() -> impl Strategy<Value = tepui_cluster::Record> {
    use tepui_cluster::Record;
    let wall = || any::<u64>().prop_map(Wall::from_nanos);
    let standing = prop_oneof![
        Just(Standing::Admitted),
        wall().prop_map(|since| Standing::Unreachable { since }),
        wall().prop_map(|since| Standing::Gone { since }),
    ];
    let framework_info =
        ("\\PC{0,9}", option::of(any::<f64>())).prop_map(|(name, timeout)| v1::FrameworkInfo {
            name,
            failover_timeout: timeout.filter(|timeout| !timeout.is_nan()),
            ..v1::FrameworkInfo::default()
        });
    prop_oneof![
        any::<(u64, u64)>()
            .prop_map(|(agents, frameworks)| Record::Counters { agents, frameworks }),
        ("[a-zA-Z0-9-]{1,30}", agent_info(), standing, any::<bool>()).prop_map(
            |(agent, info, standing, deactivated)| Record::Agent {
                agent: AgentId::parse(&agent).unwrap(),
                info: Box::new(info),
                standing,
                deactivated,
            }
        ),
        ("[a-zA-Z0-9-]{1,30}", framework_info, wall(), any::<u64>(), option::of(wall())).prop_map(
            |(framework, info, registered, timeout, disconnected)| Record::Framework {
                framework: FrameworkId::parse(&framework).unwrap(),
                info: Box::new(info),
                registered,
                failover_timeout: Span::from_nanos(timeout),
                disconnected,
            }
        ),
        ("[a-zA-Z0-9-]{1,30}", wall()).prop_map(|(framework, since)| Record::RemovedFramework {
            framework: FrameworkId::parse(&framework).unwrap(),
            since,
        }),
        ("[a-zA-Z0-9-]{1,30}", option::of(any::<u64>()), any::<bool>(), any::<bool>()).prop_map(
            |(agent, grace, mark_gone, drained)| Record::Drain {
                agent: AgentId::parse(&agent).unwrap(),
                drain: tepui_cluster::Drain {
                    max_grace: grace.map(Span::from_nanos),
                    mark_gone,
                    drained,
                },
            }
        ),
        ("[a-z]{1,4}(/[a-z]{1,4})?", any::<u64>()).prop_map(|(role, weight)| Record::Weight {
            role: Role::parse(&role).unwrap(),
            weight
        }),
    ]
}

fn put(op: Op) -> (Key, Vec<u8>) {
    match op {
        Op::Put { key, value } => (key, value),
        Op::Delete { key } => panic!("{key} is deleted"),
    }
}

proptest! {
    #[test]
    fn a_fact_of_the_registry_reads_back_as_it_was(record in cluster_record()) {
        let (key, value) = put(save_cluster(&record));
        prop_assert_eq!(&forget_cluster(&record), &Op::Delete { key: key.clone() });
        prop_assert_eq!(decode_cluster(&key, &value).unwrap(), record);
    }

    #[test]
    fn a_fact_of_the_apps_reads_back_as_it_was(record in apps_record()) {
        let (key, value) = put(save_apps(&record));
        prop_assert_eq!(&forget_apps(&record.key()), &Op::Delete { key: key.clone() });
        prop_assert_eq!(decode_apps(&key, &value).unwrap(), record);
    }

    #[test]
    fn records_have_the_same_key_only_when_they_replace_each_other(
        a in apps_record(), b in apps_record()
    ) {
        let (left, _) = put(save_apps(&a));
        let (right, _) = put(save_apps(&b));
        prop_assert_eq!(left == right, a.key() == b.key());
    }

    #[test]
    fn no_bytes_end_the_process(
        key in "(cluster|apps)/(counters|agents/a|frameworks/a|weights/a|framework|apps/a@1|groups/a@1|instances/a|deployments/a|failures/a)",
        body in vec(any::<u8>(), 0..60)
    ) {
        let value: Vec<u8> = [VERSION].into_iter().chain(body).collect();
        let _ = decode_cluster(&key, &value);
        let _ = decode_apps(&key, &value);
    }
}

#[test]
fn everything_saved_is_loaded() {
    let mut store = Memory::new();
    let term = store.acquire().unwrap();
    let (cluster, apps) = samples();
    let ops = cluster.iter().map(save_cluster).chain(apps.iter().map(save_apps)).collect();
    store.commit(term, Batch { ops }).unwrap();
    let (loaded_cluster, loaded_apps) = load_all(&store).unwrap();
    assert_eq!(loaded_cluster.len(), cluster.len());
    assert!(cluster.iter().all(|record| loaded_cluster.contains(record)));
    assert_eq!(loaded_apps.len(), apps.len());
    assert!(apps.iter().all(|record| loaded_apps.contains(record)));
    let boxed: Box<dyn Store> = Box::new(store);
    assert!(load_all(&*boxed).is_ok());
}

#[test]
fn what_a_newer_program_wrote_is_refused_by_name() {
    let (cluster, _) = samples();
    let (key, mut value) = put(save_cluster(&cluster[0]));
    value[0] = VERSION + 1;
    let refused = decode_cluster(&key, &value).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "stored record \"cluster/counters\" has version 2, this program reads up to 1"
    );
}

#[test]
fn a_record_under_a_foreign_key_is_refused() {
    let (_, apps) = samples();
    let (key, value) = put(save_apps(&apps[1]));
    let elsewhere = key.replace("web", "wob");
    assert!(matches!(decode_apps(&elsewhere, &value), Err(LoadError::Invalid { .. })));
    let mut store = Memory::new();
    let term = store.acquire().unwrap();
    let ops = vec![Op::Put { key: "other/thing".into(), value }];
    store.commit(term, Batch { ops }).unwrap();
    assert!(matches!(load_all(&store), Err(LoadError::Invalid { .. })));
}

#[test]
fn every_state_has_its_own_code() {
    let (_, apps) = samples();
    let tepui_apps::Record::Instance(sample) = &apps[3] else {
        panic!("the fourth is an instance")
    };
    for (condition, state) in
        CONDITIONS.into_iter().zip(TaskState::ALL.into_iter().chain([TaskState::Running]))
    {
        let mut instance = sample.clone();
        instance.condition = condition;
        instance.task.as_mut().unwrap().state = state;
        let record = tepui_apps::Record::Instance(instance);
        let (key, value) = put(save_apps(&record));
        assert_eq!(decode_apps(&key, &value).unwrap(), record);
    }
}

/// One record of each kind with every field set.
fn samples() -> (Vec<tepui_cluster::Record>, Vec<tepui_apps::Record>) {
    use tepui_cluster::Record as C;
    let wall = |seconds: u64| Wall::from_millis(seconds * 1000);
    let agent = |id: &str, standing, deactivated| C::Agent {
        agent: AgentId::parse(id).unwrap(),
        info: Box::new(v1::AgentInfo {
            hostname: "node1".into(),
            port: Some(5051),
            ..v1::AgentInfo::default()
        }),
        standing,
        deactivated,
    };
    let cluster = vec![
        C::Counters { agents: 100, frameworks: 7 },
        agent("c-S0", Standing::Admitted, false),
        agent("c-S1", Standing::Unreachable { since: wall(3) }, true),
        agent("c-S2", Standing::Gone { since: wall(4) }, false),
        C::Framework {
            framework: FrameworkId::parse("c-0001").unwrap(),
            info: Box::new(v1::FrameworkInfo { name: "f".into(), ..v1::FrameworkInfo::default() }),
            registered: wall(5),
            failover_timeout: Span::from_secs(60),
            disconnected: Some(wall(6)),
        },
        C::RemovedFramework { framework: FrameworkId::parse("c-0002").unwrap(), since: wall(7) },
        C::Drain {
            agent: AgentId::parse("c-S1").unwrap(),
            drain: tepui_cluster::Drain {
                max_grace: Some(Span::from_secs(30)),
                mark_gone: true,
                drained: true,
            },
        },
        C::Weight { role: Role::parse("eng/web").unwrap(), weight: 2500 },
    ];
    (cluster, apps_samples())
}

fn apps_samples() -> Vec<tepui_apps::Record> {
    use tepui_apps::Record as A;
    let id = AppId::parse("/t/web").unwrap();
    let at = Version::from_millis;
    let instance = InstanceId::generate(&id, 1_900_000_000_000, 7);
    let task = TaskId::for_app(&instance, 2);
    let mut app = definition(&json!({"id": "/t/web", "cmd": "sleep 1000", "cpus": 0.1})).unwrap();
    app.version = at(1_900_000_000_001);
    vec![
        A::Framework(FrameworkId::parse("c-0000").unwrap()),
        A::App(AppRevision {
            id: id.clone(),
            version: at(1_900_000_000_001),
            definition: Some(Arc::new(app)),
        }),
        A::Group(GroupRevision {
            id: PathId::root(),
            version: at(1_900_000_000_001),
            definition: Some(GroupDefinition {
                dependencies: vec![PathId::parse("/db").unwrap()],
                enforce_role: Some(true),
            }),
        }),
        A::Instance(Box::new(InstanceRecord {
            id: instance.clone(),
            version: at(1_900_000_000_001),
            goal: Goal::Running,
            condition: Condition::Running,
            since: at(1_900_000_000_002),
            incarnation: 2,
            role: Role::parse("*").unwrap(),
            task: Some(TaskRecord {
                id: task.clone(),
                agent_id: "c-S0".into(),
                hostname: "node1".into(),
                region: Some("r".into()),
                zone: Some("z".into()),
                attributes: BTreeMap::from([("rack".into(), "a".into())]),
                host_ports: vec![31000, 31001],
                state: TaskState::Running,
                staged_at: at(1_900_000_000_003),
                started_at: Some(at(1_900_000_000_004)),
                ip_addresses: vec![IpAddress {
                    ip_address: "10.0.0.1".into(),
                    protocol: IpProtocol::V4,
                }],
                unreachable_since: Some(at(1_900_000_000_005)),
            }),
        })),
        A::Deployment(Box::new(DeploymentRecord {
            id: Uuid::from_bytes([3; 16]),
            version: at(1_900_000_000_001),
            steps: vec![Step {
                actions: vec![Action { action: ActionKind::StartApplication, app: id.clone() }],
            }],
            apps: BTreeMap::from([(
                id.clone(),
                Change { from: None, to: Some(at(1_900_000_000_001)) },
            )]),
            created_groups: BTreeSet::from([PathId::parse("/t").unwrap()]),
            changed_groups: BTreeMap::from([(PathId::root(), at(0))]),
            marked: BTreeSet::from([instance]),
        })),
        A::Failure(Box::new(TaskFailure {
            app_id: id.clone(),
            host: "node1".into(),
            message: "Command exited with status 7".into(),
            state: TaskState::Failed,
            task_id: task,
            timestamp: at(1_900_000_000_006),
            version: at(1_900_000_000_001),
            slave_id: Some("c-S0".into()),
        })),
        A::App(AppRevision { id, version: at(1_900_000_000_009), definition: None }),
    ]
}

/// Bytes on disk as text: printable ones as they are, so that a difference can be read.
fn show(value: &[u8]) -> String {
    value.iter().fold(String::new(), |mut text, byte| {
        match byte {
            b' '..=b'~' if *byte != b'\\' => text.push(char::from(*byte)),
            other => write!(text, "\\{other:02x}").unwrap(),
        }
        text
    })
}

#[test]
fn the_disk_format_is_the_one_that_was_written_before() {
    let (cluster, apps) = samples();
    let ops = cluster.iter().map(save_cluster).chain(apps.iter().map(save_apps));
    let now = ops.map(put).fold(String::new(), |mut text, (key, value)| {
        writeln!(text, "{key} = {}", show(&value)).unwrap();
        text
    });
    let golden = include_str!("golden.txt");
    assert!(
        now == golden,
        "the disk format changed; stores in the field would be misread. Now:\n{now}"
    );
    let gone = forget_apps(&RecordKey::Framework);
    assert_eq!(gone, Op::Delete { key: "apps/framework".into() });
}
