//! What clients ask to be embedded in apps and groups (`marathon-api.md` sections 2 and 4).

/// What an app shows beside its definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "one flag per documented embed value")]
pub struct AppEmbeds {
    /// Task counts.
    pub counts: bool,
    /// Running deployments.
    pub deployments: bool,
    /// Tasks (and deployments).
    pub tasks: bool,
    /// Most recent failure.
    pub last_task_failure: bool,
    /// Results of readiness checks.
    pub readiness: bool,
    /// Statistics.
    pub task_stats: bool,
}

impl AppEmbeds {
    /// What `GET /v2/apps` always shows.
    pub const LIST: Self = Self {
        counts: true,
        deployments: true,
        tasks: false,
        last_task_failure: false,
        readiness: false,
        task_stats: false,
    };

    /// What `GET /v2/apps/{id}` always shows.
    pub const SINGLE: Self = Self { tasks: true, last_task_failure: true, ..Self::LIST };

    /// Adds what the values of the `embed` parameters name. The prefixes `apps.`, `app.`,
    /// `group.apps.` and none are equivalent; unknown values are ignored.
    #[must_use]
    pub fn with<'a>(mut self, values: impl IntoIterator<Item = &'a str>) -> Self {
        for value in values {
            self.add(value);
        }
        self
    }

    fn add(&mut self, value: &str) {
        let name = ["group.apps.", "apps.", "app."]
            .iter()
            .find_map(|prefix| value.strip_prefix(prefix))
            .unwrap_or(value);
        match name {
            "counts" => self.counts = true,
            "deployments" => self.deployments = true,
            "tasks" => {
                self.tasks = true;
                self.deployments = true;
            }
            "lastTaskFailure" => self.last_task_failure = true,
            "failures" => {
                self.tasks = true;
                self.deployments = true;
                self.last_task_failure = true;
            }
            "readiness" => self.readiness = true,
            "taskStats" | "tasksStats" => self.task_stats = true,
            _ => {}
        }
    }
}

/// What a group shows beside its own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupEmbeds {
    /// Direct apps.
    pub apps: bool,
    /// Direct subgroups.
    pub groups: bool,
    /// Direct pods (of which there are none in this release).
    pub pods: bool,
    /// What each app shows.
    pub app: AppEmbeds,
}

impl GroupEmbeds {
    /// Reads the values of the `embed` parameters; without any, apps, groups and pods are shown.
    #[must_use]
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut embeds =
            Self { apps: false, groups: false, pods: false, app: AppEmbeds::default() };
        let mut any = false;
        for value in values {
            any = true;
            match value {
                "group.groups" => embeds.groups = true,
                "group.apps" => embeds.apps = true,
                "group.pods" => embeds.pods = true,
                other => {
                    embeds.apps |= other.starts_with("group.apps.");
                    embeds.app.add(other);
                }
            }
        }
        if !any {
            (embeds.apps, embeds.groups, embeds.pods) = (true, true, true);
        }
        embeds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_equivalent_and_unknown_values_are_ignored() {
        for value in ["tasks", "app.tasks", "apps.tasks", "group.apps.tasks"] {
            let embeds = AppEmbeds::default().with([value]);
            assert!(embeds.tasks && embeds.deployments && !embeds.counts, "{value}");
        }
        assert_eq!(AppEmbeds::default().with(["nonsense", "", "apps."]), AppEmbeds::default());
        assert!(AppEmbeds::default().with(["apps.failures"]).last_task_failure);
    }

    #[test]
    fn groups_show_everything_unless_asked_for_less() {
        let all = GroupEmbeds::parse([]);
        assert!(all.apps && all.groups && all.pods);
        let some = GroupEmbeds::parse(["group.apps", "group.apps.counts"]);
        assert!(some.apps && !some.groups && some.app.counts);
    }
}
