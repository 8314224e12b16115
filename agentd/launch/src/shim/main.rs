//! `tepui-shim`: one tiny process per run that outlives the agent.
//!
//! `run` supervises a run, `check` a short check, `session` a command that somebody talks to, `stage`
//! becomes the command, `trial` waits to be killed (the agent proves with it that control groups work
//! here), `hold` keeps a control group. Inside a unit of systemd, `unit` becomes the command, `log`
//! spreads its output and has `beside-start` start what runs beside the command, and `unit-end` writes down how it ended. One thread, no runtime: what it keeps
//! in memory is paid for by every task of the host.

mod beside;
mod check;
mod logs;
mod outset;
mod pipes;
mod ready;
mod reaper;
mod rights;
mod run;
mod session;
mod stage;
mod unit;

use std::process::ExitCode;

fn main() -> ExitCode {
    let verb = std::env::args_os().nth(1).unwrap_or_default();
    match verb.to_str() {
        Some("run") => run::supervise(),
        Some("check") => check::supervise(),
        Some("session") => session::supervise(),
        Some("stage") => stage::become_command(),
        Some("unit") => unit::become_command(false),
        Some("unit-answering") => unit::become_command(true),
        Some("log-start") => unit::start_log(),
        Some("log") => unit::log(),
        Some("beside-start") => beside::start(),
        Some("unit-end") => unit::record_end(),
        Some("hold") => hold(),
        Some("trial") => wait_to_be_killed(),
        Some("--version") => {
            println!("tepui-shim {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("tepui-shim is started by the agent; see ARCHITECTURE.md");
            ExitCode::from(64)
        }
    }
}

/// Keeps a control group that systemd has left to the agent, until systemd ends it.
fn hold() -> ExitCode {
    loop {
        std::thread::park();
    }
}

/// Ends with the pipe on standard input, so that a trial never outlives its agent.
fn wait_to_be_killed() -> ExitCode {
    let mut nothing = String::new();
    // Any answer means the agent is gone.
    let _ = std::io::stdin().read_line(&mut nothing);
    ExitCode::SUCCESS
}
