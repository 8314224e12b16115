//! From a path to a resource. Ids have many segments and the words `tasks`, `versions`, `restart`
//! are recognised by their place at the end, so this is no table of patterns.

use crate::query::decode;

/// What a path addresses. Ids are as the client wrote them, with one leading slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Root,
    Ui,
    Help,
    Ping,
    Metrics,
    Prometheus,
    Logging,
    Config,
    Apps,
    App(String),
    AppsBelow(String),
    Restart(String),
    AppTasks(String),
    AppsBelowTasks(String),
    AppTask(String, String),
    AppVersions(String),
    AppVersion(String, String),
    Tasks,
    TasksDelete,
    Group(String),
    GroupApps(String),
    GroupVersions(String),
    GroupVersion(String, String),
    Deployments,
    Deployment(String),
    Pods,
    Queue,
    QueueDelay(String),
    Info,
    Leader,
    Plugins,
    Plugin(String),
    Events,
    Unknown,
}

impl Resource {
    /// Reads a request's path. Empty segments count for nothing, so double and trailing slashes do
    /// not matter.
    pub(crate) fn parse(path: &str) -> Self {
        let decoded = decode(path);
        let segments: Vec<&str> =
            decoded.split('/').filter(|segment| !segment.is_empty()).collect();
        match segments.as_slice() {
            [] => Self::Root,
            ["ui", ..] => Self::Ui,
            ["help", ..] => Self::Help,
            ["ping"] => Self::Ping,
            ["metrics"] => Self::Metrics,
            ["metrics", "prometheus"] => Self::Prometheus,
            ["logging"] => Self::Logging,
            ["config"] => Self::Config,
            ["v2", rest @ ..] => Self::parse_v2(rest),
            _ => Self::Unknown,
        }
    }

    fn parse_v2(segments: &[&str]) -> Self {
        match segments {
            ["apps", rest @ ..] => Self::parse_app(rest),
            ["tasks"] => Self::Tasks,
            ["tasks", "delete"] => Self::TasksDelete,
            ["groups", rest @ ..] => Self::parse_group(rest),
            ["deployments"] => Self::Deployments,
            ["deployments", id] => Self::Deployment((*id).to_owned()),
            ["queue"] => Self::Queue,
            ["queue", id @ .., "delay"] if !id.is_empty() => Self::QueueDelay(join(id)),
            ["info"] => Self::Info,
            ["leader"] => Self::Leader,
            ["plugins"] => Self::Plugins,
            ["plugins", id, ..] => Self::Plugin((*id).to_owned()),
            ["events", ..] => Self::Events,
            ["pods" | "pods::status", ..] => Self::Pods,
            _ => Self::Unknown,
        }
    }

    fn parse_app(segments: &[&str]) -> Self {
        match segments {
            [] => Self::Apps,
            [group @ .., "*"] => Self::AppsBelow(join(group)),
            [group @ .., "*", "tasks"] => Self::AppsBelowTasks(join(group)),
            [id @ .., "restart"] if !id.is_empty() => Self::Restart(join(id)),
            [id @ .., "tasks"] if !id.is_empty() => Self::AppTasks(join(id)),
            [id @ .., "tasks", task] if !id.is_empty() => {
                Self::AppTask(join(id), (*task).to_owned())
            }
            [id @ .., "versions"] if !id.is_empty() => Self::AppVersions(join(id)),
            [id @ .., "versions", version] if !id.is_empty() => {
                Self::AppVersion(join(id), (*version).to_owned())
            }
            id => Self::App(join(id)),
        }
    }

    fn parse_group(segments: &[&str]) -> Self {
        match segments {
            [id @ .., "apps"] => Self::GroupApps(join(id)),
            [id @ .., "versions"] => Self::GroupVersions(join(id)),
            [id @ .., "versions", version] => Self::GroupVersion(join(id), (*version).to_owned()),
            id => Self::Group(join(id)),
        }
    }

    /// The pattern of the paths that address such a resource, for metrics.
    pub(crate) fn route(&self) -> &'static str {
        match self {
            Self::Root => "/",
            Self::Ui => "/ui",
            Self::Help => "/help",
            Self::Ping => "/ping",
            Self::Metrics => "/metrics",
            Self::Prometheus => "/metrics/prometheus",
            Self::Logging => "/logging",
            Self::Config => "/config",
            Self::Apps => "/v2/apps",
            Self::App(_) => "/v2/apps/{id}",
            Self::AppsBelow(_) => "/v2/apps/{group}/*",
            Self::Restart(_) => "/v2/apps/{id}/restart",
            Self::AppTasks(_) => "/v2/apps/{id}/tasks",
            Self::AppsBelowTasks(_) => "/v2/apps/{group}/*/tasks",
            Self::AppTask(..) => "/v2/apps/{id}/tasks/{task}",
            Self::AppVersions(_) => "/v2/apps/{id}/versions",
            Self::AppVersion(..) => "/v2/apps/{id}/versions/{version}",
            Self::Tasks => "/v2/tasks",
            Self::TasksDelete => "/v2/tasks/delete",
            Self::Group(_) => "/v2/groups/{id}",
            Self::GroupApps(_) => "/v2/groups/{id}/apps",
            Self::GroupVersions(_) => "/v2/groups/{id}/versions",
            Self::GroupVersion(..) => "/v2/groups/{id}/versions/{version}",
            Self::Deployments => "/v2/deployments",
            Self::Deployment(_) => "/v2/deployments/{id}",
            Self::Pods => "/v2/pods",
            Self::Queue => "/v2/queue",
            Self::QueueDelay(_) => "/v2/queue/{id}/delay",
            Self::Info => "/v2/info",
            Self::Leader => "/v2/leader",
            Self::Plugins | Self::Plugin(_) => "/v2/plugins",
            Self::Events => "/v2/events",
            Self::Unknown => "none",
        }
    }

    /// The verbs that the resource knows, for `Allow` and 405. `HEAD` goes with `GET`.
    pub(crate) fn verbs(&self) -> &'static str {
        match self {
            Self::Apps => "GET, HEAD, POST, PUT, PATCH",
            Self::App(_) => "GET, HEAD, PUT, PATCH, DELETE",
            Self::Restart(_) | Self::TasksDelete => "POST",
            Self::AppTasks(_) => "GET, HEAD, DELETE",
            Self::AppTask(..) | Self::Deployment(_) | Self::QueueDelay(_) => "DELETE",
            Self::Group(_) => "GET, HEAD, POST, PUT, PATCH, DELETE",
            Self::GroupVersion(..) => "GET, HEAD, PUT",
            Self::Leader => "GET, HEAD, DELETE",
            Self::Logging => "GET, HEAD, POST",
            Self::Pods => "GET, HEAD, POST, PUT, DELETE",
            Self::Root
            | Self::Ui
            | Self::Help
            | Self::Ping
            | Self::Metrics
            | Self::Prometheus
            | Self::Config
            | Self::AppsBelow(_)
            | Self::AppsBelowTasks(_)
            | Self::AppVersions(_)
            | Self::AppVersion(..)
            | Self::Tasks
            | Self::GroupApps(_)
            | Self::GroupVersions(_)
            | Self::Deployments
            | Self::Queue
            | Self::Info
            | Self::Plugins
            | Self::Plugin(_)
            | Self::Events
            | Self::Unknown => "GET, HEAD",
        }
    }
}

fn join(segments: &[&str]) -> String {
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_keep_their_segments_and_lose_spare_slashes() {
        let app = |id: &str| Resource::App(id.to_owned());
        assert_eq!(Resource::parse("/v2/apps/a/b/c"), app("/a/b/c"));
        assert_eq!(Resource::parse("/v2/apps//a/b/"), app("/a/b"));
        assert_eq!(Resource::parse("/v2/apps/%2Fa%2Fb"), app("/a/b"));
        assert_eq!(Resource::parse("/v2/apps/"), Resource::Apps);
        assert_eq!(Resource::parse("/v2/apps//*"), Resource::AppsBelow("/".to_owned()));
        assert_eq!(
            Resource::parse("/v2/apps/g/*/tasks"),
            Resource::AppsBelowTasks("/g".to_owned())
        );
    }

    #[test]
    fn sub_resources_are_recognised_at_the_end() {
        let id = || "/a/b".to_owned();
        for (path, resource) in [
            ("/v2/apps/a/b/restart", Resource::Restart(id())),
            ("/v2/apps//a/b/tasks/", Resource::AppTasks(id())),
            ("/v2/apps/a/b/tasks/t.1", Resource::AppTask(id(), "t.1".to_owned())),
            ("/v2/apps/a/b/versions", Resource::AppVersions(id())),
            ("/v2/apps/a/b/versions/v", Resource::AppVersion(id(), "v".to_owned())),
            ("/v2/groups/a/b/apps", Resource::GroupApps(id())),
            ("/v2/groups/versions", Resource::GroupVersions("/".to_owned())),
            ("/v2/groups//a/b/versions/v", Resource::GroupVersion(id(), "v".to_owned())),
            ("/v2/groups", Resource::Group("/".to_owned())),
            ("/v2/queue//a/b/delay", Resource::QueueDelay(id())),
            ("/v2/pods/a%3A%3Astatus", Resource::Pods),
            ("/v2/pods/::status", Resource::Pods),
            ("/v2/pods::status", Resource::Pods),
            ("/", Resource::Root),
            ("/v2", Resource::Unknown),
            ("/ping/", Resource::Ping),
        ] {
            assert_eq!(Resource::parse(path), resource, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_some_resource(path in "(/(v2|apps|groups|tasks|\\*|%2|a|versions|\\PC{0,4})){0,6}") {
            let _ = Resource::parse(&path).verbs();
        }
    }
}
