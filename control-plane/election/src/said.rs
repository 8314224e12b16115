//! What a control plane answers that neither leads nor reaches who does. Whoever reads one of the first
//! knows that nothing was done, and may ask again, elsewhere too.

/// On the Mesos APIs (503).
pub const NOBODY_LEADS: &str = "No leader elected";
/// On Marathon's API (502, `spec/marathon-api.md` 1.1): no leader in time.
pub const UNDETERMINED: &str = "Could not determine the current leader";
/// On Marathon's API (502): the leader takes no connections.
pub const UNREACHED: &str = "Could not connect to the leader";

/// On Marathon's API (500): what was asked may be done or not.
pub const BROKE_OFF: &str = "the leader broke off before it answered";
/// Likewise: another control plane leads by now.
pub const CHANGED: &str = "the leader changed before it answered";

/// Whether an answer with this text did nothing, because nobody leads.
pub fn nobody_leads(text: &str) -> bool {
    [NOBODY_LEADS, UNDETERMINED, UNREACHED].iter().any(|said| text.starts_with(said))
}

/// Whether an answer with this text leaves open what was done: the leader's own answer was lost.
pub fn may_be_done(text: &str) -> bool {
    [BROKE_OFF, CHANGED].iter().any(|said| text.starts_with(said))
}
