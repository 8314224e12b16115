//! The agent daemon: configuration, wiring, the driver loop.

// A binary has no outside: `pub` here says what a module offers to the others.
#![allow(unreachable_pub)]

mod attach;
mod bundles;
mod callers;
mod config;
mod containers;
mod detect;
mod driver;
mod ends;
mod finder;
mod host;
mod images;
mod isolation;
mod kernel;
mod link;
mod removal;
mod round;
mod runs;
mod sandbox;
mod secrets;
mod serve;
mod sessions;
mod turn;
mod wiring;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tepui_plugin_host::Kind;
use tepui_process::{LogFormat, load_settings, raise_descriptor_limit, start_log};
use tracing::{error, warn};

use crate::config::{Config, Settings};
use crate::turn::Ended;

/// The agent of a Tepui cluster: runs tasks on this host.
#[derive(Debug, Parser)]
#[command(name = "tepui-agentd", version)]
struct Arguments {
    /// Configuration file (TOML); flags win over it
    #[arg(long, env = "TEPUI_AGENT_CONFIG")]
    config: Option<PathBuf>,
    /// How log lines look: text or json
    #[arg(long, default_value = "text")]
    log_format: LogFormat,
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check a configuration file and say what is wrong with it
    CheckConfig {
        /// The file
        file: PathBuf,
        /// It is for another host: do not look for the files that it names
        #[arg(long)]
        elsewhere: bool,
        /// Look for plugins in this folder instead of plugin_dir; with --elsewhere whoever owns it
        #[arg(long, value_name = "FOLDER")]
        plugins: Option<PathBuf>,
    },
}

fn check(file: &Path, elsewhere: bool, plugins: Option<&Path>) -> anyhow::Result<()> {
    let settings = load_settings::<Settings>(file)?;
    let settings = if elsewhere { settings.elsewhere()? } else { settings };
    let config = settings.resolve()?;
    if !elsewhere {
        config.check_files()?;
    }
    let shelf = config.shelf.clone();
    let checked = shelf.check(Kind::Isolator, &config.plugins(), plugins, elsewhere);
    checked.map_err(anyhow::Error::msg)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Verb::CheckConfig { file, elsewhere, plugins }) = &arguments.verb {
        return match check(file, *elsewhere, plugins.as_deref()) {
            Ok(()) => {
                println!("{} is a valid configuration", file.display());
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    start_log(arguments.log_format);
    // For all that is started here: shims, checks, readers, plugins of networks.
    if let Err(problem) = tepui_launch::take_ignored_signals() {
        error!("signals that are ignored here may be ignored by what the agent starts: {problem}");
    }
    raise_descriptor_limit();
    let configured = Configured { flags: arguments.settings, file: arguments.config };
    match configured.read().and_then(|config| serve::serve(config, configured)) {
        Ok(Ended::Stopped) => ExitCode::SUCCESS,
        Ok(Ended::Left(_) | Ended::Journal(_)) => ExitCode::FAILURE,
        Err(problem) => {
            error!("{problem:#}");
            ExitCode::FAILURE
        }
    }
}

/// Where the configuration comes from.
struct Configured {
    flags: Settings,
    file: Option<PathBuf>,
}

impl Configured {
    fn read(&self) -> anyhow::Result<Config> {
        let file = match &self.file {
            Some(path) => load_settings(path)?,
            None => Settings::default(),
        };
        let config = self.flags.clone().over(file).resolve()?;
        // Their files may come and go: no reason not to start.
        if let Err(why) = config.check_tables() {
            warn!(why, "settings of a plugin that is none, ignored");
        }
        Ok(config)
    }
}
