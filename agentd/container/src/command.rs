//! What a container executes: the task's command and the image's entry point together
//! (`spec/mesos-http.md`; the matrix of the `docker/runtime` isolator).

use serde::{Deserialize, Serialize};

use crate::describe::SANDBOX;
use crate::wish::Container;

/// What of an image's configuration matters to a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `NAME=value`.
    pub environment: Vec<String>,
    /// `ENTRYPOINT`.
    pub entrypoint: Vec<String>,
    /// `CMD`.
    pub command: Vec<String>,
    /// `WORKDIR`; empty is none.
    pub working_directory: String,
    /// `USER`; empty is root.
    pub user: String,
    /// `STOPSIGNAL`.
    pub stop_signal: Option<String>,
}

/// A process as it will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Program and arguments; never empty.
    pub argv: Vec<String>,
    /// The whole environment; later entries win.
    pub environment: Vec<(String, String)>,
    /// Where it begins.
    pub working_directory: String,
    /// As whom; `None` is root.
    pub user: Option<String>,
    /// What asks it to end.
    pub stop_signal: Option<String>,
}

/// A container that nobody said what to execute in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither the command nor the image says what to execute")]
pub struct Unstartable;

/// `PATH` where neither image nor task has one.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Puts together what the task and its image say. `environment` is the task's whole one.
///
/// # Errors
/// [`Unstartable`].
pub fn process(
    container: &Container,
    image: &ImageConfig,
    environment: &[(String, String)],
) -> Result<Process, Unstartable> {
    let argv = argv(container, image).filter(|argv| !argv.is_empty()).ok_or(Unstartable)?;
    let mut all = vec![("PATH".to_owned(), PATH.to_owned())];
    all.extend(image.environment.iter().filter_map(|one| {
        let (name, value) = one.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    }));
    all.extend(container.environment.iter().cloned());
    all.extend(environment.iter().cloned());
    let from_image = || Some(image.working_directory.clone()).filter(|dir| !dir.is_empty());
    let default = if container.begins_in_sandbox { SANDBOX } else { "/" };
    let directory = container.working_directory.clone().or_else(from_image);
    let user = container.user.clone();
    Ok(Process {
        argv,
        environment: all,
        working_directory: absolute(&directory.unwrap_or_else(|| default.to_owned())),
        user: user.or_else(|| Some(image.user.clone()).filter(|user| !user.is_empty())),
        stop_signal: container.stop_signal.clone().or_else(|| image.stop_signal.clone()),
    })
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn argv(container: &Container, image: &ImageConfig) -> Option<Vec<String>> {
    let entry = &container.entry;
    if entry.shell {
        // A shell needs text; Docker's own image command is no text for it.
        let line = entry.value.clone()?;
        return Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), line]);
    }
    if entry.docker {
        let mut arguments: Vec<_> = entry.value.clone().into_iter().collect();
        arguments.extend(entry.arguments.iter().cloned());
        return Some(match &entry.entrypoint {
            // As with `docker run --entrypoint`: the image's command counts no more.
            Some(own) => std::iter::once(own.clone()).chain(arguments).collect(),
            None => {
                let tail = if arguments.is_empty() { image.command.clone() } else { arguments };
                image.entrypoint.iter().cloned().chain(tail).collect()
            }
        });
    }
    if let Some(program) = entry.value.clone() {
        // The first argument is the program's own name, as everywhere in Mesos.
        let rest = entry.arguments.iter().skip(1).cloned();
        return Some(std::iter::once(program).chain(rest).collect());
    }
    let tail = if entry.arguments.is_empty() { &image.command } else { &entry.arguments };
    if !image.entrypoint.is_empty() {
        return Some(image.entrypoint.iter().chain(tail).cloned().collect());
    }
    let program = image.command.first()?;
    if entry.arguments.is_empty() {
        return Some(image.command.clone());
    }
    Some(std::iter::once(program).chain(&entry.arguments).cloned().collect())
}

#[cfg(test)]
mod tests;
