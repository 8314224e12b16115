use tepui_apps::Command;
use tepui_wire::v1::TaskState;
use tepui_wire::v1::task_status::Reason;

use crate::rig::{Habit, Rig, path};

const ONE: &str = r#"{"id":"/web","cmd":"sleep 1","cpus":0.1}"#;

fn delay(rig: &Rig) -> Option<(u64, bool)> {
    let queue = rig.apps.queue(rig.now, false).queue;
    queue.first().map(|item| (item.delay.time_left_seconds, item.delay.overdue))
}

#[test]
fn a_failing_app_backs_off_longer_each_time_and_says_so() {
    let mut rig = Rig::new().agent("a", 10.0);
    rig.create(r#"{"id":"/web","cmd":"x y","backoffSeconds":4,"backoffFactor":2}"#).unwrap();
    let mut delays = Vec::new();
    for _ in 0..3 {
        let task = rig.live_ids().remove(0);
        rig.report(&task, TaskState::TaskFailed);
        rig.settle();
        delays.push(delay(&rig).unwrap());
        while rig.live_ids().is_empty() {
            rig.advance(1);
        }
    }
    assert_eq!(delays, [(4, false), (8, false), (16, false)]);
    let failure = rig.apps.last_task_failure(&path("/web")).unwrap();
    assert_eq!(failure.message, "told by the rig");
    assert_eq!(rig.tasks_of("/web")[0].id.incarnation(), Some(4));
}

#[test]
fn resetting_the_delay_launches_at_once() {
    let mut rig = Rig::new().agent("a", 10.0);
    rig.create(r#"{"id":"/web","cmd":"x y","backoffSeconds":200}"#).unwrap();
    let task = rig.live_ids().remove(0);
    rig.report(&task, TaskState::TaskFailed);
    rig.advance(20);
    assert!(rig.live_ids().is_empty());
    rig.command(Command::ResetDelay { id: path("/web") }).unwrap();
    rig.settle();
    rig.advance(5);
    assert_eq!(rig.live_ids().len(), 1);
    let refused = rig.command(Command::ResetDelay { id: path("/web") }).unwrap_err();
    assert_eq!(refused.body.message, "Application /web not found in tasks queue.");
}

#[test]
fn a_task_that_is_killed_or_lost_with_its_agent_causes_no_delay() {
    let mut rig = Rig::new().agent("a", 10.0);
    rig.habit = Habit::Manual;
    rig.create(ONE).unwrap();
    for (state, reason) in [
        (TaskState::TaskKilled, None),
        (TaskState::TaskFailed, Some(Reason::AgentRestarted)),
        (TaskState::TaskGone, Some(Reason::AgentRemoved)),
        (TaskState::TaskDropped, Some(Reason::InvalidOffers)),
    ] {
        let task = rig.live_ids().remove(0);
        rig.tasks.get_mut(&task).unwrap().state = state;
        rig.push_status(&task, state, reason);
        rig.settle();
        assert!(delay(&rig).is_none_or(|(left, _)| left == 0), "{state:?}");
        rig.advance(10);
    }
}

#[test]
fn by_default_a_task_on_a_lost_agent_is_replaced_at_once_and_killed_when_it_returns() {
    let mut rig = Rig::new().agent("a", 10.0);
    rig.create(ONE).unwrap();
    let lost = rig.live_ids().remove(0);
    rig.add_agent("b", 10.0, &[]);
    rig.partition("a");
    rig.advance(6);
    assert_eq!(rig.tasks_of("/web").len(), 1);
    assert_eq!(rig.tasks_of("/web")[0].host, "b");
    rig.heal("a");
    rig.advance(10);
    assert!(!rig.live_ids().contains(&lost));
    assert_eq!(rig.live_ids().len(), 1);
}

#[test]
fn with_a_patient_strategy_the_task_is_replaced_later_and_forgotten_last() {
    let mut rig = Rig::new().agent("a", 10.0);
    rig.create(
        r#"{"id":"/web","cmd":"sleep 1","cpus":0.1,
            "unreachableStrategy":{"inactiveAfterSeconds":60,"expungeAfterSeconds":300}}"#,
    )
    .unwrap();
    rig.add_agent("b", 10.0, &[]);
    rig.partition("a");
    rig.advance(50);
    assert_eq!(rig.live_ids().len(), 1, "not yet");
    rig.advance(20);
    assert_eq!(rig.tasks_of("/web").len(), 2, "the old one stays listed");
    rig.advance(240);
    assert_eq!(rig.tasks_of("/web").len(), 1);
}

#[test]
fn a_task_that_returns_in_time_goes_on_as_if_nothing_had_been() {
    let mut rig = Rig::new().agent("a", 10.0);
    rig.create(r#"{"id":"/web","cmd":"sleep 1","cpus":0.1,"unreachableStrategy":"disabled"}"#)
        .unwrap();
    let task = rig.live_ids();
    rig.partition("a");
    rig.advance(10_000);
    rig.heal("a");
    rig.advance(10);
    assert_eq!(rig.live_ids(), task);
    assert_eq!(rig.running("/web"), 1);
}

#[test]
fn kills_are_repeated_until_the_task_has_ended() {
    let mut rig = Rig::new().agent("a", 10.0);
    rig.create(ONE).unwrap();
    rig.habit = Habit::Manual;
    rig.delete("/web").unwrap();
    let kill = tepui_wire::v1::scheduler::call::Type::Kill;
    assert_eq!(rig.count_calls(kill), 1);
    rig.advance(65);
    assert_eq!(rig.count_calls(kill), 3);
}

#[test]
fn at_most_a_hundred_kills_are_on_their_way() {
    let mut rig = Rig::new();
    for number in 0..50 {
        rig.add_agent(&format!("h{number}"), 10.0, &[]);
    }
    rig.create(r#"{"id":"/web","cmd":"sleep 1","cpus":0.1,"mem":1,"instances":150}"#).unwrap();
    rig.advance(60);
    assert_eq!(rig.running("/web"), 150);
    rig.habit = Habit::Manual;
    rig.delete("/web").unwrap();
    assert_eq!(rig.pending_kills.len(), 100);
    let one = rig.pending_kills.first().cloned().unwrap();
    rig.report(&one, TaskState::TaskKilled);
    rig.settle();
    assert_eq!(rig.killed.len(), 101);
}
