//! Processes of a cluster for development: started, kept up, ended.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::say;
use crate::fault::Fault;

const POLL: Duration = Duration::from_millis(200);
/// A daemon that ends again so soon after its start is not started any more.
const SOON: Duration = Duration::from_secs(5);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Lines of a log that are shown when its daemon ends.
const SHOWN_LINES: usize = 12;

/// What to start.
#[derive(Clone, Debug)]
pub(super) struct Daemon {
    program: PathBuf,
    arguments: Vec<String>,
}

impl Daemon {
    pub(super) fn new(program: PathBuf) -> Self {
        Self { program, arguments: Vec::new() }
    }

    pub(super) fn word(mut self, word: &str) -> Self {
        self.arguments.push(word.to_owned());
        self
    }

    pub(super) fn flag(mut self, name: &str, value: impl ToString) -> Self {
        self.arguments.extend([name.to_owned(), value.to_string()]);
        self
    }

    fn name(&self) -> String {
        self.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The program of this name beside this one, else in PATH.
pub(super) fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("failed to find where tepui is installed")?;
    let beside = own.parent().map(Path::to_owned);
    let path = std::env::var_os("PATH").unwrap_or_default();
    find(name, beside.into_iter().chain(std::env::split_paths(&path))).ok_or_else(|| {
        let place = own.parent().unwrap_or(&own).display();
        Fault::new(format!("{name} is neither in {place} nor in PATH"))
            .fix("install it beside tepui; from source: `cargo build`")
            .into()
    })
}

fn find(name: &str, folders: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}

#[derive(Debug)]
struct Running {
    daemon: Daemon,
    child: Child,
    started: Instant,
}

/// All of them, in the order of their start.
#[derive(Debug)]
pub(super) struct Daemons {
    logs: PathBuf,
    running: Vec<Running>,
}

impl Daemons {
    pub(super) fn new(logs: PathBuf) -> Self {
        Self { logs, running: Vec::new() }
    }

    pub(super) fn start(&mut self, daemon: Daemon) -> anyhow::Result<()> {
        let child = self.spawn(&daemon)?;
        self.running.push(Running { daemon, child, started: Instant::now() });
        Ok(())
    }

    fn spawn(&self, daemon: &Daemon) -> anyhow::Result<Child> {
        let path = self.log_path(daemon);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("failed to open {}", path.display()))?;
        Command::new(&daemon.program)
            .args(&daemon.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for us: we end them in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start {}", daemon.program.display()))
    }

    fn log_path(&self, daemon: &Daemon) -> PathBuf {
        self.logs.join(format!("{}.log", daemon.name()))
    }

    /// An error when one of them ended during the start.
    pub(super) fn check_started(&mut self) -> anyhow::Result<()> {
        for index in 0..self.running.len() {
            if let Some(status) = self.running[index].child.try_wait()? {
                return Err(self.ended(index, status));
            }
        }
        Ok(())
    }

    fn ended(&self, index: usize, status: ExitStatus) -> anyhow::Error {
        let daemon = &self.running[index].daemon;
        let path = self.log_path(daemon);
        let log = fs::read(&path).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n    ");
        Fault::new(format!("{} ended with {status}; its last words:\n    {tail}", daemon.name()))
            .fix(format!("the whole log is {}", path.display()))
            .into()
    }

    /// Starts again what ends, as a service manager would. Returns only when one cannot be kept.
    pub(super) async fn keep(&mut self) -> anyhow::Result<()> {
        loop {
            tokio::time::sleep(POLL).await;
            for index in 0..self.running.len() {
                let Some(status) = self.running[index].child.try_wait()? else { continue };
                if self.running[index].started.elapsed() < SOON {
                    return Err(self.ended(index, status));
                }
                let daemon = self.running[index].daemon.clone();
                say(&format!("{} ended with {status}, starting it again", daemon.name()));
                self.running[index].child = self.spawn(&daemon)?;
                self.running[index].started = Instant::now();
            }
        }
    }

    pub(super) fn any_alive(&mut self) -> bool {
        self.running.iter_mut().any(|running| matches!(running.child.try_wait(), Ok(None)))
    }

    /// Ends them, the last started first: asks, and after a while insists.
    pub(super) async fn stop(&mut self) {
        while let Some(Running { daemon, mut child, .. }) = self.running.pop() {
            let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) else { continue };
            // An error means that it is gone, which is what is wanted.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
                say(&format!("{} does not end, killing it", daemon.name()));
                let _ = child.kill().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Daemon {
        Daemon::new(PathBuf::from("/bin/sh")).word("-c").word(script)
    }

    #[test]
    fn the_first_folder_with_the_program_wins() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        fs::create_dir_all(a.join("tool")).unwrap();
        fs::create_dir(&b).unwrap();
        fs::write(b.join("tool"), "").unwrap();
        assert_eq!(find("tool", [a, b.clone()]), Some(b.join("tool")));
        assert_eq!(find("other", [b]), None);
        let error = program("tepui-does-not-exist").unwrap_err().to_string();
        assert!(error.contains("nor in PATH"), "{error}");
    }

    #[tokio::test]
    async fn a_daemon_that_ends_at_once_is_reported_with_its_last_words() {
        let logs = tempfile::tempdir().unwrap();
        let mut daemons = Daemons::new(logs.path().to_owned());
        daemons.start(shell("echo cannot listen >&2; exit 3")).unwrap();
        let error = daemons.keep().await.unwrap_err().to_string();
        assert!(error.contains("cannot listen"), "{error}");
        assert!(error.contains("exit status: 3"), "{error}");
    }

    #[tokio::test]
    async fn daemons_are_ended_when_asked() {
        let logs = tempfile::tempdir().unwrap();
        let mut daemons = Daemons::new(logs.path().to_owned());
        daemons.start(shell("exec sleep 1000")).unwrap();
        assert!(daemons.any_alive());
        daemons.stop().await;
        assert!(!daemons.any_alive());
    }
}
