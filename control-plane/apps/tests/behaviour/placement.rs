use std::collections::BTreeMap;

use tepui_marathon::RejectReason;

use crate::rig::Rig;

fn hosts(rig: &Rig) -> BTreeMap<String, usize> {
    let mut hosts = BTreeMap::new();
    for task in rig.tasks_of("/web") {
        *hosts.entry(task.host).or_default() += 1;
    }
    hosts
}

fn with(constraint: &str, instances: u32) -> String {
    format!(
        r#"{{"id":"/web","cmd":"sleep 1","cpus":0.1,"mem":1,"instances":{instances},
            "constraints":[{constraint}]}}"#
    )
}

#[test]
fn unique_hosts_run_one_each_and_the_rest_waits_with_its_reason() {
    let mut rig = Rig::new().agent("a", 10.0).agent("b", 10.0);
    rig.create(&with(r#"["hostname","UNIQUE"]"#, 3)).unwrap();
    rig.advance(130);
    assert_eq!(hosts(&rig), BTreeMap::from([("a".into(), 1), ("b".into(), 1)]));
    let queue = rig.apps.queue(rig.now, true).queue;
    assert_eq!(queue[0].count, 1);
    for unused in queue[0].last_unused_offers.as_ref().unwrap() {
        assert_eq!(unused.reason, [RejectReason::UnfulfilledConstraint]);
    }
    rig.add_agent("c", 10.0, &[]);
    rig.advance(10);
    assert_eq!(hosts(&rig).len(), 3);
}

#[test]
fn grouped_instances_spread_evenly_and_shrink_evenly() {
    let mut rig = Rig::new();
    for number in 0..6 {
        let rack = format!("r{}", number % 3);
        rig.add_agent(&format!("h{number}"), 10.0, &[("rack", &rack)]);
    }
    let racks = |rig: &Rig| {
        let mut racks = BTreeMap::<usize, usize>::new();
        for (host, count) in hosts(rig) {
            *racks.entry(host[1..].parse::<usize>().unwrap() % 3).or_default() += count;
        }
        racks.into_values().collect::<Vec<_>>()
    };
    rig.create(&with(r#"["rack","GROUP_BY","3"]"#, 9)).unwrap();
    rig.advance(140);
    assert_eq!(racks(&rig), [3, 3, 3]);
    rig.put("/web", r#"{"instances":6}"#).unwrap();
    rig.advance(20);
    assert_eq!(racks(&rig), [2, 2, 2]);
}

#[test]
fn old_tasks_do_not_stand_in_the_way_of_a_unique_update() {
    let mut rig = Rig::new().agent("a", 10.0).agent("b", 10.0);
    rig.create(&with(r#"["hostname","UNIQUE"]"#, 2)).unwrap();
    rig.advance(20);
    rig.put("/web", r#"{"cmd":"sleep 2"}"#).unwrap();
    rig.advance(60);
    assert!(!rig.deploying());
    assert_eq!(hosts(&rig).len(), 2);
}

#[test]
fn like_chooses_agents_by_attribute() {
    let mut rig = Rig::new();
    rig.add_agent("a", 10.0, &[("disk", "hdd")]);
    rig.add_agent("b", 10.0, &[("disk", "ssd-2")]);
    rig.add_agent("c", 10.0, &[]);
    rig.create(&with(r#"["disk","LIKE","ssd-[0-9]"]"#, 3)).unwrap();
    rig.advance(20);
    assert_eq!(hosts(&rig), BTreeMap::from([("b".into(), 3)]));
}

#[test]
fn group_by_without_a_number_spreads_over_every_value_that_is_offered() {
    let mut rig = Rig::new();
    for (agent, rack) in [("a", "1"), ("b", "1"), ("c", "2"), ("d", "3")] {
        rig.add_agent(agent, 10.0, &[("rack", rack)]);
    }
    let racks = |rig: &Rig| {
        let mut racks = BTreeMap::<&str, usize>::new();
        for (host, count) in hosts(rig) {
            let rack = match host.as_str() {
                "a" | "b" => "1",
                "c" => "2",
                _ => "3",
            };
            *racks.entry(rack).or_default() += count;
        }
        racks.into_values().collect::<Vec<_>>()
    };
    rig.create(&with(r#"["rack","GROUP_BY"]"#, 9)).unwrap();
    rig.advance(20);
    assert_eq!(racks(&rig), [3, 3, 3]);
    rig.put("/web", r#"{"instances":30}"#).unwrap();
    rig.advance(60);
    assert_eq!(racks(&rig), [10, 10, 10]);
    rig.put("/web", r#"{"instances":8}"#).unwrap();
    rig.advance(20);
    let mut left = racks(&rig);
    left.sort_unstable();
    assert_eq!(left, [2, 3, 3]);
}

#[test]
fn a_value_without_room_does_not_hold_up_an_even_spread() {
    let mut rig = Rig::new();
    rig.add_agent("a", 10.0, &[("rack", "1")]);
    rig.add_agent("full", 0.01, &[("rack", "2")]);
    rig.add_agent("c", 10.0, &[("rack", "3")]);
    rig.create(&with(r#"["rack","GROUP_BY"]"#, 8)).unwrap();
    rig.advance(20);
    assert_eq!(hosts(&rig), BTreeMap::from([("a".into(), 4), ("c".into(), 4)]));
}
