//! Every argument of every verb.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tepui_ensemble::Address;

use crate::client::Api;
use crate::logs::Instant;
use crate::output::Format;
use crate::span;

const AFTER_HELP: &str = "\
Ids may be shortened to any beginning that names one thing; apps also without their slash.

Exit codes:
  0    done
  1    failed: refused, unreachable, rolled back, or not done in time
  2    wrong usage, or nothing fits the app or command in time; 'tepui apply': the definitions or the
       cluster have to change first, so that a second try would fail, too
  3    `tepui apply --dry-run`: something would change
  130  interrupted
'tepui run' and 'tepui exec' end with the status of their command, 128 + N when signal N ended it.";

/// Runs apps and commands on a Tepui cluster and tells why they do not run.
#[derive(Debug, Parser)]
#[command(name = "tepui", version, after_help = AFTER_HELP, propagate_version = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) endpoints: Endpoints,
    /// Form of what is printed on stdout
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub(crate) output: Format,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Where the control planes are when nobody says.
pub(crate) const MESOS: &str = "http://127.0.0.1:5050";
pub(crate) const MARATHON: &str = "http://127.0.0.1:8080";

/// Where the cluster listens.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Endpoints {
    /// Mesos endpoints of the control planes, with commas, or the store that they share (zk://…,
    /// etcd://…, file:///PATH of a file with its address) [default: http://127.0.0.1:5050]
    #[arg(long, global = true, env = "TEPUI_ADDR", hide_env_values = true)]
    pub(crate) address: Option<String>,
    /// Marathon endpoints of the control planes, likewise [default: http://127.0.0.1:8080, or the
    /// store of --address]
    #[arg(long, global = true, env = "TEPUI_MARATHON", hide_env_values = true)]
    pub(crate) marathon: Option<String>,
    /// Certificates (PEM) of who signs the store's servers, for etcds://
    #[arg(long, global = true, env = "TEPUI_STORE_CA_FILE", value_name = "FILE")]
    pub(crate) store_ca_file: Option<PathBuf>,
    /// Certificate (PEM) that is shown to the store's servers
    #[arg(long, global = true, env = "TEPUI_STORE_CERT_FILE", value_name = "FILE")]
    pub(crate) store_cert_file: Option<PathBuf>,
    /// Key (PEM) of that certificate
    #[arg(long, global = true, env = "TEPUI_STORE_KEY_FILE", value_name = "FILE")]
    pub(crate) store_key_file: Option<PathBuf>,
}

impl Endpoints {
    /// The addresses of an API as they were given. A store names both APIs, so one is enough.
    pub(crate) fn of(&self, api: Api) -> &str {
        let (own, other, default) = match api {
            Api::Mesos => (&self.address, &self.marathon, MESOS),
            Api::Marathon => (&self.marathon, &self.address, MARATHON),
        };
        let store = other.as_deref().filter(|other| Address::is_one(other));
        own.as_deref().or(store).unwrap_or(default)
    }

    /// One control plane that has both APIs at the same address.
    #[cfg(test)]
    pub(crate) fn at(address: &str) -> Self {
        let address = Some(address.to_owned());
        Self { marathon: address.clone(), address, ..Self::default() }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start a cluster on this host, in the foreground
    Dev(Dev),
    /// Run one command on the cluster, follow it, end with its status
    Run(Run),
    /// Apps: what should always run
    #[command(subcommand)]
    App(App),
    /// Make the cluster's apps those that files declare
    Apply(Apply),
    /// Tasks of apps
    #[command(subcommand)]
    Task(Task),
    /// Agents: the hosts of the cluster
    #[command(subcommand)]
    Agent(Agent),
    /// Plugins: allocators and isolators in libraries
    #[command(subcommand)]
    Plugin(Plugin),
    /// Frameworks: the schedulers that use the cluster
    #[command(subcommand)]
    Framework(Framework),
    /// The allocator: what another one would decide
    #[command(subcommand)]
    Allocator(Allocator),
    /// Deployments: changes of apps that are under way
    #[command(subcommand)]
    Deployment(Deployment),
    /// Print the output of an app's instances
    Logs(AppLogs),
    /// Run a command beside a task of an app, and end with its status
    Exec(Exec),
    /// Tell why an app does not run, and what would help
    #[command(visible_alias = "why")]
    Explain(Explain),
    /// Break something on purpose, and see what it costs
    #[command(subcommand)]
    Drill(Drill),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the versions of this tool and of the cluster
    Version,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Drill {
    /// End the leader's process as kill -9 does, and tell how long nobody led
    Failover(Failover),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Failover {
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Also where no other control plane stands by: nobody leads until the process is started again
    #[arg(long)]
    pub(crate) force: bool,
    /// How long to wait for the next leader
    #[arg(long, value_name = "TIME", value_parser = span::parse, default_value = "60s")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Dev {
    /// Simulated agents beside the real one
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) agents: u32,
    /// Folder of state, sandboxes and logs, kept afterwards [default: a new one, removed at the end]
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Port of the agent
    #[arg(long, default_value_t = 5051)]
    pub(crate) agent_port: u16,
    /// Port at which the control plane waits for agents
    #[arg(long, default_value_t = 5052)]
    pub(crate) link_port: u16,
    /// Resources of the agent as text ("cpus:4;mem:2048") [default: those of the host]
    #[arg(long)]
    pub(crate) resources: Option<String>,
    /// Attributes of the agent as text ("rack:a;os:linux")
    #[arg(long)]
    pub(crate) attributes: Option<String>,
    /// Do not ask before a folder is used that already holds something else
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Allocator {
    /// Play a recorded cluster's demand to other allocators, and compare what becomes of it
    ///
    /// The control plane records with the setting allocator_record, the simulator with
    /// `tepui-sim record`. What the frameworks wanted is read out of the recording; each allocator
    /// then meets the same demand in virtual time, with frameworks that answer offers as they did.
    Replay {
        /// The recording
        file: PathBuf,
        /// drf, priority or binpack, a plugin of the folder that --plugins names, or a plugin's file
        /// (./libmine.so); its settings as JSON may follow, after a =; may be repeated
        /// [default: drf, priority, binpack]
        ///
        /// A plugin's file and its calls are held to what a control plane holds them to. Its column is
        /// called NAME.so. One that fails has none: the round in which it did is told, and the exit
        /// code is 1.
        #[arg(long = "allocator", value_name = "NAME|FILE[=JSON]")]
        allocators: Vec<String>,
        /// The folder of plugins, as plugin_dir of a control plane; one of a built-in allocator's name
        /// is taken instead of it
        #[arg(long, value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
        plugins: Option<PathBuf>,
        /// A file with tables [plugins.NAME] as the control plane's configuration has them (settings,
        /// sha256, budget_ms), or that very file: what else is in it does not matter
        #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        settings: Option<PathBuf>,
        /// Decides what is random in an allocator
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Show how the candidate does that decides beside the allocator in charge
    Shadow,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Name of the task and its id
    #[arg(long)]
    pub(crate) name: String,
    /// Shell command
    #[arg(long)]
    pub(crate) command: String,
    /// CPUs
    #[arg(long, default_value_t = 1.0)]
    pub(crate) cpus: f64,
    /// Memory, MiB
    #[arg(long, default_value_t = 128.0)]
    pub(crate) mem: f64,
    /// Disk of the sandbox, MiB
    #[arg(long, default_value_t = 0.0)]
    pub(crate) disk: f64,
    /// GPUs
    #[arg(long, default_value_t = 0)]
    pub(crate) gpus: u32,
    /// Environment; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) env: Vec<(String, String)>,
    /// Role whose resources are used
    #[arg(long, default_value = "*")]
    pub(crate) role: String,
    /// System user that runs the command [default: yours]
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Time between SIGTERM and SIGKILL when it is stopped
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    pub(crate) kill_grace: Option<Duration>,
    /// Give up when nothing fits for so long, with exit code 2
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum App {
    /// List apps
    List {
        /// Only those whose labels match (Marathon's selector: "env==prod,tier in (a, b)")
        #[arg(long, short)]
        label: Option<String>,
    },
    /// Show one app with its tasks
    Show {
        /// Its id
        app: String,
    },
    /// Create apps from a JSON file
    Create {
        /// One definition or a list of them; - is stdin
        file: PathBuf,
        #[command(flatten)]
        change: Change,
    },
    /// Change apps to what a JSON file says
    Update {
        /// One definition or a list of them, each with its id; - is stdin
        file: PathBuf,
        /// Set what the file does not mention to its default
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        change: Change,
    },
    /// Change the number of instances
    Scale {
        /// Its id
        app: String,
        /// How many there should be
        instances: u32,
        #[command(flatten)]
        change: Change,
    },
    /// Replace all instances by new ones
    Restart {
        /// Its id
        app: String,
        #[command(flatten)]
        change: Change,
    },
    /// Stop all instances and forget the app
    Delete {
        /// Its id
        app: String,
        #[command(flatten)]
        change: Change,
    },
    /// Print the output of all instances (`tepui logs`)
    Logs(AppLogs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Apps get the label TEPUI_OWNER; those of other owners, or of none, are never changed. An app that
declares no instances keeps those that it has. With nothing declared, nothing is removed.")]
pub(crate) struct Apply {
    /// Files with one definition or a list of them, or folders of such *.json; - is stdin
    #[arg(required = true, value_name = "FILE|DIR")]
    pub(crate) paths: Vec<PathBuf>,
    /// Whose apps they are
    #[arg(long, required_unless_present = "check", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) owner: Option<String>,
    /// Remove the owner's apps that are no longer declared
    #[arg(long)]
    pub(crate) prune: bool,
    /// How many percent of the owner's apps may be removed at once; one always may
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) prune_limit: u8,
    /// Take over apps that have no owner; their tasks are replaced, as after any change
    #[arg(long)]
    pub(crate) adopt: bool,
    /// Only tell what would change, with exit code 3 if something would
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Only look whether the definitions are valid, without a cluster
    #[arg(long, conflicts_with_all = ["prune", "adopt", "dry_run"])]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) change: Change,
}

/// How a change is made and awaited.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Change {
    /// Override a deployment that is under way
    #[arg(long)]
    pub(crate) force: bool,
    /// Do not wait for the deployment
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Stop waiting after so long (90, 90s, 5m, 1h); the deployment goes on
    #[arg(long, value_name = "TIME", value_parser = span::parse, conflicts_with = "detach")]
    pub(crate) timeout: Option<Duration>,
}

/// Whose output.
#[derive(Debug, clap::Args)]
#[command(after_help = LOGS_HELP)]
pub(crate) struct AppLogs {
    /// The app's id; APP/N is only its Nth instance
    pub(crate) app: String,
    /// The instance that ended last instead (crashed, replaced, killed); with APP/N the Nth last
    #[arg(long, short, conflicts_with = "follow")]
    pub(crate) previous: bool,
    #[command(flatten)]
    pub(crate) logs: Logs,
}

const LOGS_HELP: &str = "\
Lines of several instances have the beginning of the instance's id before them, and ! instead of |
when they are error output. They are put in the order in which they were written.

Times: the agent records when output was written, not for each line, but once a second; older
records are thinned to about a hundredth of their age. So --since may show lines that are up to a
second (or that hundredth) too old, and leaves none out. Files without records (--file) are shown
from the first one that was written to since. With -f, lines have the time at which they came.

With -f, instances that start later are shown from their beginning, and agents and leaders that go
away are waited for. Ended instances are there for as long as their agent keeps the sandbox.";

/// Which part of the output.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Logs {
    /// Go on as more is written
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// How many lines of each stream of each instance to begin with [default: 20, or all with --since]
    #[arg(long, short = 'n', value_name = "N", alias = "lines")]
    pub(crate) tail: Option<usize>,
    /// Only what was written since: a time ago (90s, 5m, 2h, 1d) or an instant (2030-01-02T03:04:05Z)
    #[arg(long, value_name = "TIME", value_parser = Instant::parse_since)]
    pub(crate) since: Option<Instant>,
    /// Only lines that match this regular expression; --tail counts these
    #[arg(long, value_name = "REGEX", value_parser = regex::Regex::new)]
    pub(crate) grep: Option<regex::Regex>,
    /// Only the standard output [default: both]
    #[arg(long, conflicts_with_all = ["stderr", "file"])]
    pub(crate) stdout: bool,
    /// Only the error output
    #[arg(long, conflicts_with = "file")]
    pub(crate) stderr: bool,
    /// Another file of the sandbox instead
    #[arg(long)]
    pub(crate) file: Option<String>,
    /// When each line was written
    #[arg(long, short)]
    pub(crate) times: bool,
}

impl Logs {
    /// The files' names in the sandbox.
    pub(crate) fn files(&self) -> Vec<&str> {
        match &self.file {
            Some(file) => vec![file],
            None if self.stdout => vec!["stdout"],
            None if self.stderr => vec!["stderr"],
            None => vec!["stdout", "stderr"],
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// List tasks
    List {
        /// Only those of one app
        app: Option<String>,
    },
    /// Kill tasks; their app starts others in their place
    Kill {
        /// Their ids
        #[arg(required = true)]
        tasks: Vec<String>,
        /// Scale the app down by as many
        #[arg(long)]
        scale: bool,
        /// Override a deployment that is under way
        #[arg(long)]
        force: bool,
    },
    /// Print the output of a task of any framework, also of one that has ended
    #[command(after_help = LOGS_HELP)]
    Logs {
        /// Its id
        task: String,
        #[command(flatten)]
        logs: Logs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// List plugins of the control plane, or of an agent, and what became of them
    List {
        /// The agent, by id or host name [default: the control plane]
        #[arg(long)]
        agent: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// List agents
    List,
    /// Offer an agent no more, kill its tasks, and wait until it is empty
    Drain(Drain),
    /// Offer an agent no more; its tasks go on
    Deactivate {
        /// Its id or host
        agent: String,
    },
    /// Offer an agent again
    Activate {
        /// Its id or host
        agent: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Drain {
    /// Its id or host
    pub(crate) agent: String,
    /// Give tasks so long to end at most, where they would have longer
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    pub(crate) grace: Option<Duration>,
    /// When it is empty, declare it gone: it never comes back under this id
    #[arg(long)]
    pub(crate) mark_gone: bool,
    /// Do not wait until it is empty
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Stop waiting after so long
    #[arg(long, value_name = "TIME", value_parser = span::parse, conflicts_with = "detach")]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Framework {
    /// List frameworks
    List {
        /// Also those that are gone
        #[arg(long, short)]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Deployment {
    /// List deployments
    List,
    /// Undo a deployment by another one
    Cancel {
        /// Its id
        deployment: String,
        /// Only stop it and leave things as they are
        #[arg(long)]
        force: bool,
        /// Do not wait for the deployment that undoes it
        #[arg(long, short)]
        detach: bool,
        /// Stop waiting after so long
        #[arg(long, value_name = "TIME", value_parser = span::parse, conflicts_with = "detach")]
        timeout: Option<Duration>,
    },
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The command has the sandbox, environment, user and limits of the task, and ends with it.
At a terminal it has one too, as with -it, if neither -i nor -t is given; elsewhere it has no input
without -i. Ctrl-C goes to the command; a second one gives up, except with -it.")]
pub(crate) struct Exec {
    /// The app's id; APP/N is its Nth instance [default: the first]
    #[arg(required_unless_present = "task", default_value = "", hide_default_value = true)]
    pub(crate) app: String,
    /// A task by its id instead, of any framework
    #[arg(long, value_name = "ID")]
    pub(crate) task: Option<String>,
    /// Pass the standard input on
    #[arg(long, short)]
    pub(crate) interactive: bool,
    /// Give the command a terminal
    #[arg(long, short)]
    pub(crate) tty: bool,
    /// System user that runs it [default: the task's]
    #[arg(long, short)]
    pub(crate) user: Option<String>,
    /// Environment besides the task's; may be repeated
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) env: Vec<(String, String)>,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// Its id
    pub(crate) app: String,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Args::command().debug_assert();
    }

    #[test]
    fn environment_is_name_and_value() {
        assert_eq!(pair("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert!(pair("A").is_err());
        assert!(pair("=b").is_err());
    }
}
