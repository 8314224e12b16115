//! Hands a container to libcontainer, and hears whether its task was executed.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{Pid, pipe2};
use tepui_container::Tty;

use crate::executor::Task;
use crate::fault::{Attempt, Fault, chain};
use crate::filter::Program;
use crate::talk;

/// Every container is the only one in its folder.
pub(crate) const ID: &str = "c";
/// Longest reason that is heard.
const MAX_REASON_BYTES: u64 = 8 * 1024;

/// What a task that is to be executed is begun with.
pub(crate) struct Beginning {
    pub(crate) builder: ContainerBuilder,
    failure: File,
}

/// A builder whose executor tells when the task cannot be executed.
pub(crate) fn begin(
    bundle: &Path,
    filter: Option<Program>,
    tty: Option<Tty>,
) -> Result<Beginning, Fault> {
    let state = bundle.join("state");
    std::fs::create_dir_all(&state).on("create", &state)?;
    let (failure, theirs): (OwnedFd, OwnedFd) = pipe2(OFlag::O_CLOEXEC).to("make a pipe")?;
    // Who says more than the pipe holds shall not wait for us, who wait for it.
    fcntl(&theirs, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).to("prepare a pipe")?;
    talk::into(theirs);
    let task = Task { filter: filter.map(Rc::new), tty };
    let builder = ContainerBuilder::new(ID.to_owned(), SyscallType::default())
        .with_executor(task)
        .with_root_path(&state)
        .map_err(|error| Fault(chain(&error)))?;
    Ok(Beginning { builder, failure: File::from(failure) })
}

impl Beginning {
    /// Creates and starts the container of the bundle.
    pub(crate) fn create(
        self,
        bundle: &Path,
        console: Option<&Path>,
    ) -> Result<(Pid, Starting), Fault> {
        let builder = self.builder.with_console_socket(console);
        let built = builder.as_init(bundle).with_systemd(false).with_detach(true).build();
        let started = built.and_then(|mut container| {
            container.start()?;
            Ok(container.pid())
        });
        Starting::of(self.failure, started.map(|pid| pid.map(|pid| pid.as_raw())))
    }

    /// Starts a further process in the container of the bundle.
    pub(crate) fn join(
        self,
        process: &Path,
        console: Option<&Path>,
    ) -> Result<(Pid, Starting), Fault> {
        let builder = self.builder.with_console_socket(console);
        let joined = builder.as_tenant().with_detach(true).with_process(Some(process)).build();
        Starting::of(self.failure, joined.map(|pid| Some(pid.as_raw())))
    }
}

/// A task between the order to start and its execution.
#[derive(Debug)]
pub(crate) struct Starting {
    failure: File,
}

impl Starting {
    fn of(
        failure: File,
        started: Result<Option<i32>, libcontainer::error::LibcontainerError>,
    ) -> Result<(Pid, Self), Fault> {
        talk::stop();
        let starting = Self { failure };
        match started {
            Ok(Some(pid)) => Ok((Pid::from_raw(pid), starting)),
            Ok(None) => Err(Fault::new("the container has no process")),
            Err(error) => {
                let text = tell(&chain(&error));
                let cause = starting.first_line().unwrap_or_default();
                let adds = !cause.is_empty() && !cause.contains(&text) && !text.contains(&cause);
                Err(Fault(if adds { format!("{text}: {cause}") } else { text }))
            }
        }
    }

    /// Waits until the task is executed, or the reason why not.
    pub(crate) fn hear(self) -> Result<(), Fault> {
        match self.first_line()? {
            line if line.is_empty() => Ok(()),
            line => Err(Fault(line)),
        }
    }

    fn first_line(&self) -> Result<String, Fault> {
        let mut text = Vec::new();
        (&self.failure)
            .take(MAX_REASON_BYTES)
            .read_to_end(&mut text)
            .to("hear whether the task was executed")?;
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().next().unwrap_or_default().trim().to_owned())
    }
}

/// What libcontainer says, without the layers of its own processes around it.
fn tell(text: &str) -> String {
    const FRAMES: [&str; 4] = [
        "failed to create container: ",
        "exec process failed with error ",
        "error in executing process : ",
        "invalid argument: ",
    ];
    let mut text = text.split(". error during cleanup: ").next().unwrap_or(text);
    while let Some(rest) = FRAMES.iter().find_map(|frame| text.strip_prefix(frame)) {
        text = rest;
    }
    text.to_owned()
}
