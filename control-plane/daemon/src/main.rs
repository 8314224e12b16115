//! The control plane's daemon: configuration, wiring, the driver loop, shutdown.

// A binary has no outside: `pub` here says what a module offers to the others.
#![allow(unreachable_pub)]

mod allocation;
mod chronicle;
mod config;
mod driver;
mod elected;
mod follow;
mod grpc;
mod links;
mod plane;
mod plugins;
mod probes;
mod reached;
mod recorder;
mod rest;
mod serve;
mod shadow;
mod standing;
mod streams;
mod told;
mod turn;
mod vigils;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tepui_plugin_host::Kind;
use tepui_process::{LogFormat, load_settings, raise_descriptor_limit, start_log};
use tepui_store::StoreError;
use tracing::{error, warn};

use crate::config::{Config, Settings};
use crate::recorder::Recorder;
use crate::turn::Ended;

/// After a change of leader tens of thousands of agents bring all that they run: with the system's
/// allocator that takes half as long again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The control plane of a Tepui cluster.
#[derive(Debug, Parser)]
#[command(name = "tepui-control-plane", version)]
struct Arguments {
    /// Configuration file (TOML); flags win over it
    #[arg(long, env = "TEPUI_CONTROL_PLANE_CONFIG")]
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

/// Leadership given up, framework id missing, framework removed: the codes that Marathon's
/// supervisors know (`spec/marathon-behaviour.md` 14).
fn exit_code(ended: &Ended) -> u8 {
    match ended {
        Ended::Stopped => 0,
        Ended::Abdicated | Ended::Store(StoreError::Fenced { .. }) => 103,
        Ended::Store(_) => 1,
        Ended::Halted(tepui_apps::Halt::FrameworkIdMissing { .. }) => 108,
        Ended::Halted(tepui_apps::Halt::FrameworkRemoved { .. }) => 110,
    }
}

fn check(file: &Path, elsewhere: bool, plugins: Option<&Path>) -> anyhow::Result<Config> {
    let settings = load_settings::<Settings>(file)?;
    let settings = if elsewhere { settings.elsewhere()? } else { settings };
    let config = settings.resolve()?;
    let shelf = config.shelf.clone();
    let checked = shelf.check(Kind::Allocator, &config.plugins(), plugins, elsewhere);
    checked.map_err(anyhow::Error::msg)?;
    if !elsewhere {
        config.check_files()?;
    }
    if let Some(record) = config.allocator_record.as_deref().filter(|_| !elsewhere) {
        Recorder::check_folder(record, &config.state_dir).map_err(anyhow::Error::msg)?;
    }
    Ok(config)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Verb::CheckConfig { file, elsewhere, plugins }) = &arguments.verb {
        return match check(file, *elsewhere, plugins.as_deref()) {
            Ok(config) => {
                for warning in config.warnings {
                    eprintln!("warning: {warning}");
                }
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
    raise_descriptor_limit();
    let configured = Configured { flags: arguments.settings, file: arguments.config };
    match configured.read().and_then(|config| serve::serve(config, configured)) {
        Ok(ended) => ExitCode::from(exit_code(&ended)),
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

    /// As [`Configured::read`], for a process that goes on with what it has: its error is said with all
    /// causes, for the first part names no more than the file.
    fn read_anew(&self) -> Result<Config, String> {
        self.read().map_err(|problem| format!("{problem:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_says_what_is_wrong_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("control-plane.toml");
        std::fs::write(&file, "lisen = '127.0.0.1:1'\n").unwrap();
        let configured = Configured { flags: Settings::default(), file: Some(file) };
        let problem = configured.read_anew().unwrap_err();
        assert!(problem.contains("control-plane.toml") && problem.contains("`lisen`"), "{problem}");
    }

    #[test]
    fn a_recording_in_a_folder_that_is_not_there_is_refused_on_this_host_and_not_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("control-plane.toml");
        let write = |record: &Path| {
            let text = format!("allocator_record = \"{}\"\n", record.display());
            std::fs::write(&file, text).unwrap();
        };
        write(&folder.path().join("day.tepui"));
        assert!(check(&file, false, None).is_ok());
        write(&folder.path().join("nowhere/day.tepui"));
        let why = check(&file, false, None).unwrap_err().to_string();
        assert!(why.starts_with("allocator_record = ") && why.contains("is not there"), "{why}");
        assert!(check(&file, true, None).is_ok());
        write(&config::default_state_dir().join("day.tepui"));
        assert!(check(&file, false, None).is_ok(), "systemd makes that one");
    }

    #[test]
    fn files_for_tls_that_are_of_no_use_are_refused_on_this_host_and_not_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("control-plane.toml");
        let garbage = folder.path().join("garbage.pem");
        std::fs::write(&garbage, "no PEM").unwrap();
        for (ca, why) in [(Path::new("/nowhere/ca.pem"), "failed to read"), (&garbage, "in PEM")] {
            let text = format!(
                "store = \"etcds://localhost:2379\"\nstore_ca_file = \"{}\"\n",
                ca.display()
            );
            std::fs::write(&file, text).unwrap();
            let error = format!("{:#}", check(&file, false, None).unwrap_err());
            assert!(error.starts_with("store_ca_file") && error.contains(why), "{error}");
            assert!(check(&file, true, None).is_ok());
        }
    }
}
