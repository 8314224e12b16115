//! `tepui completions SHELL`.

use clap::CommandFactory;

use crate::args::Args;

pub(crate) fn run(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Args::command(), "tepui", &mut std::io::stdout());
}
