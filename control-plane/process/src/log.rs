use std::fmt as text;
use std::io::{IsTerminal, stderr};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{self, FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text each.
    #[default]
    Text,
    /// One JSON object each.
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("log format {other:?} is neither text nor json")),
        }
    }
}

/// Starts logging to standard error. `TEPUI_LOG` chooses levels (`info`, `debug`,
/// `tepui_cluster=trace,info`); unset means `info`. Lines that go to systemd's journal have their
/// priority in front, and no time: the journal has it (`journalctl -p warning`).
pub fn start_log(format: LogFormat) {
    let levels = levels(std::env::var("TEPUI_LOG").ok().as_deref());
    let lines = fmt::layer().with_writer(stderr);
    let log = tracing_subscriber::registry().with(levels);
    match format {
        LogFormat::Json => log.with(lines.json()).init(),
        LogFormat::Text if is_journal() => {
            let format = fmt::format().without_time().with_ansi(false);
            log.with(lines.event_format(ForJournal(format))).init();
        }
        LogFormat::Text => {
            let colour = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            log.with(lines.with_ansi(colour)).init();
        }
    }
}

/// What was chosen, or `info` when that is nothing or no choice of levels.
fn levels(chosen: Option<&str>) -> Targets {
    let info = || Targets::new().with_default(LevelFilter::INFO);
    chosen.and_then(|text| text.parse().ok()).unwrap_or_else(info)
}

/// Whether standard error is the journal's (systemd.exec(5), `JOURNAL_STREAM`). The variable alone
/// does not tell: whoever redirected the output has left it as it was.
fn is_journal() -> bool {
    let Ok(told) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(status) = rustix::fs::fstat(stderr()) else { return false };
    told == format!("{}:{}", status.st_dev, status.st_ino)
}

/// Lines with the priority that journald reads (sd-daemon(3)).
struct ForJournal<F>(F);

impl<S, N, F> FormatEvent<S, N> for ForJournal<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> text::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_chosen_for_all_and_by_component() {
        let some = levels(Some("tepui_cluster=trace,info"));
        assert!(some.would_enable("tepui_cluster::offers", &Level::TRACE));
        assert!(some.would_enable("tepui_apps", &Level::INFO));
        assert!(!some.would_enable("tepui_apps", &Level::DEBUG));
        assert!(!levels(Some("off")).would_enable("tepui_apps", &Level::ERROR));
    }

    #[test]
    fn without_a_choice_that_is_understood_everything_from_info_on_is_told() {
        for chosen in [None, Some("tepui_apps=loud")] {
            let levels = levels(chosen);
            assert!(levels.would_enable("tepui_apps", &Level::INFO), "{chosen:?}");
            assert!(!levels.would_enable("tepui_apps", &Level::DEBUG), "{chosen:?}");
        }
    }
}
