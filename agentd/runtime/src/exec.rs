//! A further process in a running container.

use std::fs;
use std::path::Path;

use oci_spec::runtime::{Capabilities, LinuxCapabilities, Process, Spec};
use tepui_container::{ExecOrder, capability_names};

use crate::answer::Answer;
use crate::build::{self, ID};
use crate::fault::{Attempt, Fault};
use crate::filter::{FILTER_FILE, Program};
use crate::place;
use crate::run::{self, own_capabilities};
use crate::seal;
use crate::standing;
use crate::terminal::Console;
use crate::wait::{End, Signals};

/// The filter of the container's own processes. An earlier release wrote down only what it is made of.
fn filter(spec: &Spec, scratch: &Path) -> Result<Option<Program>, Fault> {
    let file = scratch.join(FILTER_FILE);
    if file.exists() {
        return Program::load(&file).map(Some);
    }
    let described = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    described.map(|filter| Program::of(filter, None)).transpose()
}

/// Takes from a process what this one cannot give: an agent of few rights does not keep sessions out of
/// a privileged container that a service manager with all of them has started.
fn cut_to(process: &mut Process, own: &[String]) {
    let Some(given) = process.capabilities().clone() else { return };
    let cut = |set: &Option<Capabilities>| {
        let kept = set.iter().flatten().filter(|one| {
            let name = one.to_string();
            own.iter().any(|own| *own == name.trim_start_matches("CAP_"))
        });
        Some(kept.copied().collect::<Capabilities>())
    };
    let mut kept = LinuxCapabilities::default();
    kept.set_bounding(cut(given.bounding()))
        .set_effective(cut(given.effective()))
        .set_permitted(cut(given.permitted()))
        .set_inheritable(cut(given.inheritable()))
        .set_ambient(cut(given.ambient()));
    process.set_capabilities(Some(kept));
}

/// Runs the order in the container of the bundle, as the container's own user and under its own
/// restrictions, and stays to its end. The order's file is removed.
pub(crate) fn exec(bundle: &Path, file: &Path, answer: &mut Answer) -> Result<End, Fault> {
    seal::demand()?;
    let text = fs::read(file).on("read", file)?;
    let _ = fs::remove_file(file);
    let order: ExecOrder = serde_json::from_slice(&text).on("understand", file)?;
    let signals = Signals::hold()?;
    place::enter()?;
    let container = run::load(bundle)?;
    let scratch = container.scratch_or(bundle);
    let config = scratch.join("config.json");
    let spec = Spec::load(&config).on("read", &config)?;
    let filter = filter(&spec, scratch)?;
    let mut process =
        spec.process().clone().ok_or_else(|| Fault::new("the container has no process"))?;
    let mut environment = process.env().clone().unwrap_or_default();
    for (name, value) in order.environment {
        let start = format!("{name}=");
        environment.retain(|one| !one.starts_with(&start));
        environment.push(format!("{start}{value}"));
    }
    process.set_args(Some(order.argv)).set_env(Some(environment));
    process.set_terminal(Some(order.tty.is_some()));
    if let Some(folder) = order.working_directory {
        process.set_cwd(folder.into());
    }
    cut_to(&mut process, &capability_names(own_capabilities()?));
    if filter.is_some() {
        // The filter is loaded as the last step, when no privilege is left to load it with.
        process.set_no_new_privileges(Some(true));
    }
    let name = format!("exec-{}", std::process::id());
    let described = scratch.join(format!("{name}.json"));
    let text = serde_json::to_vec(&process).to("write the process down")?;
    fs::write(&described, text).on("write", &described)?;
    let console = order.tty.map(|_| Console::open(scratch, &format!("{name}.sock"))).transpose()?;
    if console.is_some() {
        crate::terminal::step_aside()?;
    }
    standing::wait(&scratch.join("state").join(ID));
    let beginning = build::begin(scratch, filter, order.tty)?;
    let joined = beginning.join(&described, console.as_ref().map(Console::path));
    let _ = fs::remove_file(&described);
    let (pid, starting) = joined?;
    starting.hear()?;
    answer.close();
    let terminal = console.map(Console::take).transpose()?;
    signals.follow(pid, None, terminal)
}
