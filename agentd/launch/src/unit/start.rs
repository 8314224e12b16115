//! Starting a run as a unit.

use std::fs::{self, File};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::pipe::{PipeFlags, pipe_with};
use tepui_cgroup::Leaf;
use tepui_systemd::{SystemdError, UnitName, UnitStatus, fits_a_line};
use tepui_types::ContainerId;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;

use super::describe::Variables;
use super::{Inner, Phase, UnitRun, recover, watch};
use crate::confinement::Rights;
use crate::launcher::{LaunchError, RunEvent, RunOutcome, Started};
use crate::plain::{make_run_dir, short};
use crate::possible::{Keeper, refuse_impossible};
use crate::procfs;
use crate::protocol::{self, BEGIN, UnitReply, encode_variables};
use crate::record::{
    Cause, Ending, ExitRecord, ExitStatus, ProcessMark, UnitRecord, create_begun, never_began,
    save_invocation,
};
use crate::spec::{LaunchSpec, Program};

/// Most bytes of variables that systemd does not take: what a socket holds without a reader.
const MAX_REST_BYTES: usize = 64 * 1024;
/// Longest word of a stage.
const MAX_REPLY_BYTES: u64 = 8 * 1024;

/// Starts a run in a task of its own, so that a caller that loses patience leaves nothing behind
/// that nobody follows.
pub(super) async fn start(inner: Arc<Inner>, spec: LaunchSpec) -> Result<Started, LaunchError> {
    match tokio::spawn(start_uncancelled(inner, spec)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(LaunchError::Shim("was abandoned because the agent is stopping")),
    }
}

async fn start_uncancelled(inner: Arc<Inner>, spec: LaunchSpec) -> Result<Started, LaunchError> {
    let (run_id, run_dir) = (spec.run_id.clone(), spec.run_dir.clone());
    let unit = UnitName::of_task(&spec.label.unit_id(&run_id));
    let fresh = UnitRun {
        unit: unit.clone(),
        run_dir: run_dir.clone(),
        group: None,
        phase: Phase::Starting,
    };
    {
        let mut runs = inner.runs.lock();
        if runs.contains_key(&run_id) {
            return Err(LaunchError::Exists(run_id));
        }
        runs.insert(run_id.clone(), fresh);
    }
    let record = UnitRecord {
        run_id: run_id.to_string(),
        boot_id: procfs::boot_id().unwrap_or_default(),
        unit: unit.to_string(),
        asked_at: SystemTime::now(),
    };
    let dir = run_dir.clone();
    let wanted = (spec.confinement.ceiling.clone(), spec.sandbox.clone());
    let is_confined = spec.confinement.rights != Rights::default();
    let prepared = tokio::task::spawn_blocking(move || {
        let (ceiling, sandbox) = wanted;
        refuse_impossible(&ceiling, &sandbox, Keeper::Systemd)?;
        make_run_dir(&dir)?;
        let begun = create_begun(&dir).map_err(LaunchError::Record)?;
        let orders = is_confined.then(|| listen_beside(&dir)).transpose()?;
        record.create(&dir).map_err(LaunchError::Record)?;
        Ok((begun, orders))
    });
    let prepared = match prepared.await {
        Ok(prepared) => prepared,
        Err(_) => Err(LaunchError::Shim("was abandoned because the agent is stopping")),
    };
    let outcome = match prepared {
        Ok((begun, orders)) => match launch(&inner, spec, unit, (&begun, orders)).await {
            Ok(begun) => follow(&inner, &run_id, begun).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    outcome.map_err(|error| {
        inner.runs.lock().remove(&run_id);
        let error = explained(error, &run_dir);
        // What is left would only be found again at the next recovery.
        let _ = fs::remove_dir_all(&run_dir);
        error
    })
}

/// A unit whose command was executed.
struct Begun {
    started: Started,
    group: Option<Leaf>,
    now: Now,
    /// It is to say itself that it is ready.
    says_ready: bool,
}

/// What systemd said of a unit whose command was executed.
enum Now {
    /// Its start is done.
    Started,
    /// It is over already.
    Gone,
    /// Nothing that could be relied on: the bus, or systemd itself, went away meanwhile.
    Unknown,
}

async fn follow(
    inner: &Arc<Inner>,
    run_id: &ContainerId,
    begun: Begun,
) -> Result<Started, LaunchError> {
    let Begun { started, group, now, says_ready } = begun;
    if let Some(run) = inner.runs.lock().get_mut(run_id) {
        run.group = group;
    }
    if matches!(now, Now::Unknown) {
        return match recover::await_ready(inner, run_id).await {
            Ok(()) => Ok(started),
            Err(RunOutcome::Ended(status)) if says_ready && !is_success(&status) => {
                Err(LaunchError::NotReady(Box::new(status)))
            }
            Err(outcome) => {
                // Without a receiver the agent is going down and will recover the run.
                let _ = inner.events.send(RunEvent { run_id: run_id.clone(), outcome });
                Ok(started)
            }
        };
    }
    let was_over = inner.runs.lock().get_mut(run_id).is_some_and(|run| {
        std::mem::replace(&mut run.phase, Phase::Running) == Phase::OverWhileStarting
    });
    if was_over || matches!(now, Now::Gone) {
        watch::over(inner, run_id.clone());
    }
    Ok(started)
}

/// For systemd, that of a unit which had said that it is ready.
fn is_success(status: &ExitStatus) -> bool {
    status.ending == Ending::Exited(0) && status.cause == Cause::Itself
}

/// Why a command that was executed did not get ready: what systemd says of that says little.
fn explained(error: LaunchError, run_dir: &Path) -> LaunchError {
    match (&error, ExitRecord::load(run_dir)) {
        (
            LaunchError::Systemd(SystemdError::NotStarted { .. }),
            Ok(Some(ExitRecord::Ended(status))),
        ) if !never_began(run_dir) => LaunchError::NotReady(Box::new(status)),
        _ => error,
    }
}

async fn launch(
    inner: &Inner,
    mut spec: LaunchSpec,
    unit: UnitName,
    (begun_file, orders): (&File, Option<UnixListener>),
) -> Result<Begun, LaunchError> {
    let failed = |source: io::Error| LaunchError::Prepare {
        verb: "open a channel to",
        path: inner.shim.clone(),
        source,
    };
    let says_ready = spec.confinement.pace.notifies_within.is_some();
    let (environment, rest) = inner.environment(&mut spec);
    check_words(&spec.program, &environment)?;
    let rest = encode_variables(&rest);
    if rest.len() > MAX_REST_BYTES {
        return Err(LaunchError::TooLarge { limit: MAX_REST_BYTES });
    }
    let (theirs, channel) = answer_channel(&rest, begun_file, orders.as_ref()).map_err(failed)?;
    drop(orders);
    let (run, run_dir) = (spec.run_id.clone(), spec.run_dir.clone());
    let described = inner.describe(spec, environment, unit.clone(), theirs);
    let begun = async {
        let begun = inner.manager.start(&described).await;
        // Where there is no unit, nobody holds the other end of the channel any more.
        drop(described);
        begun
    };
    let talk = inner.talk((&run, &run_dir), &unit, channel);
    let (begun, heard) = tokio::join!(begun, tokio::time::timeout(inner.start_timeout, talk));
    let (text, group) = match heard {
        Ok(Ok(heard)) => heard,
        Ok(Err(error)) => {
            let _ = inner.manager.stop(&unit).await;
            return Err(error);
        }
        Err(_) => {
            let _ = inner.manager.stop(&unit).await;
            return Err(LaunchError::Shim("did not start the command in time"));
        }
    };
    let text = String::from_utf8_lossy(&text);
    let (reply, refusal) = UnitReply::decode(&text);
    if !refusal.is_empty() {
        return Err(LaunchError::NotStarted(refusal.to_owned()));
    }
    let Some(UnitReply { pid, start_time }) = reply else {
        let died = |_| LaunchError::Shim("died while it started the command");
        return Err(begun.map_or_else(LaunchError::Systemd, died));
    };
    let now = match begun {
        Ok(status) if status.active == recover::ACTIVATING => Now::Unknown,
        Ok(_) => Now::Started,
        Err(SystemdError::NoSuchUnit(_)) => Now::Gone,
        Err(error @ SystemdError::NotStarted { .. }) => return Err(LaunchError::Systemd(error)),
        Err(_) => Now::Unknown,
    };
    Ok(Begun { started: Started { main: ProcessMark { pid, start_time } }, group, now, says_ready })
}

/// systemd would only say that the unit failed.
fn check_words(program: &Program, environment: &Variables) -> Result<(), LaunchError> {
    let (name, words) = match program {
        Program::Shell(line) => ("/bin/sh", std::slice::from_ref(line)),
        Program::Exec { path, argv } => (path.as_str(), argv.as_slice()),
    };
    let variables = environment.iter().map(|(name, value)| name.len() + 1 + value.len());
    // With the zero at its end; the kernel's `MAX_ARG_STRLEN`.
    let most = 32 * rustix::param::page_size() - 1;
    let longest = words.iter().map(String::len).chain(variables).max().unwrap_or_default();
    let refused =
        |why: String| Err(LaunchError::NotStarted(format!("failed to execute '{name}': {why}")));
    if longest > most {
        return refused(format!(
            "one argument or variable has {longest} bytes, and this host takes at most {most}"
        ));
    }
    let line = [name].into_iter().chain(words.iter().map(String::as_str));
    let mut variables = environment.iter().map(|(_, value)| value.as_str());
    if !fits_a_line(line) || !variables.all(|value| fits_a_line([value])) {
        return refused(
            "systemd reads at most 1 MiB of a command's arguments together, or of a variable, with \
             what it escapes doubled"
                .to_owned(),
        );
    }
    Ok(())
}

/// Our ends of what connects us with a stage.
struct Channel {
    words: UnixStream,
    answer: Receiver,
}

impl Inner {
    /// Hears that the stage is in its group, has the group admitted, lets the command begin, and
    /// hears whether it did. The group is that of the unit as systemd says it: the stage runs as the
    /// task's user, so its own word would not do.
    async fn talk(
        &self,
        (run, run_dir): (&ContainerId, &Path),
        unit: &UnitName,
        channel: Channel,
    ) -> Result<(Vec<u8>, Option<Leaf>), LaunchError> {
        let Channel { mut words, answer } = channel;
        let broken = |_| LaunchError::Shim("hung up while it started the command");
        let mut answer = BufReader::new(answer.take(MAX_REPLY_BYTES));
        let (mut text, mut group) = (Vec::new(), None);
        answer.read_until(b'\n', &mut text).await.map_err(broken)?;
        let waits = String::from_utf8_lossy(&text);
        if matches!(UnitReply::decode(&waits), (Some(_), "")) {
            // A unit that is over by now has no group; its stage has nobody to hear the word. While the
            // bus is away it has to wait: what holds it to its ports goes by its group.
            let status = recover::ask(self, unit).await;
            if let Some(status) = &status {
                save_invocation(run_dir, &status.invocation).map_err(LaunchError::Record)?;
            }
            group = status.and_then(|one| self.group_of(&one));
            self.admit(run, group.clone()).await?;
            let _ = words.write_all(&[BEGIN]);
        }
        drop(words);
        answer.read_to_end(&mut text).await.map_err(broken)?;
        Ok((text, group))
    }

    async fn admit(&self, run: &ContainerId, group: Option<Leaf>) -> Result<(), LaunchError> {
        let Some(admission) = self.admission.clone() else { return Ok(()) };
        let run = run.clone();
        let asked = tokio::task::spawn_blocking(move || match group {
            Some(group) => admission.admit(&run, &group),
            None => admission.admit_without_group(&run),
        });
        match asked.await {
            Ok(answer) => answer.map_err(LaunchError::NotAdmitted),
            Err(_) => Err(LaunchError::Shim("was abandoned because the agent is stopping")),
        }
    }
}

/// The socket on which the log process of a confined unit takes orders. It is in a folder of the
/// agent's alone, so nobody else gives any.
fn listen_beside(run_dir: &Path) -> Result<UnixListener, LaunchError> {
    let listen = || {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let folder = rustix::fs::open(run_dir, flags, rustix::fs::Mode::empty())?;
        UnixListener::bind(short(&folder))
    };
    listen().map_err(|source| LaunchError::Prepare {
        verb: "listen in",
        path: run_dir.to_owned(),
        source,
    })
}

/// A socket that gives its reader the writing end of a pipe, the file that says that the command
/// has begun, where orders for more come from if any do, and then `rest`; and our ends.
fn answer_channel(
    rest: &[u8],
    begun: &File,
    orders: Option<&UnixListener>,
) -> io::Result<(UnixStream, Channel)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setfl(&read, OFlags::NONBLOCK)?;
    let (ours, theirs) = UnixStream::pair()?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let mut descriptors = vec![write.as_fd(), begun.as_fd()];
    descriptors.extend(orders.map(AsFd::as_fd));
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    sendmsg(&ours, &[io::IoSlice::new(&[0])], &mut ancillary, SendFlags::empty())?;
    // Nobody reads yet: it must fit into the socket.
    ours.set_nonblocking(true)?;
    protocol::write_frame(&mut &ours, rest)?;
    Ok((theirs, Channel { words: ours, answer: Receiver::from_owned_fd(read)? }))
}

impl Inner {
    pub(super) fn group_of(&self, status: &UnitStatus) -> Option<Leaf> {
        let path = status.control_group.trim_start_matches('/');
        (!path.is_empty()).then(|| Leaf::at(self.groups.join(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_no_program_can_be_given_is_told_with_its_length() {
        let line = |bytes| Program::Shell("x".repeat(bytes));
        let variable = |bytes| vec![("A".to_owned(), "x".repeat(bytes))];
        check_words(&line(100_000), &variable(100_000)).unwrap();
        for (program, environment) in [(line(300_000), vec![]), (line(1), variable(299_998))] {
            let error = check_words(&program, &environment).unwrap_err().to_string();
            assert!(error.contains("'/bin/sh'") && error.contains("300000 bytes"), "{error}");
        }
    }
}
