//! A shim that waits for its run: the stage exists, is in its place, and does not know its command.
//!
//! The agent keeps a few of these, because a run that begins with one begins several times sooner.
//! One that nobody needs ends without a trace, together with its agent.

use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::getpid;
use tepui_cgroup::Leaf;
use tepui_launch::ProcessTree;
use tepui_launch::protocol;

use crate::outset::Outset;
use crate::pipes::Stream;
use crate::reaper::Staged;

/// Everything of a run that does not depend on which run it will be.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The stage.
    pub(crate) staged: Staged,
    /// Its output and error output.
    pub(crate) streams: [Stream; 2],
    /// The stage and what will come of it.
    pub(crate) tree: ProcessTree,
}

/// What ended the wait.
#[derive(Debug)]
pub(crate) enum Waited {
    /// A run came; its frame.
    Run(Vec<u8>),
    /// The agent is gone, or needs this shim no more.
    Dismissed,
    /// The stage is gone, so no run can be taken.
    StageEnded,
}

impl Ready {
    /// Reads where the stage has to go, and starts it.
    pub(crate) fn prepare(outset: &mut Outset) -> Result<Self, String> {
        let bytes = protocol::read_frame(&mut outset.agent)
            .map_err(|e| format!("failed to receive the place of a run: {e}"))?;
        let mut place = protocol::decode_place(&bytes).map_err(|e| e.to_string())?;
        place.oom_score_adj = outset.oom_score_adj.take();
        let pipe = || Stream::new().map_err(|e| format!("failed to create an output pipe: {e}"));
        let ((out, stdout), (err, stderr)) = (pipe()?, pipe()?);
        let staged = Staged::spawn(stdout, stderr, &place)
            .map_err(|e| format!("failed to start the stage process: {e}"))?;
        let tree = ProcessTree { root: getpid(), group: place.group.map(Leaf::at) };
        Ok(Self { staged, streams: [out, err], tree })
    }

    /// Ends the stage and removes its group; what the stage said before it ended, if anything.
    pub(crate) fn dismiss(self) -> String {
        self.tree.kill();
        let said = self.staged.refusal();
        clear(self.tree.group.as_ref());
        said
    }

    /// Directory of the run's control group.
    pub(crate) fn group(&self) -> Option<PathBuf> {
        self.tree.group.as_ref().map(|group| group.path().to_owned())
    }
}

/// Waits until the agent speaks or hangs up, or the stage ends.
pub(crate) fn wait(outset: &mut Outset) -> Waited {
    loop {
        let mut waited = [
            PollFd::new(&outset.agent, PollFlags::IN),
            PollFd::from_borrowed_fd(outset.children.as_fd(), PollFlags::IN),
        ];
        // An interruption is one more look.
        let _ = poll(&mut waited, None);
        let [spoken, ended] = waited.map(|one| !one.revents().is_empty());
        if spoken {
            return match protocol::read_frame(&mut outset.agent) {
                Ok(frame) => Waited::Run(frame),
                Err(_) => Waited::Dismissed,
            };
        }
        if ended {
            return Waited::StageEnded;
        }
    }
}

/// Removes a group after killing what is in it without being below the shim: checks that joined.
pub(crate) fn clear(group: Option<&Leaf>) {
    const ATTEMPTS: usize = 500;
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(2);
    let Some(group) = group else { return };
    for _ in 0..ATTEMPTS {
        if !group.is_populated().unwrap_or(false) {
            break;
        }
        let _ = group.kill();
        std::thread::sleep(PAUSE);
    }
    // A group that cannot be removed is swept up when an agent starts.
    let _ = group.remove();
}
