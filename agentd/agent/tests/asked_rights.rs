//! What containers that somebody asks the agent's API for may do: never more than the operator allows,
//! nor than the run that they are below.
#![allow(clippy::unwrap_used)]

mod rig;

use std::collections::BTreeMap;

use rig::{Rig, command};
use tepui_agent::{ContainerCall, ContainerLaunch, Event, Response};
use tepui_container::Seccomp;
use tepui_types::{ContainerId, RequestId};
use tepui_wire::v1::{self, capability_info::Capability};

fn mesos(image: Option<&str>, linux_info: Option<v1::LinuxInfo>) -> v1::ContainerInfo {
    let image = image.map(|name| v1::Image {
        r#type: v1::image::Type::Docker.into(),
        docker: Some(v1::image::Docker { name: name.into(), ..v1::image::Docker::default() }),
        ..v1::Image::default()
    });
    v1::ContainerInfo {
        r#type: v1::container_info::Type::Mesos.into(),
        mesos: image.map(|image| v1::container_info::MesosInfo { image: Some(image) }),
        linux_info,
        ..v1::ContainerInfo::default()
    }
}

fn capable(all: &[Capability]) -> v1::LinuxInfo {
    let capabilities = all.iter().map(|one| (*one).into()).collect();
    let bounding_capabilities = Some(v1::CapabilityInfo { capabilities });
    v1::LinuxInfo { bounding_capabilities, ..v1::LinuxInfo::default() }
}

fn unconfined() -> v1::LinuxInfo {
    let seccomp = v1::SeccompInfo { unconfined: Some(true), ..v1::SeccompInfo::default() };
    v1::LinuxInfo { seccomp: Some(seccomp), ..v1::LinuxInfo::default() }
}

/// Asks for a container below a run; its name.
fn ask(rig: &mut Rig, above: &ContainerId, info: Option<v1::ContainerInfo>) -> ContainerId {
    let number = rig.responses.len();
    let container = ContainerId::parse(&format!("{above}.side{number}")).unwrap();
    let value = Some("sleep 100".into());
    let launch = ContainerLaunch {
        container: container.clone(),
        command: v1::CommandInfo { value, ..v1::CommandInfo::default() },
        info,
        resources: Vec::new(),
        limits: BTreeMap::new(),
    };
    let call = Box::new(ContainerCall::Launch(Box::new(launch)));
    rig.event(Event::ContainerCall { request: RequestId(900), call });
    rig.settle();
    container
}

fn refused(rig: &mut Rig, above: &ContainerId, info: Option<v1::ContainerInfo>) -> String {
    ask(rig, above, info);
    match rig.responses.last().unwrap() {
        Response::Refused { status: 400, message } => message.clone(),
        other => panic!("{other:?}"),
    }
}

fn launched(rig: &mut Rig, above: &ContainerId, info: Option<v1::ContainerInfo>) -> ContainerId {
    let container = ask(rig, above, info);
    assert_eq!(rig.responses.last(), Some(&Response::Done));
    container
}

fn with_task(
    mut rig: Rig,
    container: Option<v1::ContainerInfo>,
    label: Option<&str>,
) -> (Rig, ContainerId) {
    let label = label.map(|key| v1::Label { key: key.into(), value: Some("true".into()) });
    let labels = label.map(|label| v1::Labels { labels: vec![label] });
    rig.launch(v1::TaskInfo { container: container.map(Box::new), labels, ..command("t1") });
    let run = rig.run_of("t1");
    (rig, run)
}

/// What leads around a shield.
fn ways_around() -> Vec<v1::LinuxInfo> {
    vec![
        unconfined(),
        capable(&[Capability::SysAdmin]),
        v1::LinuxInfo { share_pid_namespace: Some(true), ..v1::LinuxInfo::default() },
        v1::LinuxInfo {
            ipc_mode: Some(v1::linux_info::IpcMode::ShareParent.into()),
            ..v1::LinuxInfo::default()
        },
    ]
}

#[test]
fn behind_the_operators_shield_nobody_asks_for_a_way_around_it() {
    let shielded = |config: &mut tepui_agent::Config| {
        config.limits.shield = true;
        config.isolation.in_force.insert("systemd/shield".into());
    };
    let (mut rig, task) = with_task(Rig::registered_with(shielded), None, None);
    for linux in ways_around() {
        let error = refused(&mut rig, &task, Some(mesos(None, Some(linux))));
        assert!(error.contains("--shield-tasks"), "{error}");
    }
    let plain = launched(&mut rig, &task, None);
    assert!(rig.host[&plain].spec.limits.rights.shield);
    let boxed = launched(&mut rig, &task, Some(mesos(None, Some(v1::LinuxInfo::default()))));
    let container = rig.host[&boxed].spec.container.clone().unwrap();
    assert!(container.hidden.iter().any(|path| path == "/run/dbus"), "{:?}", container.hidden);
}

#[test]
fn a_label_that_shields_a_task_shields_what_is_asked_for_below_it() {
    let able = |config: &mut tepui_agent::Config| {
        config.isolation.in_force.insert("systemd/shield".into());
    };
    let (mut rig, task) = with_task(Rig::registered_with(able), None, Some("TEPUI_SHIELD"));
    for linux in ways_around() {
        let error = refused(&mut rig, &task, Some(mesos(None, Some(linux.clone()))));
        assert!(error.contains("--shield-tasks"), "{error}");
    }
    let boxed = launched(&mut rig, &task, Some(mesos(None, Some(v1::LinuxInfo::default()))));
    let container = rig.host[&boxed].spec.container.clone().unwrap();
    assert!(container.hidden.iter().any(|path| path == "/run/dbus"), "{:?}", container.hidden);
    // Deeper too.
    let error = refused(&mut rig, &boxed, Some(mesos(None, Some(unconfined()))));
    assert!(error.contains("--shield-tasks"), "{error}");
}

#[test]
fn below_a_container_nobody_has_more_than_it() {
    let own = mesos(Some("web:1"), Some(capable(&[Capability::Chown])));
    let (mut rig, task) = with_task(Rig::registered(), Some(own), None);
    let imaged = |linux| Some(mesos(Some("web:1"), Some(linux)));
    for (info, what) in [
        (None, "needs an image"),
        (Some(mesos(None, Some(v1::LinuxInfo::default()))), "needs an image"),
        (imaged(capable(&[Capability::SysAdmin])), "the capabilities SYS_ADMIN"),
        (imaged(unconfined()), "other system calls"),
    ] {
        let error = refused(&mut rig, &task, info);
        assert!(error.contains(what), "{error}");
    }
    let below = launched(&mut rig, &task, Some(mesos(Some("web:2"), None)));
    let container = rig.host[&below].spec.container.clone().unwrap();
    let chown = tepui_container::capability_mask(&["CHOWN".to_owned()]);
    assert_eq!(tepui_container::bounding_mask(&container.capabilities, false), chown);
}

#[test]
fn below_a_container_that_sees_the_host_a_process_is_a_container_too() {
    let own = mesos(None, Some(capable(&[Capability::Chown])));
    let (mut rig, task) = with_task(Rig::registered(), Some(own), None);
    let below = launched(&mut rig, &task, None);
    let container = rig.host[&below].spec.container.clone().unwrap();
    let chown = tepui_container::capability_mask(&["CHOWN".to_owned()]);
    assert_eq!(tepui_container::bounding_mask(&container.capabilities, false), chown);
    assert_eq!(container.seccomp, Seccomp::Usual);
    let deeper = launched(&mut rig, &below, None);
    assert!(rig.host[&deeper].spec.container.is_some());
}
