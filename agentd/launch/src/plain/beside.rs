//! What a check or a session is beside, and how its shim is started so that it has the rights of the
//! run and no more.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tepui_cgroup::Leaf;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::{Inner, spawn};
use crate::confinement::Rights;
use crate::launcher::LaunchError;
use crate::protocol::{self, BESIDE, BESIDE_CHECK, BESIDE_SESSION, MAX_FRAME_BYTES};
use crate::record::ProcessMark;
use crate::spec::StagePlace;

/// What a check or a session is beside.
#[derive(Debug)]
pub(crate) enum Beside {
    /// A run that has the rights of its user, or none at all.
    Anybody(Option<Leaf>),
    /// A confined process, whose rights a stage can take on.
    Confined { group: Option<Leaf>, rights: Rights, main: ProcessMark },
    /// A confined unit, of which a process of its own starts the shim.
    Unit { run_dir: PathBuf },
}

/// Which shim.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Check,
    Session,
}

impl Kind {
    fn verb(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Session => "session",
        }
    }

    fn order(self) -> u8 {
        match self {
            Self::Check => BESIDE_CHECK,
            Self::Session => BESIDE_SESSION,
        }
    }
}

impl Beside {
    /// A unit's log process takes orders only where the unit is confined.
    pub(crate) fn of_unit(run_dir: &Path, group: Option<Leaf>) -> Self {
        match run_dir.join(BESIDE).exists() {
            true => Self::Unit { run_dir: run_dir.to_owned() },
            false => Self::Anybody(group),
        }
    }

    pub(super) fn place(&self) -> StagePlace {
        let (group, beside) = match self {
            Self::Anybody(group) => (group.as_ref(), None),
            Self::Confined { group, main, .. } => (group.as_ref(), Some(*main)),
            // It is where the log process is.
            Self::Unit { .. } => (None, None),
        };
        StagePlace {
            group: group.map(|leaf| leaf.path().to_owned()),
            oom_score_adj: None,
            beside,
            inherits: self.is_inside(),
        }
    }

    /// Whether the shim is started in all of the run's namespaces.
    pub(super) fn is_inside(&self) -> bool {
        matches!(self, Self::Unit { .. })
    }

    pub(super) fn rights(&self) -> Rights {
        match self {
            Self::Confined { rights, .. } => rights.clone(),
            Self::Anybody(_) | Self::Unit { .. } => Rights::default(),
        }
    }

    /// Starts the shim and hands it its frame.
    pub(super) async fn start(
        self,
        inner: &Arc<Inner>,
        kind: Kind,
        frame: Vec<u8>,
    ) -> Result<UnixStream, LaunchError> {
        match self {
            Self::Unit { run_dir } => {
                let patience = inner.config.start_timeout;
                start_inside(&run_dir, kind, &frame, patience).await
            }
            Self::Anybody(_) | Self::Confined { .. } => {
                spawn::serve(inner, kind.verb(), frame).await
            }
        }
    }
}

/// Has the log process of a unit start the shim. Whoever is in the unit may keep it from that, so
/// nothing is waited for without end.
async fn start_inside(
    run_dir: &Path,
    kind: Kind,
    frame: &[u8],
    patience: Duration,
) -> Result<UnixStream, LaunchError> {
    if frame.len() > MAX_FRAME_BYTES {
        return Err(LaunchError::TooLarge { limit: MAX_FRAME_BYTES });
    }
    let failed = |source: io::Error| LaunchError::Prepare {
        verb: "ask the log process behind",
        path: run_dir.join(BESIDE),
        source,
    };
    let talk = async {
        let folder = open(run_dir, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let log = UnixStream::connect(short(&folder)).await?;
        let (ours, theirs) = UnixStream::pair()?;
        hand_over(&log, kind.order(), theirs)?;
        let mut ours = ours;
        let mut framed = Vec::with_capacity(frame.len() + 4);
        protocol::write_frame(&mut framed, frame)?;
        match ours.write_all(&framed).await {
            // A shim that died is told apart when its answer is read.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other?,
        }
        Ok(ours)
    };
    match tokio::time::timeout(patience, talk).await {
        Ok(done) => done.map_err(failed),
        Err(_) => Err(LaunchError::Shim("was not started by the log process in time")),
    }
}

/// The socket's path, however long its folder's is: addresses have room for 107 bytes.
pub(crate) fn short(folder: &OwnedFd) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(BESIDE)
}

fn hand_over(log: &UnixStream, order: u8, channel: UnixStream) -> io::Result<()> {
    let channel = channel.into_std()?;
    channel.set_nonblocking(false)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [channel.as_fd()];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    // The first message on a new connection: there is room for it.
    sendmsg(log, &[io::IoSlice::new(&[order])], &mut ancillary, SendFlags::empty())?;
    Ok(())
}
