//! A client of the Marathon API: creates, scales, changes, restarts, kills and deletes apps.

use std::collections::BTreeMap;

use tepui_apps::{Command, Event, KillTarget, Reply};
use tepui_marathon::{AppId, AppUpdate, Ratio, Rejection, UpgradeStrategy};
use tepui_types::{RequestId, Scalar};

use crate::control::Asker;
use crate::queue::Action;
use crate::world::{Phase, World};

/// What the client remembers.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// The apps that it works on.
    pub(crate) apps: Vec<AppId>,
    /// Instances of apps, by the last write that was answered, unless a later one was not.
    pub(crate) acknowledged: BTreeMap<AppId, Option<u32>>,
    waiting: BTreeMap<RequestId, (AppId, Option<u32>)>,
    writes: u64,
}

/// Commands of apps: most run until they are killed.
const COMMANDS: [&str; 4] = ["forever", "forever", "forever stubborn", "sleep 15000"];

impl World {
    pub(crate) fn client_step(&mut self) {
        if self.phase == Phase::Faults {
            let pause = self.millis(500, 4000);
            self.after(pause, Action::ClientStep);
        }
        if self.client.apps.is_empty() {
            return;
        }
        if self.phase == Phase::Drain {
            for app in self.client.apps.clone() {
                self.ask(app.clone(), None, Command::DeleteApp { id: app, force: true });
            }
            return;
        }
        let apps = self.client.apps.len() as u64;
        let at = usize::try_from(self.random.below(apps)).unwrap_or(0);
        let app = self.client.apps[at].clone();
        self.change(app);
    }

    fn change(&mut self, app: AppId) {
        let Some(leader) = &self.control.leader else { return };
        let definition = leader.apps().app(&app).cloned();
        let force = self.random.chance(1, 2);
        let instances = u32::try_from(self.random.below(6)).unwrap_or(0);
        let Some(definition) = definition else {
            let update = self.definition(&app, instances.max(1));
            let command = Command::CreateApp { update, force };
            return self.ask(app, Some(instances.max(1)), command);
        };
        let update = match self.random.below(10) {
            0..=3 => update(|update| update.instances = Some(instances)),
            4..=6 => {
                let pick = usize::try_from(self.random.below(4)).unwrap_or(0);
                self.client.writes += 1;
                let cmd = format!("{} #{}", COMMANDS[pick], self.client.writes);
                update(|update| update.cmd = Some(cmd))
            }
            7 => {
                return self.ask(
                    app.clone(),
                    Some(definition.instances),
                    Command::RestartApp { id: app, force },
                );
            }
            8 => {
                let tasks = leader_tasks(self, &app);
                self.checks.excused.extend(tasks);
                let target = KillTarget::App { app: app.clone(), host: None };
                let command =
                    Command::KillTasks { tasks: target, scale: false, wipe: false, force };
                return self.ask(app, Some(definition.instances), command);
            }
            _ => return self.ask(app.clone(), None, Command::DeleteApp { id: app, force }),
        };
        let wanted = update.instances.unwrap_or(definition.instances);
        let command =
            Command::UpdateApp { id: app.clone(), update, partial: true, create: false, force };
        self.ask(app, Some(wanted), command);
    }

    fn definition(&mut self, app: &AppId, instances: u32) -> AppUpdate {
        let strategy = [(500, 500), (1000, 1000), (700, 0), (0, 0)];
        let (health, over) = strategy[usize::try_from(self.random.below(4)).unwrap_or(0)];
        let app = app.clone();
        update(|update| {
            update.id = Some(app);
            update.cmd = Some("forever".to_owned());
            update.instances = Some(instances);
            update.cpus = Some(Scalar::from_milli(50));
            update.mem = Some(Scalar::from_units(32));
            update.disk = Some(Scalar::ZERO);
            update.upgrade_strategy = Some(UpgradeStrategy {
                minimum_health_capacity: Ratio::from_milli(health),
                maximum_over_capacity: Ratio::from_milli(over),
            });
            update.backoff_seconds = Some(1);
            update.max_launch_delay_seconds = Some(5);
        })
    }

    pub(crate) fn create_app(&mut self, app: AppId, instances: u32, command: String) {
        let mut update = self.definition(&app, instances);
        update.cmd = Some(command);
        update.upgrade_strategy = None;
        self.ask(app, Some(instances), Command::CreateApp { update, force: false });
    }

    pub(crate) fn scale_app(&mut self, app: AppId, instances: u32) {
        self.write_app(app, Some(instances), |update| update.instances = Some(instances));
    }

    pub(crate) fn change_app(&mut self, app: AppId, command: String) {
        self.write_app(app, None, |update| update.cmd = Some(command));
    }

    fn write_app(&mut self, app: AppId, instances: Option<u32>, fill: impl FnOnce(&mut AppUpdate)) {
        let id = app.clone();
        let update = update(fill);
        self.ask(
            app,
            instances,
            Command::UpdateApp { id, update, partial: true, create: false, force: false },
        );
    }

    pub(crate) fn delete_app(&mut self, app: AppId) {
        self.ask(app.clone(), None, Command::DeleteApp { id: app, force: true });
    }

    fn ask(&mut self, app: AppId, instances: Option<u32>, command: Command) {
        let request = self.new_request();
        self.tell(|| format!("client: {}", command_text(&command)));
        self.client.acknowledged.remove(&app);
        self.client.waiting.insert(request, (app, instances));
        self.control.askers.insert(request, Asker::Client);
        let command = Box::new(command);
        let event = Event::Command { request, command, origin: None };
        self.control_event(tepui_leader::Event::Apps(event));
    }

    pub(crate) fn client_answered(&mut self, request: RequestId, reply: Result<Reply, Rejection>) {
        let Some((app, instances)) = self.client.waiting.remove(&request) else { return };
        let done = reply.is_ok();
        self.tell(|| format!("client: {app} {}", if done { "done" } else { "refused" }));
        if done {
            self.client.acknowledged.insert(app, instances);
        }
    }
}

/// A command in a line.
fn command_text(command: &Command) -> String {
    let change = |update: &AppUpdate| {
        let mut text = String::new();
        if let Some(cmd) = &update.cmd {
            text += &format!(" to run {cmd:?}");
        }
        if let Some(instances) = update.instances {
            text += &format!(" with {instances} instances");
        }
        text
    };
    match command {
        Command::CreateApp { update, .. } => {
            let id = update.id.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("creates {id}{}", change(update))
        }
        Command::UpdateApp { id, update, force, .. } => {
            format!("changes {id}{}{}", change(update), if *force { ", by force" } else { "" })
        }
        Command::DeleteApp { id, .. } => format!("deletes {id}"),
        Command::RestartApp { id, .. } => format!("restarts {id}"),
        Command::KillTasks { .. } => "kills tasks".to_owned(),
        other => format!("{other:?}"),
    }
}

fn update(fill: impl FnOnce(&mut AppUpdate)) -> AppUpdate {
    let mut update = AppUpdate::default();
    fill(&mut update);
    update
}

fn leader_tasks(world: &World, app: &AppId) -> Vec<String> {
    let Some(leader) = &world.control.leader else { return Vec::new() };
    leader.apps().tasks(app).into_iter().map(|task| task.id.to_string()).collect()
}
