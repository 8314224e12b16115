use tepui_marathon::{PathId, Settings, decode_app};
use tepui_types::{Entropy, Mono, Now, RequestId, Wall};
use tepui_wire::v1::scheduler::{self, event};
use tepui_wire::v1::{self, TaskInfo, value};

use crate::{Apps, Command, Config, Effect, Event};

fn now() -> Now {
    Now { mono: Mono::default(), wall: Wall::from_millis(1_893_553_445_000) }
}

fn feed(apps: &mut Apps, event: Event) -> Vec<Effect> {
    let mut effects = Vec::new();
    apps.handle(now(), event, &mut effects);
    effects
}

fn mesos(apps: &mut Apps, kind: event::Type, event: scheduler::Event) -> Vec<Effect> {
    let event = scheduler::Event { r#type: Some(kind as i32), ..event };
    feed(apps, Event::Mesos(Box::new(event)))
}

fn scalar(name: &str, value: f64) -> v1::Resource {
    v1::Resource {
        name: name.into(),
        scalar: Some(value::Scalar { value }),
        ..v1::Resource::default()
    }
}

/// One app with so many instances, all launched and none heard of yet, in a running deployment.
fn launched(instances: u32) -> (Apps, Vec<TaskInfo>) {
    let config = Config {
        max_instances_per_offer: instances,
        launch_tokens: instances,
        ..Config::default()
    };
    let mut apps = Apps::new(config, Entropy::seeded(1));
    feed(&mut apps, Event::Elected { records: Vec::new() });
    let framework_id = v1::FrameworkId { value: "F".into() };
    let subscribed =
        event::Subscribed { framework_id: framework_id.clone(), ..event::Subscribed::default() };
    let event = scheduler::Event { subscribed: Some(subscribed), ..scheduler::Event::default() };
    mesos(&mut apps, event::Type::Subscribed, event);
    let json = format!(
        r#"{{"id":"/a","cmd":"a b","cpus":0.1,"mem":1,"instances":{instances},"portDefinitions":[]}}"#
    );
    let update = decode_app(json.as_bytes(), &PathId::root(), true, &Settings::default()).unwrap();
    let command = Box::new(Command::CreateApp { update, force: false });
    feed(&mut apps, Event::Command { request: RequestId(1), command, origin: None });
    let offer = v1::Offer {
        id: v1::OfferId { value: "O".into() },
        framework_id,
        agent_id: v1::AgentId { value: "S".into() },
        hostname: "node".into(),
        resources: vec![scalar("cpus", 1e6), scalar("mem", 1e6)],
        ..v1::Offer::default()
    };
    let offers = Some(event::Offers { offers: vec![offer] });
    let event = scheduler::Event { offers, ..scheduler::Event::default() };
    let effects = mesos(&mut apps, event::Type::Offers, event);
    let accepted = effects.into_iter().filter_map(|effect| match effect {
        Effect::Call(call) => call.accept,
        _ => None,
    });
    let operations = accepted.flat_map(|accept| accept.operations);
    let launches = operations.filter_map(|operation| operation.launch);
    (apps, launches.flat_map(|launch| launch.task_infos).collect())
}

fn tell(apps: &mut Apps, task: &TaskInfo, state: v1::TaskState) {
    let status = v1::TaskStatus {
        task_id: task.task_id.clone(),
        agent_id: Some(v1::AgentId { value: "S".into() }),
        state: state as i32,
        ..v1::TaskStatus::default()
    };
    let update = Some(event::Update { status });
    mesos(apps, event::Type::Update, scheduler::Event { update, ..scheduler::Event::default() });
}

#[test]
fn a_status_update_costs_the_same_however_many_instances_the_app_has() {
    for instances in [10, 2_000] {
        let (mut apps, tasks) = launched(instances);
        assert_eq!(tasks.len(), instances as usize);
        let before = apps.instances.looked_at();
        for task in &tasks {
            tell(&mut apps, task, v1::TaskState::TaskStarting);
            tell(&mut apps, task, v1::TaskState::TaskRunning);
        }
        assert!(apps.deployments.is_empty(), "all {instances} run, so the deployment has ended");
        for task in &tasks {
            tell(&mut apps, task, v1::TaskState::TaskFailed);
        }
        assert_eq!(apps.queue.values().map(|waiting| waiting.count).sum::<u32>(), instances);
        assert_eq!(apps.instances.looked_at() - before, 0, "nothing walks over all instances");
    }
}

#[test]
fn totals_are_those_of_a_count() {
    let (mut apps, tasks) = launched(20);
    for (at, task) in tasks.iter().enumerate() {
        let state = [v1::TaskState::TaskRunning, v1::TaskState::TaskFailed][at % 2];
        tell(&mut apps, task, state);
    }
    let app = PathId::parse("/a").unwrap();
    let all: Vec<_> = apps.instances.of_app(&app).map(crate::census::Traits::of).collect();
    let waiting = apps.instances.of_app(&app).filter(|i| i.is_waiting()).count();
    let census = apps.instances.census(&app).unwrap();
    for (traits, count) in census.groups() {
        assert_eq!(all.iter().filter(|other| *other == traits).count(), count as usize);
    }
    assert_eq!(census.count(|_| true), 20);
    assert_eq!(census.waiting().len(), waiting);
}
