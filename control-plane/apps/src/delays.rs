//! Back-off of apps whose instances fail (`marathon-behaviour.md` section 7).

use std::collections::BTreeMap;

use tepui_marathon::{App, AppId, Version};
use tepui_types::{Mono, Span};

use crate::machine::Apps;
use crate::out::Out;
use crate::timers::Timer;

/// How often apps that have behaved are forgiven.
const SWEEP: Span = Span::from_secs(10);

/// The back-off of one app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Delay {
    /// The configuration that failed; another one starts afresh.
    config: Version,
    /// Last failure or launch.
    reference: Mono,
    delay: Span,
    max: Span,
}

/// The back-off of all apps.
#[derive(Debug, Default)]
pub(crate) struct Delays(BTreeMap<AppId, Delay>);

impl Delays {
    /// When the app may launch again; `None` for "now".
    pub(crate) fn until(&self, app: &AppId) -> Option<Mono> {
        self.0.get(app).map(|delay| delay.reference + delay.delay)
    }

    /// Whether the app has to wait.
    pub(crate) fn blocks(&self, app: &AppId, now: Mono) -> bool {
        self.until(app).is_some_and(|until| until > now)
    }

    /// A failure: the first one waits for `backoffSeconds`, each further one longer by the factor.
    fn fail(&mut self, app: &App, now: Mono) -> Mono {
        let max = Span::from_secs(app.max_launch_delay_seconds.into());
        let config = app.version_info.last_config_change_at;
        let delay = match self.0.get(&app.id).filter(|delay| delay.config == config) {
            Some(earlier) => grown(earlier.delay, app.backoff_factor.as_nano()),
            None => Span::from_secs(app.backoff_seconds.into()),
        };
        let delay = Delay { config, reference: now, delay: delay.min(max), max };
        self.0.insert(app.id.clone(), delay);
        now + delay.delay
    }

    /// A launch moves the reference but keeps the step.
    pub(crate) fn launched(&mut self, app: &App, now: Mono) -> Option<Mono> {
        let delay = self.0.get_mut(&app.id)?;
        delay.reference = now;
        Some(now + delay.delay)
    }

    /// Forgets an app's back-off; true if there was one.
    pub(crate) fn reset(&mut self, app: &AppId) -> bool {
        self.0.remove(app).is_some()
    }

    /// Forgets the back-off of an older configuration.
    pub(crate) fn reset_older(&mut self, app: &App) {
        let config = app.version_info.last_config_change_at;
        if self.0.get(&app.id).is_some_and(|delay| delay.config != config) {
            self.0.remove(&app.id);
        }
    }

    fn sweep(&mut self, now: Mono) -> Vec<AppId> {
        let over = |delay: &Delay| now.since(delay.reference) >= delay.max.max(delay.delay);
        let forgiven: Vec<AppId> =
            self.0.iter().filter(|(_, delay)| over(delay)).map(|(app, _)| app.clone()).collect();
        forgiven.iter().for_each(|app| {
            self.0.remove(app);
        });
        forgiven
    }
}

/// `delay` times a factor in billionths.
fn grown(delay: Span, factor_nano: u64) -> Span {
    let nanos = u128::from(delay.as_nanos()) * u128::from(factor_nano) / 1_000_000_000;
    Span::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl Apps {
    /// Counts a failure of an instance of `app`.
    pub(crate) fn count_failure(&mut self, app: &App, out: &Out<'_>) {
        let until = self.delays.fail(app, out.mono());
        self.timers.set(until, Timer::Delay(app.id.clone()));
    }

    pub(crate) fn sweep_delays(&mut self, out: &Out<'_>) {
        for app in self.delays.sweep(out.mono()) {
            self.dirty.insert(app);
        }
        self.after(SWEEP, Timer::DelaySweep, out);
    }

    /// `DELETE /v2/queue/{id}/delay` and the beginning of rolling updates.
    pub(crate) fn reset_delay(&mut self, app: &AppId) {
        if self.delays.reset(app) {
            self.session.wish(app);
        }
        self.dirty.insert(app.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_series_reaches_five_minutes_at_the_forty_second_failure() {
        let mut delay = Span::from_secs(1);
        let mut failures = 1;
        let max = Span::from_secs(300);
        let mut series = vec![delay.as_millis()];
        while delay < max {
            delay = grown(delay, 1_150_000_000).min(max);
            failures += 1;
            series.push(delay.as_millis());
        }
        assert_eq!(&series[..6], [1000, 1150, 1322, 1520, 1749, 2011]);
        assert_eq!(failures, 42);
    }
}
