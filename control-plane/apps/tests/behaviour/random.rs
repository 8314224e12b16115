//! Random commands, offers, failures, partitions and deaths; then faults stop, and everything must come
//! to what was asked for (invariants I-6, I-12, I-28, I-31, I-32).

use std::collections::{BTreeMap, BTreeSet};

use tepui_apps::{Command, KillTarget, ProbeOutcome};
use tepui_marathon::{ActionKind, Task, TaskId};
use tepui_types::Entropy;
use tepui_wire::v1::TaskState;

use crate::rig::{Habit, Rig, is_terminal, path};

const APPS: [&str; 3] = ["/a", "/b", "/g/c"];

/// Only `/b` is checked.
const CHECK: &str = r#","healthChecks":[{"protocol":"TCP","portIndex":0,"gracePeriodSeconds":5,
    "intervalSeconds":3,"timeoutSeconds":2,"maxConsecutiveFailures":3}]"#;

/// No kill during a rolling update brings the healthy tasks below the minimum (I-28).
fn enough_stay_healthy(rig: &Rig, victim: &str) {
    let Some(app) = APPS.iter().find(|app| rig.live_of(app).iter().any(|id| id == victim)) else {
        return;
    };
    let id = path(app);
    let restarting = rig.apps.deployments().iter().any(|deployment| {
        let mut actions = deployment.current_actions.iter();
        actions.any(|a| a.app == id && a.action == ActionKind::RestartApplication)
    });
    // A task that was given up and has come back is nobody's instance.
    let known = |task: &str| rig.apps.task(&TaskId::parse(task).unwrap()).is_some();
    let well = rig.apps.task(&TaskId::parse(victim).unwrap());
    if !restarting
        || !known(victim)
        || well.is_some_and(|task| !passes_checks(rig, &task))
        || rig.asked_for.contains(victim)
        || rig.heard.get(victim) != Some(&TaskState::TaskRunning)
    {
        return;
    }
    let definition = rig.apps.app(&id).unwrap();
    let needed = definition.upgrade_strategy.minimum_health_capacity.ceil_of(definition.instances);
    let healthy = rig.apps.tasks(&id).into_iter().filter(|task| {
        let name = task.id.as_str();
        rig.heard.get(name) == Some(&TaskState::TaskRunning)
            && !rig.killed.contains(name)
            && name != victim
            && passes_checks(rig, task)
    });
    let healthy = u32::try_from(healthy.count()).unwrap();
    assert!(healthy >= needed, "{victim}: {healthy} healthy left, {needed} needed");
}

/// Every check of the task's own version has reported, and well.
fn passes_checks(rig: &Rig, task: &Task) -> bool {
    let version = task.version.unwrap();
    let checks = rig.apps.app_at(&task.app_id, version).map_or(0, |app| app.health_checks.len());
    let results = &task.health_check_results;
    results.len() == checks && results.iter().all(|result| result.alive)
}

fn run(seed: u64) {
    let mut dice = Entropy::seeded(seed);
    let mut rig = Rig::seeded(seed);
    rig.before_kill = Some(enough_stay_healthy);
    for number in 0..6 {
        rig.add_agent(&format!("h{number}"), 50.0, &[]);
    }
    for _ in 0..60 {
        step(&mut rig, &mut dice);
        if rig.died {
            rig.fail_over();
        }
        apart(&rig);
    }
    quiet(&mut rig);
    converged(&rig, seed);
}

fn step(rig: &mut Rig, dice: &mut Entropy) {
    let app = APPS[usize::try_from(dice.below(3)).unwrap()];
    let force = dice.chance(1, 3);
    match dice.below(17) {
        0..=2 => {
            let json = format!(
                r#"{{"cmd":"v {}","instances":{},"cpus":0.1,"mem":1,"backoffSeconds":1,
                    "upgradeStrategy":{{"minimumHealthCapacity":{},"maximumOverCapacity":{}}}
                    {}}}"#,
                dice.below(3),
                dice.below(6),
                ["0", "0.5", "0.75", "1"][usize::try_from(dice.below(4)).unwrap()],
                ["0", "0.3", "1"][usize::try_from(dice.below(3)).unwrap()],
                if app == "/b" { CHECK } else { "" },
            );
            let _ = rig.put_quietly(app, &json, force);
        }
        3 => {
            let json = format!(r#"{{"instances":{}}}"#, dice.below(7));
            let _ = rig.put_quietly(app, &json, force);
        }
        4 if dice.chance(1, 3) => {
            let _ = rig.command(Command::DeleteApp { id: path(app), force: true });
        }
        5 => {
            let _ = rig.command(Command::RestartApp { id: path(app), force });
        }
        6 => {
            if let Some(deployment) = rig.apps.deployments().first() {
                let id = deployment.id;
                let _ = rig.command(Command::CancelDeployment { id, force: dice.chance(1, 2) });
            }
        }
        7 => {
            if let Some(task) = rig.apps.tasks(&path(app)).first() {
                let tasks = KillTarget::Tasks(vec![task.id.clone()]);
                // What a client kills is not ours to answer for, however late it happens.
                rig.asked_for.insert(task.id.to_string());
                let (scale, wipe) = (dice.chance(1, 3), dice.chance(1, 4));
                let _ = rig.command(Command::KillTasks { tasks, scale, wipe, force });
            }
        }
        8 | 9 => fail_one(rig, dice),
        10 => {
            let name = format!("h{}", dice.below(6));
            if rig.agents[&format!("S-{name}")].reachable {
                rig.partition(&name);
            } else {
                rig.heal(&name);
            }
        }
        11 => rig.habit = if dice.chance(1, 2) { Habit::Prompt } else { Habit::Manual },
        12 => rig.dies_after = Some(usize::try_from(dice.below(40)).unwrap()),
        13 => report_one(rig, dice),
        14 => answer_some(rig, dice),
        _ => rig.advance(dice.below(30)),
    }
    rig.settle();
}

fn fail_one(rig: &mut Rig, dice: &mut Entropy) {
    let live = rig.live_ids();
    let at = usize::try_from(dice.below(live.len() as u64)).unwrap();
    if let Some(id) = live.get(at).filter(|id| reachable(rig, id)).cloned() {
        let states = [TaskState::TaskFailed, TaskState::TaskFinished, TaskState::TaskKilled];
        rig.report(&id, states[usize::try_from(dice.below(3)).unwrap()]);
    }
}

/// Probes are answered, most of them well.
fn answer_some(rig: &mut Rig, dice: &mut Entropy) {
    let bad = dice.chance(1, 4);
    rig.answer_probes(|_| {
        if bad {
            ProbeOutcome::Failed { reason: "connection refused".into() }
        } else {
            ProbeOutcome::Connected
        }
    });
}

/// One task that lags behind catches up.
fn report_one(rig: &mut Rig, dice: &mut Entropy) {
    let late = lagging(rig);
    let at = usize::try_from(dice.below(late.len() as u64)).unwrap();
    if let Some(id) = late.get(at).cloned() {
        catch_up(rig, &id);
    }
}

fn reachable(rig: &Rig, task: &str) -> bool {
    rig.agents[&rig.tasks[task].agent].reachable
}

fn lagging(rig: &Rig) -> Vec<String> {
    let ids = rig.live_ids().into_iter();
    ids.filter(|id| {
        let waits = rig.tasks[id].state == TaskState::TaskStaging || rig.pending_kills.contains(id);
        waits && reachable(rig, id)
    })
    .collect()
}

fn catch_up(rig: &mut Rig, id: &str) {
    let killed = rig.pending_kills.contains(id);
    rig.report(id, if killed { TaskState::TaskKilled } else { TaskState::TaskRunning });
}

/// No two deployments touch the same app (I-31).
fn apart(rig: &Rig) {
    let mut seen = BTreeSet::new();
    for deployment in rig.apps.deployments() {
        for app in deployment.affected_apps {
            assert!(seen.insert(app.clone()), "{app} is in two deployments");
        }
    }
}

/// Faults stop.
fn quiet(rig: &mut Rig) {
    rig.dies_after = None;
    if rig.died {
        rig.fail_over();
    }
    rig.habit = Habit::Prompt;
    let names: Vec<String> = rig.agents.values().map(|agent| agent.hostname.clone()).collect();
    names.iter().for_each(|name| rig.heal(name));
    for _ in 0..250 {
        lagging(rig).iter().for_each(|id| catch_up(rig, id));
        rig.answer_probes(|_| ProbeOutcome::Connected);
        rig.advance(10);
    }
}

fn converged(rig: &Rig, seed: u64) {
    let mut wanted: BTreeMap<&str, u32> = BTreeMap::new();
    for app in APPS {
        wanted.insert(app, rig.apps.app(&path(app)).map_or(0, |app| app.instances));
    }
    assert!(!rig.deploying(), "seed {seed}: {:?}", rig.apps.deployments());
    for (app, wanted) in wanted {
        assert_eq!(rig.running(app), wanted, "seed {seed}, {app}");
        assert_eq!(rig.live_of(app).len(), wanted as usize, "seed {seed}, {app}");
    }
    let known = rig.apps.all_tasks().len();
    assert_eq!(known, rig.live_ids().len(), "seed {seed}: every task belongs to an instance");
    assert!(
        rig.tasks
            .values()
            .filter(|task| !is_terminal(task.state))
            .all(|task| { task.state == TaskState::TaskRunning })
    );
}

#[test]
fn whatever_happens_the_cluster_comes_to_what_was_asked_for() {
    for seed in 0..150 {
        run(seed);
    }
}
