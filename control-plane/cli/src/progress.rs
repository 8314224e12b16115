//! How far a deployment is: one row per app, and when it stalls.

use std::time::{Duration, Instant};

use crate::model::{App, Deployment};

/// Without change for so long, the reason is asked for and shown.
pub(crate) const STALL: Duration = Duration::from_secs(10);
/// And again after so long.
const STALL_AGAIN: Duration = Duration::from_secs(30);

/// One app of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) app: String,
    pub(crate) running: u32,
    /// `None` when the app has no health checks.
    pub(crate) healthy: Option<u32>,
    pub(crate) target: u32,
    /// What is being done to it now.
    pub(crate) action: Option<String>,
}

impl Row {
    /// The row of an app; `app` is `None` once it is gone.
    pub(crate) fn new(id: &str, app: Option<&App>, deployment: Option<&Deployment>) -> Self {
        let action = deployment
            .and_then(|deployment| deployment.current_actions.iter().find(|a| a.app == id))
            .map(|action| action.action.clone());
        let Some(app) = app else {
            return Self { app: id.to_owned(), running: 0, healthy: None, target: 0, action };
        };
        let stopping = action.as_deref() == Some("StopApplication");
        Self {
            app: id.to_owned(),
            running: app.tasks_running,
            healthy: (!app.health_checks.is_empty()).then_some(app.tasks_healthy),
            target: if stopping { 0 } else { app.instances },
            action,
        }
    }

    /// Whether as many run, and are healthy, as there should be.
    pub(crate) fn is_there(&self) -> bool {
        self.running == self.target && self.healthy.is_none_or(|healthy| healthy >= self.target)
    }

    /// `2/5 running, 1 healthy  scaling`.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}/{} running", self.running, self.target);
        if let Some(healthy) = self.healthy {
            text.push_str(&format!(", {healthy} healthy"));
        }
        let action = match self.action.as_deref() {
            Some("StartApplication") => "starting",
            Some("StopApplication") => "stopping",
            Some("ScaleApplication") => "scaling",
            Some("RestartApplication") => "replacing",
            Some(other) => other,
            None => return text,
        };
        text.push_str("  ");
        text.push_str(action);
        text
    }
}

/// Notices when nothing changes any more.
#[derive(Clone, Debug)]
pub(crate) struct Stall {
    rows: Vec<Row>,
    changed: Instant,
    told: Option<Instant>,
}

impl Stall {
    pub(crate) fn new(now: Instant) -> Self {
        Self { rows: Vec::new(), changed: now, told: None }
    }

    /// Takes the latest rows; true when it is time to tell why nothing changes.
    pub(crate) fn observe(&mut self, now: Instant, rows: &[Row]) -> bool {
        if self.rows != rows {
            self.rows = rows.to_vec();
            self.changed = now;
            self.told = None;
            return false;
        }
        let due = match self.told {
            None => now.duration_since(self.changed) > STALL,
            Some(told) => now.duration_since(told) > STALL_AGAIN,
        };
        if due {
            self.told = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Action;

    fn app(running: u32, target: u32) -> App {
        App {
            id: "/web".into(),
            instances: target,
            tasks_running: running,
            tasks_healthy: 1,
            ..App::default()
        }
    }

    #[test]
    fn a_row_says_how_many_run_and_what_is_done() {
        let deployment = Deployment {
            current_actions: vec![Action { action: "ScaleApplication".into(), app: "/web".into() }],
            ..Deployment::default()
        };
        let row = Row::new("/web", Some(&app(2, 5)), Some(&deployment));
        assert_eq!(row.text(), "2/5 running  scaling");
        let mut checked = app(2, 2);
        checked.health_checks = vec![serde_json::json!({})];
        let row = Row::new("/web", Some(&checked), None);
        assert_eq!(row.text(), "2/2 running, 1 healthy");
        assert!(!row.is_there());
        assert!(Row::new("/web", Some(&app(2, 2)), None).is_there());
    }

    #[test]
    fn an_app_that_is_stopped_goes_to_zero() {
        let deployment = Deployment {
            current_actions: vec![Action { action: "StopApplication".into(), app: "/web".into() }],
            ..Deployment::default()
        };
        assert_eq!(
            Row::new("/web", Some(&app(1, 2)), Some(&deployment)).text(),
            "1/0 running  stopping"
        );
        assert_eq!(Row::new("/web", None, Some(&deployment)).text(), "0/0 running  stopping");
    }

    #[test]
    fn a_stall_is_told_after_ten_seconds_and_then_every_thirty() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (one, two) = (
            vec![Row::new("/web", Some(&app(1, 5)), None)],
            vec![Row::new("/web", Some(&app(2, 5)), None)],
        );
        let mut stall = Stall::new(start);
        assert!(!stall.observe(at(0), &one));
        assert!(!stall.observe(at(10), &one));
        assert!(stall.observe(at(11), &one));
        assert!(!stall.observe(at(12), &one));
        assert!(!stall.observe(at(41), &one));
        assert!(stall.observe(at(42), &one));
        assert!(!stall.observe(at(43), &two));
        assert!(stall.observe(at(54), &two));
    }
}
