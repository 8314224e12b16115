//! The messages on disk. Tags are never used again for something else; instants are milliseconds
//! since 1970.

use std::collections::BTreeMap;

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Framework {
    #[prost(string, tag = "1")]
    pub(super) id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct App {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(int64, tag = "2")]
    pub(super) version: i64,
    /// The JSON of the API; absent when this version deleted the app.
    #[prost(string, optional, tag = "3")]
    pub(super) definition: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Group {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(int64, tag = "2")]
    pub(super) version: i64,
    /// Absent when this version deleted the group.
    #[prost(message, optional, tag = "3")]
    pub(super) definition: Option<GroupDefinition>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GroupDefinition {
    #[prost(string, repeated, tag = "1")]
    pub(super) dependencies: Vec<String>,
    #[prost(bool, optional, tag = "2")]
    pub(super) enforce_role: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Instance {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(int64, tag = "2")]
    pub(super) version: i64,
    #[prost(uint32, tag = "3")]
    pub(super) goal: u32,
    #[prost(uint32, tag = "4")]
    pub(super) condition: u32,
    #[prost(int64, tag = "5")]
    pub(super) since: i64,
    #[prost(uint32, tag = "6")]
    pub(super) incarnation: u32,
    #[prost(string, tag = "7")]
    pub(super) role: String,
    #[prost(message, optional, tag = "8")]
    pub(super) task: Option<Task>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Task {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) agent_id: String,
    #[prost(string, tag = "3")]
    pub(super) hostname: String,
    #[prost(string, optional, tag = "4")]
    pub(super) region: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub(super) zone: Option<String>,
    #[prost(btree_map = "string, string", tag = "6")]
    pub(super) attributes: BTreeMap<String, String>,
    #[prost(uint32, repeated, tag = "7")]
    pub(super) host_ports: Vec<u32>,
    #[prost(uint32, tag = "8")]
    pub(super) state: u32,
    #[prost(int64, tag = "9")]
    pub(super) staged_at: i64,
    #[prost(int64, optional, tag = "10")]
    pub(super) started_at: Option<i64>,
    #[prost(message, repeated, tag = "11")]
    pub(super) ip_addresses: Vec<IpAddress>,
    #[prost(int64, optional, tag = "12")]
    pub(super) unreachable_since: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct IpAddress {
    #[prost(string, tag = "1")]
    pub(super) address: String,
    #[prost(uint32, tag = "2")]
    pub(super) protocol: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Deployment {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(int64, tag = "2")]
    pub(super) version: i64,
    #[prost(message, repeated, tag = "3")]
    pub(super) steps: Vec<Step>,
    #[prost(message, repeated, tag = "4")]
    pub(super) apps: Vec<Change>,
    #[prost(string, repeated, tag = "5")]
    pub(super) created_groups: Vec<String>,
    #[prost(message, repeated, tag = "6")]
    pub(super) changed_groups: Vec<ChangedGroup>,
    #[prost(string, repeated, tag = "7")]
    pub(super) marked: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Step {
    #[prost(message, repeated, tag = "1")]
    pub(super) actions: Vec<Action>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Action {
    #[prost(uint32, tag = "1")]
    pub(super) kind: u32,
    #[prost(string, tag = "2")]
    pub(super) app: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Change {
    #[prost(string, tag = "1")]
    pub(super) app: String,
    #[prost(int64, optional, tag = "2")]
    pub(super) from: Option<i64>,
    #[prost(int64, optional, tag = "3")]
    pub(super) to: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ChangedGroup {
    #[prost(string, tag = "1")]
    pub(super) group: String,
    #[prost(int64, tag = "2")]
    pub(super) before: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Failure {
    #[prost(string, tag = "1")]
    pub(super) app_id: String,
    #[prost(string, tag = "2")]
    pub(super) host: String,
    #[prost(string, tag = "3")]
    pub(super) message: String,
    #[prost(uint32, tag = "4")]
    pub(super) state: u32,
    #[prost(string, tag = "5")]
    pub(super) task_id: String,
    #[prost(int64, tag = "6")]
    pub(super) timestamp: i64,
    #[prost(int64, tag = "7")]
    pub(super) version: i64,
    #[prost(string, optional, tag = "8")]
    pub(super) agent_id: Option<String>,
}
