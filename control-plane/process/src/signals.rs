use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{debug, warn};

/// Ends when the process is asked to stop: SIGTERM, SIGINT, or SIGHUP of a closed terminal.
///
/// # Errors
/// When the handlers cannot be installed.
pub async fn stop_requested() -> std::io::Result<&'static str> {
    let mut hangups = Hangups::new()?;
    Ok(tokio::select! {
        signal = terminated() => signal?,
        () = hangups.next() => "SIGHUP",
    })
}

/// Ends when the process is asked to stop: SIGTERM or SIGINT.
///
/// # Errors
/// When the handlers cannot be installed.
pub async fn terminated() -> std::io::Result<&'static str> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

/// SIGHUP, by which operators ask a daemon to read its configuration anew. From the first of them
/// that is made, the signal ends the process no more.
#[derive(Debug)]
pub struct Hangups(Signal);

impl Hangups {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the handler cannot be installed.
    pub fn new() -> std::io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one; several at once are one.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
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
