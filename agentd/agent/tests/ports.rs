//! Ports that the kernel holds runs to.
#![allow(clippy::unwrap_used)]

mod rig;

use rig::{Rig, command, custom, ports};
use tepui_agent::{Config, Event, Exit, FOUND_ATTRIBUTES, PortDenial};
use tepui_types::TaskState::*;
use tepui_wire::v1::{self, task_status::Reason};

fn denial() -> PortDenial {
    let (operation, transport, address) = ("bind".into(), "tcp".into(), Some([0; 4].into()));
    PortDenial { operation, transport, port: 8081, address, count: 3 }
}

fn denied(rig: &mut Rig, executor: &str, fatal: bool) {
    let run = rig.run_of(executor);
    rig.event(Event::PortsDenied { run, denials: vec![denial()], fatal });
    rig.settle();
}

const NAMED: &str = "denied bind tcp 0.0.0.0:8081 (3 times); offered 31000-31001";

#[test]
fn a_task_that_fails_after_a_denied_bind_says_which_port() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    denied(&mut rig, "t1", false);
    denied(&mut rig, "t1", false);
    assert_eq!(rig.notices, [NAMED]);
    rig.exit("t1", Exit::Code(1));
    let message = format!("Command exited with status 1; {NAMED}");
    assert_eq!(rig.last("t1").message(), message);
}

#[test]
fn a_task_that_ends_well_does_not_mention_denials() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    denied(&mut rig, "t1", false);
    rig.exit("t1", Exit::Code(0));
    assert_eq!(rig.last("t1").message(), "Command exited with status 0");
}

#[test]
fn a_host_that_ends_tasks_for_foreign_ports_says_so() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    denied(&mut rig, "t1", true);
    assert_eq!(rig.process("t1").killed, 1);
    rig.exit("t1", Exit::Signal(9));
    let last = rig.last("t1");
    assert_eq!(rig.states("t1").last(), Some(&Failed));
    assert_eq!(last.reason(), Reason::ContainerLimitation);
    assert!(last.message().ends_with(NAMED), "{}", last.message());
}

#[test]
fn what_a_task_was_refused_while_the_agent_was_away_is_told_too() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.exit_unseen("t1", Exit::Code(1));
    rig.denials = vec![denial()];
    rig.restart();
    rig.connect();
    assert!(rig.last("t1").message().ends_with(NAMED), "{}", rig.last("t1").message());
}

#[test]
fn a_custom_executor_that_is_ended_for_a_port_fails_its_tasks() {
    let mut rig = Rig::registered();
    rig.launch(custom("t1"));
    rig.subscribe("e1");
    denied(&mut rig, "e1", true);
    assert_eq!(rig.process("e1").killed, 1);
    rig.exit("e1", Exit::Signal(9));
    assert_eq!(rig.last("t1").reason(), Reason::ContainerLimitation);
    assert!(rig.last("t1").message().ends_with(NAMED));
}

#[test]
fn the_ports_of_an_executor_follow_its_tasks() {
    let mut rig = Rig::registered();
    rig.launch(custom("t1"));
    rig.subscribe("e1");
    assert_eq!(rig.ports_told, []);
    let mut second = custom("t2");
    second.resources = vec![ports(31005, 31005)];
    rig.launch(second);
    rig.executor_says("t1", Running, 1);
    rig.executor_says("t1", Finished, 2);
    let run = rig.run_of("e1");
    let told = |text: &str| (run.clone(), text.to_owned());
    assert_eq!(rig.ports_told, [told("[31000-31001, 31005-31005]"), told("[31005-31005]")]);
}

#[test]
fn after_a_restart_the_kernel_is_told_the_ports_of_what_runs() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.launch(custom("t2"));
    rig.restart();
    let told: Vec<_> = rig.ports_told.iter().map(|(_, ports)| ports.as_str()).collect();
    assert_eq!(told, ["[31000-31001]"; 2]);
}

#[test]
fn a_feature_of_the_host_that_comes_or_goes_does_not_make_another_agent() {
    let with = |text: &str| {
        let text = v1::Attribute {
            name: FOUND_ATTRIBUTES[0].into(),
            r#type: v1::value::Type::Text.into(),
            text: Some(v1::value::Text { value: text.into() }),
            ..v1::Attribute::default()
        };
        let info = v1::AgentInfo { attributes: vec![text], ..rig::agent_info() };
        Config::new(info, "10.0.0.1")
    };
    let mut rig = Rig::with(with("kernel"));
    rig.connect();
    rig.config = with("none");
    rig.restart();
    assert_eq!(rig.quit, None);
    rig.config = Config::new(rig::agent_info(), "10.0.0.1");
    rig.restart();
    assert_eq!(rig.quit, None);
}
