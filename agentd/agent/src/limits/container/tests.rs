use tepui_wire::v1;

use super::*;

fn container() -> Container {
    let image = v1::Image {
        r#type: v1::image::Type::Docker.into(),
        docker: Some(v1::image::Docker { name: "busybox".into(), ..v1::image::Docker::default() }),
        ..v1::Image::default()
    };
    let info = v1::ContainerInfo {
        r#type: v1::container_info::Type::Mesos.into(),
        mesos: Some(v1::container_info::MesosInfo { image: Some(image) }),
        ..v1::ContainerInfo::default()
    };
    tepui_container::describe(&info, &v1::CommandInfo::default(), None, false).unwrap().unwrap()
}

fn docker(flags: &[(&str, &str)]) -> Container {
    let parameter = |(key, value): &(&str, &str)| v1::Parameter {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    let info = v1::ContainerInfo {
        r#type: v1::container_info::Type::Docker.into(),
        docker: Some(v1::container_info::DockerInfo {
            image: "busybox".into(),
            parameters: flags.iter().map(parameter).collect(),
            ..v1::container_info::DockerInfo::default()
        }),
        ..v1::ContainerInfo::default()
    };
    tepui_container::describe(&info, &v1::CommandInfo::default(), None, false).unwrap().unwrap()
}

fn bounded(names: &[&str]) -> LimitPolicy {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let bounding_capabilities = Some(capability_mask(&names));
    LimitPolicy { bounding_capabilities, ..LimitPolicy::default() }
}

fn labels(key: &str, value: &str) -> v1::Labels {
    v1::Labels { labels: vec![v1::Label { key: key.into(), value: Some(value.into()) }] }
}

fn refused(container: Container, policy: &LimitPolicy) -> String {
    bind(&mut container.clone(), None, policy).unwrap_err()
}

fn names(all: &[&str]) -> Vec<String> {
    all.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn what_a_container_has_without_asking_is_cut_to_the_operators_bound() {
    let mut one = docker(&[("cap-add", "NET_ADMIN")]);
    bind(&mut one, None, &bounded(&["CHOWN", "NET_ADMIN"])).unwrap();
    let Capabilities::Usual { add, drop } = &one.capabilities else { panic!("not the usual ones") };
    assert_eq!(add, &names(&["NET_ADMIN"]));
    assert!(drop.contains(&"SETUID".to_owned()) && !drop.contains(&"CHOWN".to_owned()));
}

#[test]
fn what_it_asks_for_beyond_the_bound_is_refused_by_name() {
    let policy = bounded(&["CHOWN"]);
    let error = refused(docker(&[("cap-add", "NET_ADMIN")]), &policy);
    assert!(error.contains("--bounding-capabilities") && error.ends_with("NET_ADMIN"), "{error}");
    for flag in [("cap-add", "ALL"), ("privileged", "true")] {
        assert!(refused(docker(&[flag]), &policy).contains("SYS_ADMIN"), "{flag:?}");
    }
    let mut exact = container();
    exact.capabilities =
        Capabilities::Exactly { effective: names(&["KILL"]), bounding: names(&["KILL"]) };
    assert!(refused(exact.clone(), &policy).contains("KILL"));
    bind(&mut exact, None, &bounded(&["KILL"])).unwrap();
}

#[test]
fn the_operators_capabilities_are_those_of_containers_that_name_none() {
    let given = LimitPolicy {
        effective_capabilities: Some(capability_mask(&names(&["CHOWN", "KILL"]))),
        ..LimitPolicy::default()
    };
    let mut mesos = container();
    bind(&mut mesos, None, &given).unwrap();
    let both = names(&["CHOWN", "KILL"]);
    let exactly = Capabilities::Exactly { effective: both.clone(), bounding: both };
    assert_eq!(mesos.capabilities, exactly);
    let mut own = docker(&[("cap-add", "NET_RAW"), ("cap-drop", "KILL")]);
    bind(&mut own, None, &given).unwrap();
    let Capabilities::Usual { add, drop } = own.capabilities else { panic!("not the usual ones") };
    assert_eq!((add, drop), (names(&["NET_RAW", "CHOWN"]), names(&["KILL", "ALL"])));
}

#[test]
fn privileged_containers_are_the_operators_to_allow() {
    let privileged = docker(&[("privileged", "true")]);
    bind(&mut privileged.clone(), None, &LimitPolicy::default()).unwrap();
    let strict = LimitPolicy { privileged_containers: false, ..LimitPolicy::default() };
    assert!(refused(privileged, &strict).contains("--privileged-containers"));
    bind(&mut docker(&[]), None, &strict).unwrap();
}

#[test]
fn new_privileges_are_ruled_out_by_the_operator_and_by_a_label() {
    let asks = docker(&[("security-opt", "no-new-privileges:false")]);
    let policy = LimitPolicy { no_new_privileges: true, ..LimitPolicy::default() };
    assert!(refused(asks.clone(), &policy).contains("--no-new-privileges"));
    let mut labelled = asks;
    let label = labels("TEPUI_NO_NEW_PRIVILEGES", "true");
    bind(&mut labelled, Some(&label), &LimitPolicy::default()).unwrap();
    assert!(!labelled.new_privileges);
    let mut privileged = docker(&[("privileged", "true")]);
    bind(&mut privileged, None, &policy).unwrap();
    assert!(privileged.privileged && !privileged.new_privileges);
}

#[test]
fn a_filter_is_the_containers_own_then_its_labels_then_the_operators() {
    let policy = LimitPolicy { seccomp: Some(SeccompProfile::Strict), ..LimitPolicy::default() };
    let of = |mut one: Container, label: Option<v1::Labels>, policy: &LimitPolicy| {
        bind(&mut one, label.as_ref(), policy).unwrap();
        one.seccomp
    };
    assert_eq!(of(container(), None, &policy), Seccomp::Strict);
    let label = |value| Some(labels("TEPUI_SECCOMP", value));
    assert_eq!(of(container(), label("default"), &policy), Seccomp::Usual);
    assert_eq!(of(container(), label("strict"), &LimitPolicy::default()), Seccomp::Strict);
    let unconfined = docker(&[("security-opt", "seccomp=unconfined")]);
    assert_eq!(of(unconfined, label("strict"), &policy), Seccomp::Unconfined);
    let file = LimitPolicy { seccomp_file: Some("web.json".into()), ..LimitPolicy::default() };
    assert_eq!(of(container(), None, &file), Seccomp::Profile("web.json".into()));
}

#[test]
fn the_shield_is_not_to_be_led_around() {
    let policy = LimitPolicy { shield: true, ..LimitPolicy::default() };
    for flag in [("device", "/dev/fuse"), ("pid", "host"), ("ipc", "host")] {
        assert!(refused(docker(&[flag]), &policy).contains("--shield-tasks"), "{flag:?}");
    }
    for flag in [("cap-add", "MKNOD"), ("cap-add", "ALL"), ("security-opt", "seccomp=unconfined")] {
        assert!(refused(docker(&[flag]), &policy).contains("--shield-tasks"), "{flag:?}");
    }
    bind(&mut docker(&[("cap-add", "CHOWN")]), None, &policy).unwrap();
    let named = Some(capability_mask(&names(&["MKNOD"])));
    let told = LimitPolicy { bounding_capabilities: named, ..policy.clone() };
    bind(&mut docker(&[("cap-add", "MKNOD")]), None, &told).unwrap();
    let mut plain = container();
    bind(&mut plain, None, &policy).unwrap();
    assert!(plain.hidden.is_empty(), "its image has no sockets of the host");
    plain.image = None;
    bind(&mut plain, None, &policy).unwrap();
    assert!(plain.hidden.contains(&"/run/dbus".to_owned()));
}

#[test]
fn volumes_of_the_host_are_those_that_the_operator_names() {
    let some = LimitPolicy { host_volumes: Some(names(&["/srv"])), ..LimitPolicy::default() };
    let mut good = docker(&[("volume", "/srv/data:/data")]);
    bind(&mut good, None, &some).unwrap();
    assert_eq!(good.host_folders, Some(names(&["/srv"])), "the runtime follows links");
    for path in ["/srvx:/data", "/:/data", "/srv/../etc:/data"] {
        let error = refused(docker(&[("volume", path)]), &some);
        assert!(error.contains("--host-volumes"), "{error}");
    }
}

#[test]
fn what_was_accepted_under_other_settings_gets_nothing_in_question() {
    let mut one = docker(&[("privileged", "true"), ("device", "/dev/fuse"), ("volume", "/:/x")]);
    disarm(&mut one, &LimitPolicy::default());
    assert!(!one.privileged && one.devices.is_empty() && one.mounts.is_empty());
}

#[test]
fn whoever_cannot_be_held_to_its_devices_makes_no_nodes() {
    let no_rules =
        LimitPolicy { unruled_devices: Some("no groups".into()), ..LimitPolicy::default() };
    let ways: [&[(&str, &str)]; 2] = [&[("cap-add", "MKNOD")], &[("device", "/dev/fuse")]];
    for flags in ways {
        let why = refused(docker(flags), &no_rules);
        assert!(why.contains("cannot hold it to its devices: no groups"), "{why}");
        let mut held = docker(flags);
        bind(&mut held, None, &LimitPolicy::default()).unwrap();
        assert!(held.holds_to_devices);
    }
    let mut all = docker(&[("cap-add", "ALL")]);
    bind(&mut all, None, &no_rules).unwrap();
    let Capabilities::Usual { drop, .. } = &all.capabilities else { panic!("not the usual ones") };
    assert!(drop.contains(&"MKNOD".to_owned()) && !all.holds_to_devices);
    let bit = capability_mask(&names(&["MKNOD", "KILL"]));
    let given = LimitPolicy { effective_capabilities: Some(bit), ..no_rules };
    let mut exact = container();
    bind(&mut exact, None, &given).unwrap();
    let Capabilities::Exactly { effective, bounding } = &exact.capabilities else { panic!() };
    assert_eq!((effective, bounding), (&names(&["KILL"]), &names(&["KILL"])));
}

#[test]
fn only_who_is_privileged_has_all_devices_and_not_behind_the_shield() {
    let mut one = docker(&[("privileged", "true")]);
    bind(&mut one, None, &LimitPolicy::default()).unwrap();
    assert!(!one.holds_to_devices);
    let shield = LimitPolicy { shield: true, ..LimitPolicy::default() };
    bind(&mut one, None, &shield).unwrap();
    assert!(one.holds_to_devices);
    let no_rules = LimitPolicy { unruled_devices: Some("no BPF".into()), ..shield };
    assert!(refused(one, &no_rules).contains("no BPF"));
}
