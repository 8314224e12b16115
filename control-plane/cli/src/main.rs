//! The command line tool `tepui`: one verb per thing an operator or developer does.
//!
//! stdout is data, stderr is talk. Each noun is a file below `command`; what is decided is in pure
//! functions over plain structs (`explain`, `progress`, `run::launcher`), what is fetched in `client`.

mod apply;
mod args;
mod client;
mod command;
mod confirm;
mod deploy;
mod explain;
mod fault;
mod interrupt;
mod logs;
mod model;
mod output;
mod pick;
mod places;
mod progress;
mod pulling;
mod run;
mod span;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Verb};
use crate::client::Client;

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: failed to start\n  cause: {error}");
            return ExitCode::from(fault::FAILED);
        }
    };
    match runtime.block_on(dispatch(args)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprint!("{}", fault::show(&error));
            ExitCode::from(fault::code(&error))
        }
    }
}

/// Ends at once: the standard input may still be read by a thread that nobody can stop.
fn finish(outcome: anyhow::Result<u8>) -> ! {
    let code = outcome.unwrap_or_else(|error| {
        eprint!("{}", fault::show(&error));
        fault::code(&error)
    });
    std::process::exit(code.into())
}

async fn dispatch(args: Args) -> anyhow::Result<u8> {
    let Args { endpoints, output, verb } = args;
    let client = Client::new(&endpoints)?;
    match verb {
        Verb::Dev(dev) => command::dev::run(&client, &endpoints, dev).await,
        Verb::Run(job) => command::run::run(&client, job).await,
        Verb::Apply(words) => command::apply::run(&client, output, words).await,
        Verb::App(verb) => command::app::run(&client, output, verb).await,
        Verb::Task(verb) => command::task::run(&client, output, verb).await,
        Verb::Plugin(verb) => command::plugin::run(&client, output, verb).await,
        Verb::Agent(verb) => command::agent::run(&client, output, verb).await,
        Verb::Framework(verb) => command::framework::run(&client, output, verb).await,
        Verb::Allocator(verb) => command::allocator::run(&client, output, verb).await,
        Verb::Deployment(verb) => command::deployment::run(&client, output, verb).await,
        Verb::Logs(asked) => logs::of_app(&client, output, &asked).await,
        Verb::Exec(exec) => {
            let code = command::exec::run(&client, exec).await;
            finish(code)
        }
        Verb::Drill(verb) => command::drill::run(&client, output, verb).await,
        Verb::Explain(explain) => command::explain::run(&client, output, &explain.app).await,
        Verb::Completions { shell } => {
            command::completions::run(shell);
            Ok(fault::DONE)
        }
        Verb::Version => command::version::run(&client, output).await,
    }
}
