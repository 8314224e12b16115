//! What a daemon says of its own build, in the words of Mesos.

use crate::v1;

/// The Mesos release whose API this is: clients compare it.
pub const MESOS_VERSION: &str = "1.11.0";

/// The version as the operator API shows it.
pub fn info() -> v1::VersionInfo {
    v1::VersionInfo {
        version: MESOS_VERSION.into(),
        build_date: Some(format!("tepui {}", env!("CARGO_PKG_VERSION"))),
        build_time: Some(0.0),
        build_user: Some("tepui".into()),
        git_sha: None,
        git_branch: None,
        git_tag: Some(format!("tepui-{}", env!("CARGO_PKG_VERSION"))),
    }
}

/// The version as `GET /version` shows it.
pub fn legacy() -> serde_json::Value {
    let info = info();
    serde_json::json!({
        "build_date": info.build_date,
        "build_time": info.build_time,
        "build_user": info.build_user,
        "git_tag": info.git_tag,
        "version": info.version,
    })
}
