//! Running a check to its end.

use std::sync::Arc;

use tepui_cgroup::Leaf;
use tokio::io::AsyncReadExt;

use super::{Inner, spawn};
use crate::confinement::Rights;
use crate::launcher::LaunchError;
use crate::protocol::{CheckFrame, CheckReply, MAX_CHECK_OUTPUT};
use crate::spec::{CheckSpec, StagePlace, StageSpec};

/// Longest reply: the output and a refusal of the stage, with room for the fields' own lengths.
const MAX_REPLY_BYTES: u64 = MAX_CHECK_OUTPUT as u64 * 2 + 1024;

/// Runs the check. The shim kills it in time, and when this future is dropped.
pub(super) async fn exec(
    inner: Arc<Inner>,
    spec: CheckSpec,
    group: Option<Leaf>,
) -> Result<CheckReply, LaunchError> {
    let frame = CheckFrame {
        timeout: spec.timeout,
        place: StagePlace { group: group.map(|leaf| leaf.path().to_owned()), oom_score_adj: None },
        stage: StageSpec {
            sandbox: spec.sandbox,
            program: spec.program,
            env: inner.with_path(spec.env),
            user: spec.user,
            rlimits: Vec::new(),
            answers: spec.answers,
            rights: Rights::default(),
            network: spec.network,
        },
    };
    let mut channel = spawn::serve(&inner, "check", frame.encode()).await?;
    let mut reply = Vec::new();
    (&mut channel).take(MAX_REPLY_BYTES).read_to_end(&mut reply).await.map_err(|_| gone())?;
    CheckReply::decode(&reply).map_err(|_| gone())
}

fn gone() -> LaunchError {
    LaunchError::Shim("died before the check had ended")
}
