use tepui_wire::v1::capability_info::Capability;

use super::labels::Wishes;
use super::*;

fn labels(all: &[(&str, &str)]) -> v1::Labels {
    let label = |(key, value): &(&str, &str)| v1::Label {
        key: (*key).to_owned(),
        value: Some((*value).to_owned()),
    };
    v1::Labels { labels: all.iter().map(label).collect() }
}

fn linux(info: v1::LinuxInfo) -> v1::ContainerInfo {
    v1::ContainerInfo { linux_info: Some(info), ..v1::ContainerInfo::default() }
}

fn set(all: &[Capability]) -> Option<v1::CapabilityInfo> {
    let capabilities = all.iter().map(|one| *one as i32).collect();
    Some(v1::CapabilityInfo { capabilities })
}

#[test]
fn labels_say_what_has_no_field() {
    let all = labels(&[
        ("TEPUI_NOTIFY", "true"),
        ("TEPUI_WATCHDOG_SEC", "7"),
        ("TEPUI_PIDS", "64"),
        ("TEPUI_CPUSET", "0-1,3"),
        ("TEPUI_OWNER", "?"),
        ("HAPROXY_0_VHOST", "x"),
    ]);
    let wishes = Wishes::read(Some(&all)).unwrap();
    let needs: Vec<_> = wishes.needs().into_iter().map(|(isolator, _)| isolator).collect();
    assert_eq!(needs, [NOTIFY, NOTIFY, PIDS, CPUSET]);
    let mut limits = Limits { processes: Some(9), ..Limits::default() };
    wishes.add_to(&mut limits);
    assert_eq!(limits.processes, Some(64));
    assert_eq!(limits.notifies_within, Some(Span::from_secs(300)));
    assert_eq!(limits.watchdog, Some(Span::from_secs(7)));
    assert_eq!(limits.processors.as_deref(), Some("0-1,3"));
}

#[test]
fn a_label_that_cannot_be_meant_is_named_with_what_would_be_right() {
    for (name, value, right) in [
        ("TEPUI_NOTIFY", "yes", "'true'"),
        ("TEPUI_WATCHDOG_SEC", "0", "from 1"),
        ("TEPUI_WATCHDOG_SEC", "1e9", "seconds"),
        ("TEPUI_PIDS", "-1", "from 1"),
        ("TEPUI_CPUSET", "3-1", "0-3,5"),
        ("TEPUI_CPUSET", "0-99999999", "0-3,5"),
        ("TEPUI_IO_WEIGHT", "10001", "10000"),
        ("TEPUI_SECCOMP", "mine", "'strict'"),
        ("TEPUI_SHEILD", "true", "did you mean 'TEPUI_SHIELD'?"),
        ("TEPUI_LATER", "true", "are reserved"),
    ] {
        let error = Wishes::read(Some(&labels(&[(name, value)]))).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(right), "{error}");
    }
}

#[test]
fn whoever_names_only_effective_capabilities_is_bounded_by_them() {
    let container = linux(v1::LinuxInfo {
        effective_capabilities: set(&[Capability::NetBindService]),
        ..v1::LinuxInfo::default()
    });
    let (none, policy) = (Wishes::default(), LimitPolicy::default());
    let rights = Rights::of(Some(&container), &none, &policy).unwrap();
    assert_eq!((rights.bounding, rights.ambient), (Some(1 << 10), 1 << 10));
    let narrow = LimitPolicy { bounding_capabilities: Some(1), ..policy.clone() };
    let error = Rights::of(Some(&container), &none, &narrow).unwrap_err().to_string();
    assert!(error.contains("--bounding-capabilities"), "{error}");
    let bounded = Rights::of(None, &none, &narrow).unwrap();
    assert_eq!((bounded.bounding, bounded.ambient), (Some(1), 0));
    let default = LimitPolicy { effective_capabilities: Some(0), ..policy };
    assert_eq!(Rights::of(None, &none, &default).unwrap().bounding, Some(0));
}

#[test]
fn a_seccomp_profile_is_known_or_refused_and_unconfined_wins() {
    let named = |name: Option<&str>, unconfined| {
        let profile_name = name.map(str::to_owned);
        let seccomp = Some(v1::SeccompInfo { profile_name, unconfined });
        linux(v1::LinuxInfo { seccomp, ..v1::LinuxInfo::default() })
    };
    let policy = LimitPolicy { seccomp: Some(SeccompProfile::Strict), ..LimitPolicy::default() };
    let of = |container| Rights::of(Some(&container), &Wishes::default(), &policy);
    assert_eq!(of(named(Some("default"), None)).unwrap().seccomp, Some(SeccompProfile::Default));
    assert_eq!(of(named(None, Some(true))).unwrap().seccomp, None);
    assert_eq!(of(named(None, None)).unwrap().seccomp, Some(SeccompProfile::Strict));
    assert!(of(named(Some("mine.json"), None)).unwrap_err().to_string().contains("mine.json"));
}

#[test]
fn the_shield_is_the_operators_word_or_the_tasks_and_nobody_takes_it_away() {
    let shielded = LimitPolicy { shield: true, ..LimitPolicy::default() };
    let of = |value: Option<&str>, policy: &LimitPolicy| {
        let ours: Vec<_> = value.into_iter().map(|value| ("TEPUI_SHIELD", value)).collect();
        let wishes = Wishes::read(Some(&labels(&ours))).unwrap();
        Rights::of(None, &wishes, policy).unwrap()
    };
    assert!(!of(None, &LimitPolicy::default()).shield);
    assert!(of(Some("true"), &LimitPolicy::default()).shield);
    assert!(of(Some("false"), &shielded).shield);
    let needs = of(None, &shielded).needs(None);
    assert_eq!(needs.iter().map(|(isolator, _)| *isolator).collect::<Vec<_>>(), [SHIELD]);
}

#[test]
fn a_label_that_a_container_would_not_heed_is_refused_in_one() {
    let image = v1::Image {
        r#type: v1::image::Type::Docker.into(),
        docker: Some(v1::image::Docker { name: "busybox".into(), ..v1::image::Docker::default() }),
        ..v1::Image::default()
    };
    let container = v1::ContainerInfo {
        r#type: v1::container_info::Type::Mesos.into(),
        mesos: Some(v1::container_info::MesosInfo { image: Some(image) }),
        ..v1::ContainerInfo::default()
    };
    let command = v1::CommandInfo { value: Some("true".into()), ..v1::CommandInfo::default() };
    let task = v1::TaskInfo { command: Some(command), ..v1::TaskInfo::default() };
    let of = |label| {
        let place = (Some(&container), task.command.as_ref());
        needs(Some(&labels(&[(label, "true")])), place, &task, &LimitPolicy::default())
    };
    let error = of("TEPUI_SHIELD").unwrap_err().to_string();
    assert!(error.contains("TEPUI_SHIELD"), "{error}");
    assert_eq!(of("TEPUI_NO_NEW_PRIVILEGES"), Ok(vec![]));
    assert_eq!(of("SOMEBODY_ELSES"), Ok(vec![]));
}
