//! `tepui-runtime`: becomes the supervisor of one container, and ends as its first process ended.
//!
//! ```text
//! launcher ──▶ tepui-runtime run BUNDLE      one per container, in the run's control group
//!                │ seal: own mount namespace, its program on a read-only mount, no descriptors,
//!                │       no environment; executed again from there
//!                │ root: layers on each other by overlayfs, seen by nobody else
//!                │ spec: users and devices looked up, config.json written
//!                ├─clone─▶ libcontainer's init ─exec─▶ the task
//!                └ wait: signals passed on; the same exit code, or the same signal
//! ```
//!
//! Whatever launcher the host has supervises this process like any other: output, exit record,
//! limits and kills are the same code. One thread, always: libcontainer forks and allocates after
//! that. Descriptor 3, where it is open, is the launcher's answer channel: closed without a word
//! when the task is executed, else with the reason why it never will be.

mod above;
mod answer;
mod attach;
mod begin;
mod build;
mod devices;
mod exec;
mod executor;
mod fault;
mod filter;
mod held;
mod place;
mod root;
mod run;
mod seal;
mod signals;
mod sources;
mod standing;
mod talk;
mod terminal;
mod users;
mod wait;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::answer::Answer;

/// Exit code of a container that could not be made; the reason is on the answer channel.
const NOT_STARTED: u8 = 125;

fn main() -> ExitCode {
    // Before anything is opened: a descriptor that is there was handed to us.
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let verb = words.first().and_then(|word| word.to_str()).unwrap_or_default();
    let path = |at: usize| words.get(at).map(PathBuf::from);
    let mut answer = Answer::take();
    signals::stop_ignoring();
    let outcome = match (verb, path(1), path(2)) {
        ("run", Some(_), None) | ("exec", Some(_), Some(_)) => {
            answer.survive();
            let Err(fault) = seal::enter(&words);
            Err(fault)
        }
        ("run-sealed", Some(bundle), None) => run::run(&bundle, &mut answer),
        ("exec-sealed", Some(bundle), Some(order)) => exec::exec(&bundle, &order, &mut answer),
        ("--version", None, None) => {
            println!("tepui-runtime {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("tepui-runtime is started by the agent; see ARCHITECTURE.md");
            return ExitCode::from(64);
        }
    };
    match outcome {
        Ok(end) => end.repeat(),
        Err(fault) => {
            let text = fault.to_string();
            answer.refuse(&text);
            eprintln!("{text}");
            ExitCode::from(NOT_STARTED)
        }
    }
}
