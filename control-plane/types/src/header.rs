//! Names of headers that daemons understand of each other.

/// In every request that an agent makes for a task, which has chosen what is asked for, from where the
/// task could not ask itself: artifacts, images. Whoever tells callers apart by where they are must not
/// take it for more.
pub const FOR_TASK: &str = "tepui-for-task";
