//! Scripts: a small cluster, what happens to it and when, and a transcript of what its users see.
//!
//! A script has one line per statement; `#` begins a comment.
//!
//! ```text
//! agents 2 cpus:4;mem:1024;disk:100;ports:[31000-31003]
//! framework batch wants 2 sleep 2000
//! at 1s create /web 2 forever
//! at 3s agent host0 dies
//! at 4s control dies
//! at 5s cut host1 12s
//! at 6s reset host0
//! at 7s scale /web 4
//! at 8s change /web forever again
//! at 9s delete /web
//! at 9s done batch
//! until 20s
//! ```

use std::collections::BTreeMap;

use tepui_marathon::AppId;
use tepui_types::Span;

use crate::queue::Action;
use crate::run::{add_host, apps_config, cluster_config, parse, start};
use crate::scheduler::{Behaviour, Scheduler};
use crate::world::World;

/// A line of a script that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the script means nothing: {text:?}")]
pub struct ScriptError {
    line: usize,
    text: String,
}

/// Something that a script does at its time.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    AgentDies(usize),
    ControlDies,
    Cut(usize, Span),
    Reset(usize),
    Create(AppId, u32, String),
    Scale(AppId, u32),
    Change(AppId, String),
    Delete(AppId),
    Done(usize),
}

fn span(text: &str) -> Option<Span> {
    let seconds = text.strip_suffix('s')?;
    Span::from_secs_f64(seconds.parse().ok()?)
}

fn agents(world: &mut World, words: &[&str]) -> Option<()> {
    let [count, total] = words else { return None };
    let first = world.hosts.len();
    for n in 0..count.parse::<usize>().ok()? {
        add_host(world, &format!("host{}", first + n), parse(total));
    }
    Some(())
}

fn framework(world: &mut World, words: &[&str]) -> Option<()> {
    let [name, "wants", wants, command @ ..] = words else { return None };
    let mut scheduler = Scheduler::new(name, Behaviour::Worker, wants.parse().ok()?);
    scheduler.commands = vec![command.join(" ")];
    world.schedulers.push(scheduler);
    Some(())
}

fn deed(world: &World, words: &[&str]) -> Option<Deed> {
    let host = |name: &str| world.hosts.iter().position(|host| host.name == name);
    let app = |path: &str| AppId::parse(path).ok();
    Some(match words {
        ["agent", name, "dies"] => Deed::AgentDies(host(name)?),
        ["control", "dies"] => Deed::ControlDies,
        ["cut", name, time] => Deed::Cut(host(name)?, span(time)?),
        ["reset", name] => Deed::Reset(host(name)?),
        ["create", path, count, command @ ..] => {
            Deed::Create(app(path)?, count.parse().ok()?, command.join(" "))
        }
        ["scale", path, count] => Deed::Scale(app(path)?, count.parse().ok()?),
        ["change", path, command @ ..] => Deed::Change(app(path)?, command.join(" ")),
        ["delete", path] => Deed::Delete(app(path)?),
        ["done", name] => Deed::Done(world.schedulers.iter().position(|one| one.name == *name)?),
        _ => return None,
    })
}

/// Plays a script; the transcript has one line per thing that a user of the cluster could see.
///
/// # Errors
/// The first line that means nothing.
pub fn play(script: &str) -> Result<Vec<String>, ScriptError> {
    let mut world = World::new(1);
    world.story = Some(Vec::new());
    world.steady = true;
    world.control.cluster_config = cluster_config();
    world.control.apps_config = apps_config();
    let begin = world.now.mono;
    let mut end = Span::from_secs(20);
    for (at, text) in script.lines().enumerate() {
        let statement = text.split('#').next().unwrap_or_default();
        let words: Vec<&str> = statement.split_whitespace().collect();
        let understood = match words.as_slice() {
            [] => Some(()),
            ["agents", rest @ ..] => agents(&mut world, rest),
            ["framework", rest @ ..] => framework(&mut world, rest),
            ["until", time] => span(time).map(|time| end = time),
            ["at", time, rest @ ..] => span(time).zip(deed(&world, rest)).map(|(time, deed)| {
                world.queue.put(begin + time, Action::Script(deed));
            }),
            _ => None,
        };
        if understood.is_none() {
            return Err(ScriptError { line: at + 1, text: text.to_owned() });
        }
    }
    start(&mut world);
    while world.step(begin + end) {}
    let mut story = world.story.take().unwrap_or_default();
    story.extend(world.checks.violations.iter().map(ToString::to_string));
    Ok(rename_instances(&story))
}

/// Instances have long random names; a transcript calls them `#1`, `#2`, … in order of
/// appearance.
fn rename_instances(story: &[String]) -> Vec<String> {
    const MARK: &str = ".instance-";
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let rename = |line: &String| {
        let mut parts = line.split(MARK);
        let mut renamed = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find(|c: char| c != '-' && !c.is_ascii_hexdigit());
            let (id, rest) = part.split_at(end.unwrap_or(part.len()));
            let next = names.len() + 1;
            let number = *names.entry(id.to_owned()).or_insert(next);
            renamed.push_str(&format!("#{number}{rest}"));
        }
        renamed
    };
    story.iter().map(rename).collect()
}

impl World {
    pub(crate) fn script_does(&mut self, deed: Deed) {
        match deed {
            Deed::AgentDies(host) => self.agent_dies(host),
            Deed::ControlDies => self.control_dies(),
            Deed::Cut(host, time) => {
                let name = self.hosts[host].name.clone();
                self.tell(|| format!("{name} is cut off for {time}"));
                let this = &mut self.hosts[host];
                (this.cut_up, this.cut_down) = (true, true);
                this.cut += 1;
                let cut = this.cut;
                self.after(time, Action::CutEnds { host, cut });
            }
            Deed::Reset(host) => self.host_resets(host),
            Deed::Create(app, count, command) => self.create_app(app, count, command),
            Deed::Scale(app, count) => self.scale_app(app, count),
            Deed::Change(app, command) => self.change_app(app, command),
            Deed::Delete(app) => self.delete_app(app),
            Deed::Done(scheduler) => {
                let name = self.schedulers[scheduler].name.clone();
                self.tell(|| format!("{name}: ends its work"));
                self.schedulers[scheduler].wants = 0;
                self.schedulers[scheduler].ends_work = true;
            }
        }
    }
}
