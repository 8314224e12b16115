use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{debug, warn};

/// Ends when the process is asked to stop: SIGTERM, SIGINT, or SIGHUP of a closed terminal.
///
/// # Errors
/// When the handlers cannot be installed.
pub async fn stop_requested() -> std::io::Result<&'static str> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        _ = hangup.recv() => "SIGHUP",
    })
}

/// Tells the service manager, when there is one, that the daemon is ready, stopping, or how it
/// fares.
pub fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        debug!(%error, "service manager not told");
    }
}

/// Raises the soft limit of open files to the hard one: each agent, framework and client holds
/// a descriptor.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        warn!(%error, "limit of open files stays low");
    }
}

/// Ends this process as `kill -9` does: nothing is closed, flushed or said.
pub fn kill_self() -> ! {
    use rustix::process::{Signal, getpid, kill_process};
    // Nobody can refuse it, and nothing comes after it.
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}
