//! Running a check to its end.

use std::sync::Arc;

use tokio::io::AsyncReadExt;

use super::Inner;
use super::beside::{Beside, Kind};
use crate::launcher::LaunchError;
use crate::protocol::{CheckFrame, CheckReply, MAX_CHECK_OUTPUT};
use crate::spec::{CheckSpec, StageSpec};

/// Longest reply: the output and a refusal of the stage, with room for the fields' own lengths.
const MAX_REPLY_BYTES: u64 = MAX_CHECK_OUTPUT as u64 * 2 + 1024;

/// Runs the check. The shim kills it in time, and when this future is dropped.
pub(super) async fn exec(
    inner: Arc<Inner>,
    spec: CheckSpec,
    beside: Beside,
) -> Result<CheckReply, LaunchError> {
    let frame = CheckFrame {
        timeout: spec.timeout,
        place: beside.place(),
        stage: StageSpec {
            sandbox: spec.sandbox,
            program: spec.program,
            env: inner.with_path(spec.env),
            user: spec.user,
            rlimits: Vec::new(),
            answers: spec.answers,
            rights: beside.rights(),
            network: spec.network.filter(|_| !beside.is_inside()),
        },
    };
    // Whoever is in a unit may stop the shim there, which would never answer.
    let patience = frame.timeout.checked_add(inner.config.start_timeout);
    let mut channel = beside.start(&inner, Kind::Check, frame.encode()).await?;
    let mut reply = Vec::new();
    let read = async { (&mut channel).take(MAX_REPLY_BYTES).read_to_end(&mut reply).await };
    let read = match patience {
        Some(patience) => tokio::time::timeout(patience, read)
            .await
            .map_err(|_| LaunchError::Shim("did not say in time how the check had ended"))?,
        None => read.await,
    };
    read.map_err(|_| gone())?;
    CheckReply::decode(&reply).map_err(|_| gone())
}

fn gone() -> LaunchError {
    LaunchError::Shim("died before the check had ended")
}
