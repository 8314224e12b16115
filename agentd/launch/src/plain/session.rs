//! Opening a session.

use std::io;
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::Inner;
use super::beside::{Beside, Kind};
use crate::launcher::LaunchError;
use crate::session::{Answer, Packets, Session, SessionFrame, SessionSpec};
use crate::spec::StageSpec;

const CHUNK: usize = 4096;

/// Opens the session. The shim ends it with the channel.
pub(super) async fn open(
    inner: Arc<Inner>,
    spec: SessionSpec,
    beside: Beside,
) -> Result<Session, LaunchError> {
    let frame = SessionFrame {
        place: beside.place(),
        stage: StageSpec {
            sandbox: spec.sandbox,
            program: spec.program,
            env: inner.with_path(spec.env),
            user: spec.user,
            rlimits: spec.rlimits,
            answers: spec.answers,
            rights: beside.rights(),
            network: spec.network.filter(|_| !beside.is_inside()),
        },
        terminal: spec.terminal,
    };
    let channel = beside.start(&inner, Kind::Session, frame.encode()).await?;
    let patience = inner.config.start_timeout;
    match tokio::time::timeout(patience, begin(channel)).await {
        Ok(Ok(Ok(session))) => Ok(session),
        Ok(Ok(Err(reason))) => Err(LaunchError::NotStarted(reason)),
        Ok(Err(_)) => Err(gone()),
        Err(_) => Err(LaunchError::Shim("did not start the command in time")),
    }
}

/// Waits for the shim's first answer.
async fn begin(mut channel: UnixStream) -> io::Result<Result<Session, String>> {
    let mut packets = Packets::default();
    let mut chunk = [0; CHUNK];
    loop {
        let length = channel.read(&mut chunk).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        packets.push(&chunk[..length]);
        let Some(packet) = packets.take().map_err(io::Error::other)? else { continue };
        return match Answer::decode(packet).map_err(io::Error::other)? {
            Answer::Started(pid) => Ok(Ok(Session { pid, channel, packets })),
            Answer::NotStarted(reason) => Ok(Err(reason)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        };
    }
}

fn gone() -> LaunchError {
    LaunchError::Shim("died before it started the command")
}
