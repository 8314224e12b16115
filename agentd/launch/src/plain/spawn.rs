//! Starting a run.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tepui_cgroup::Subtree;
use tokio::io::AsyncReadExt;

use super::spares::Spare;
use super::{Inner, Processes, Run, limits, watch};
use crate::confinement::Confinement;
use crate::launcher::{LaunchError, Started};
use crate::possible::{Keeper, refuse_impossible};
use crate::protocol::{self, MAX_FRAME_BYTES, RunFrame, RunReply, save_rights};
use crate::record::{ProcessMark, StartMark};
use crate::spec::{LaunchSpec, StageSpec};

/// A shim that was spoken to and has not answered yet.
#[derive(Debug)]
pub(super) struct Shim {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    pub(super) channel: UnixStream,
}

/// Starts a run in a task of its own, so that a caller that loses patience cannot leave a run
/// behind that nobody follows.
pub(super) async fn start(inner: Arc<Inner>, spec: LaunchSpec) -> Result<Started, LaunchError> {
    match tokio::spawn(start_uncancelled(inner, spec)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(LaunchError::Shim("was abandoned because the agent is stopping")),
    }
}

async fn start_uncancelled(inner: Arc<Inner>, spec: LaunchSpec) -> Result<Started, LaunchError> {
    let run_id = spec.run_id.clone();
    let run_dir = spec.run_dir.clone();
    if !inner.register(&spec) {
        return Err(LaunchError::Exists(run_id));
    }
    let started = launch(&inner, spec).await;
    inner.refill();
    match started {
        Ok((shim, processes)) => {
            let main = processes.main;
            inner.set_processes(&run_id, processes);
            watch::follow(inner, run_id, run_dir, shim.pidfd);
            Ok(Started { main })
        }
        Err(error) => {
            inner.runs.lock().remove(&run_id);
            // What is left would only be found again at the next recovery.
            let _ = fs::remove_dir_all(&run_dir);
            Err(error)
        }
    }
}

async fn launch(inner: &Arc<Inner>, spec: LaunchSpec) -> Result<(Shim, Processes), LaunchError> {
    let permit = inner.spawns.acquire().await;
    let (with_group, run) = (spec.own_group, spec.run_id.clone());
    only_systemd_can(&spec.confinement)?;
    refuse_impossible(&spec.confinement.ceiling, &spec.sandbox, Keeper::Launcher)?;
    let rights = spec.confinement.rights.clone();
    let limits = Arc::new(limits::of(&spec.confinement.ceiling, &spec.sandbox));
    let (frame, run_dir) = inner.frame(spec)?;
    let (frame, run_dir) = (Arc::new(frame), Arc::new(run_dir));
    let (worker, text, dir) = (inner.clone(), frame.clone(), run_dir.clone());
    let (who, first_limits) = (run.clone(), limits.clone());
    let spare = off_the_runtime(move || {
        make_run_dir(&dir)?;
        save_rights(&dir, &rights).map_err(|source| LaunchError::Prepare {
            verb: "keep the rights of",
            path: dir.to_path_buf(),
            source,
        })?;
        worker.hand_to_spare(with_group, &who, &text, &first_limits)
    });
    if let Some(spare) = spare.await? {
        let outcome = try_with(inner, spare).await;
        let is_over = !matches!(outcome, Err(LaunchError::Shim(_)));
        // A spare that was killed just now may leave the run unbegun: then another may begin it.
        if is_over || !matches!(StartMark::load(&run_dir), Ok(None)) {
            drop(permit);
            return outcome;
        }
    }
    let worker = inner.clone();
    let new =
        off_the_runtime(move || worker.hand_to_new(with_group, &run, &frame, &limits)).await?;
    let outcome = try_with(inner, new).await;
    drop(permit);
    outcome
}

/// Waits for what came of a run that was handed over.
async fn try_with(inner: &Inner, spare: Spare) -> Result<(Shim, Processes), LaunchError> {
    let Spare { shim, group } = spare;
    match hear(inner, shim).await {
        Ok((shim, main)) => {
            let processes = Processes { shim: shim.pid, main, group };
            Ok((shim, processes))
        }
        Err(error) => {
            if let Some(group) = group {
                // Only a stop of the agent ends this early.
                let _ = tokio::task::spawn_blocking(move || watch::empty_group(&group)).await;
            }
            Err(error)
        }
    }
}

/// What only systemd can hold a run to. Hosts that lack it are found out before; a run that gets
/// here all the same must not go unprotected.
fn only_systemd_can(confinement: &Confinement) -> Result<(), LaunchError> {
    let Confinement { rights, pace, .. } = confinement;
    let needs = [
        (rights.system_calls.is_some(), "a filter of system calls"),
        (pace.notifies_within.is_some(), "somebody to tell that it is ready"),
        (pace.watchdog.is_some(), "a watchdog"),
    ];
    match needs.into_iter().find(|(needed, _)| *needed) {
        Some((_, what)) => Err(LaunchError::NeedsSystemd(what)),
        None => Ok(()),
    }
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LaunchError> + Send + 'static,
) -> Result<T, LaunchError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(LaunchError::Shim("was abandoned because the agent is stopping")),
    }
}

/// Starts a shim that serves one call and ends with it; the channel on which it answers. Whoever
/// asked may stop listening at any time: the shim notices, and is reaped all the same.
pub(super) async fn serve(
    inner: &Inner,
    verb: &'static str,
    frame: Vec<u8>,
) -> Result<tokio::net::UnixStream, LaunchError> {
    let permit = inner.spawns.acquire().await;
    let binary = inner.config.shim.clone();
    let shim = off_the_runtime(move || spawn_shim(&binary, verb, &frame)).await?;
    drop(permit);
    tokio::spawn(watch::wait_for(shim.pidfd));
    let channel = shim.channel.set_nonblocking(true);
    channel.and_then(|()| tokio::net::UnixStream::from_std(shim.channel)).map_err(|source| {
        LaunchError::Prepare { verb: "listen to", path: inner.config.shim.clone(), source }
    })
}

/// Waits for the shim's answer. A shim that fails is waited for, one that is silent is killed.
async fn hear(inner: &Inner, mut shim: Shim) -> Result<(Shim, ProcessMark), LaunchError> {
    let answer = tokio::time::timeout(inner.config.start_timeout, read_all(&mut shim)).await;
    let failure = match answer {
        Ok(Ok(text)) => match RunReply::decode(&String::from_utf8_lossy(&text)) {
            Some(RunReply::Started { pid, start_time }) => {
                return Ok((shim, ProcessMark { pid, start_time }));
            }
            Some(RunReply::Failed(reason)) => LaunchError::NotStarted(reason),
            None => LaunchError::Shim("died while it started the command"),
        },
        Ok(Err(_)) => LaunchError::Shim("hung up while it started the command"),
        Err(_) => LaunchError::Shim("did not start the command in time"),
    };
    // Already gone is what we want.
    let _ = pidfd_send_signal(&shim.pidfd, Signal::KILL);
    watch::wait_for(shim.pidfd).await;
    Err(failure)
}

async fn read_all(shim: &mut Shim) -> io::Result<Vec<u8>> {
    let channel = shim.channel.try_clone()?;
    channel.set_nonblocking(true)?;
    let mut text = Vec::new();
    let mut channel = tokio::net::UnixStream::from_std(channel)?.take(64 * 1024);
    channel.read_to_end(&mut text).await?;
    Ok(text)
}

impl Inner {
    fn register(&self, spec: &LaunchSpec) -> bool {
        let mut runs = self.runs.lock();
        let fresh = !runs.contains_key(&spec.run_id);
        if fresh {
            let run = Run { run_dir: spec.run_dir.clone(), processes: None };
            runs.insert(spec.run_id.clone(), run);
        }
        fresh
    }

    pub(super) fn set_processes(&self, run: &tepui_types::ContainerId, processes: Processes) {
        if let Some(run) = self.runs.lock().get_mut(run) {
            run.processes = Some(processes);
        }
    }

    fn frame(&self, spec: LaunchSpec) -> Result<(Vec<u8>, PathBuf), LaunchError> {
        let stage = StageSpec {
            sandbox: spec.sandbox,
            program: spec.program,
            env: self.with_path(with_credentials(spec.env, &spec.credentials)),
            user: spec.user,
            rlimits: spec.rlimits,
            answers: spec.answers,
            rights: spec.confinement.rights,
            network: spec.network,
        };
        let frame = RunFrame {
            run_id: spec.run_id.to_string(),
            run_dir: spec.run_dir.clone(),
            log_policy: spec.log_policy,
            stage,
            run_time: spec.confinement.pace.run_time,
        };
        let frame = frame.encode();
        if frame.len() > MAX_FRAME_BYTES {
            return Err(LaunchError::TooLarge { limit: MAX_FRAME_BYTES });
        }
        Ok((frame, spec.run_dir))
    }

    pub(super) fn with_path(&self, mut env: Vec<(String, String)>) -> Vec<(String, String)> {
        if !env.iter().any(|(name, _)| name == "PATH") {
            env.push(("PATH".to_owned(), self.config.default_path.clone()));
        }
        env
    }
}

/// What systemd does for a unit with credentials.
fn with_credentials(
    mut env: Vec<(String, String)>,
    credentials: &[(String, PathBuf)],
) -> Vec<(String, String)> {
    if let Some(folder) = credentials.first().and_then(|(_, file)| file.parent()) {
        let folder = folder.to_string_lossy().into_owned();
        env.push(("CREDENTIALS_DIRECTORY".to_owned(), folder));
    }
    env
}

pub(crate) fn make_run_dir(run_dir: &Path) -> Result<(), LaunchError> {
    let error = |source| LaunchError::Prepare {
        verb: "create run directory",
        path: run_dir.to_owned(),
        source,
    };
    if let Some(parent) = run_dir.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(error)?;
    }
    DirBuilder::new().mode(0o700).create(run_dir).map_err(error)
}

/// Spawns a shim and hands it its first frame. Blocks for about a millisecond.
pub(super) fn spawn_shim(binary: &Path, verb: &str, frame: &[u8]) -> Result<Shim, LaunchError> {
    let error = |verb: &'static str| {
        move |source| LaunchError::Prepare { verb, path: binary.to_owned(), source }
    };
    if frame.len() > MAX_FRAME_BYTES {
        return Err(LaunchError::TooLarge { limit: MAX_FRAME_BYTES });
    }
    let (mut channel, theirs) = UnixStream::pair().map_err(error("open a channel to"))?;
    let child = Command::new(binary)
        .arg(verb)
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(error("start"))?;
    let pid = Pid::from_child(&child);
    // Not waited for yet, so the pid is that of our child.
    let pidfd = pidfd_open(pid, PidfdFlags::empty());
    let pidfd = pidfd.map_err(|e| error("follow")(e.into()))?;
    match protocol::write_frame(&mut channel, frame) {
        // A shim that died is told apart when its answer is read.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => {}
        other => other.map_err(error("hand the command to"))?,
    }
    Ok(Shim { pid, pidfd, channel })
}

/// Starts a process that waits for ever, and lets the subtree place and kill it.
pub(super) fn prove_groups(shim: &Path, subtree: &Subtree) -> Result<(), String> {
    let mut trial = Command::new(shim)
        .arg("trial")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("failed to start '{}': {e}", shim.display()))?;
    let proof = subtree.prove(Pid::from_child(&trial));
    let outcome = match &proof {
        Ok(_) => judge_trial(&mut trial),
        Err(error) => {
            let _ = trial.kill();
            let _ = trial.wait();
            Err(match std::error::Error::source(error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            })
        }
    };
    if let Ok(leaf) = &proof {
        let _ = leaf.remove();
    }
    outcome
}

/// Closing the pipe ends a trial that the group's kill did not: its exit code tells which it was.
fn judge_trial(trial: &mut Child) -> Result<(), String> {
    drop(trial.stdin.take());
    let status = trial.wait().map_err(|e| format!("failed to wait for the trial process: {e}"))?;
    if status.signal() == Some(Signal::KILL.as_raw()) {
        Ok(())
    } else {
        Err("a process survived the kill of its control group".to_owned())
    }
}
