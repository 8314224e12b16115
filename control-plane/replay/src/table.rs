//! The comparison, as people read it.

use std::fmt;

use tepui_types::Span;

use crate::Outcome;

/// Outcomes side by side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// The recording's own first.
    pub columns: Vec<Outcome>,
}

fn seconds(span: Span) -> String {
    format!("{:.2} s", span.as_secs_f64())
}

fn per_cent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

/// A row: its name, and what it says of an outcome.
type Row = (&'static str, fn(&Outcome) -> String);

const ROWS: &[Row] = &[
    ("tasks placed", |one| one.placed.to_string()),
    ("tasks left waiting", |one| one.unplaced.to_string()),
    ("wait, p50", |one| seconds(one.wait_p50)),
    ("wait, p99", |one| seconds(one.wait_p99)),
    ("wait, longest", |one| seconds(one.wait_max)),
    ("cpus in use", |one| per_cent(one.cpus)),
    ("memory in use", |one| per_cent(one.memory)),
    ("agents with nothing on them", |one| per_cent(one.idle_agents)),
    ("fairness (Jain's index)", |one| format!("{:.3}", one.jain)),
    ("share gap to who waits, mean", |one| per_cent(one.gap)),
    ("share gap to who waits, largest", |one| per_cent(one.gap_max)),
    ("offers", |one| one.offers.to_string()),
    ("offers declined", |one| one.declined.to_string()),
    ("offers taken back", |one| one.rescinded.to_string()),
    ("tasks pre-empted", |one| one.preempted.to_string()),
    ("wrong proposals", |one| one.misfits.to_string()),
    ("rounds", |one| one.rounds.to_string()),
    ("pairs looked at", |one| one.pairs.to_string()),
];

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Plugins have the names that their authors gave them.
        let width = |column: &Outcome| (column.name.chars().count() + 2).max(14);
        write!(f, "{:<32}", "")?;
        for column in &self.columns {
            write!(f, "{:>1$}", column.name, width(column))?;
        }
        writeln!(f)?;
        for (name, text) in ROWS {
            write!(f, "{name:<32}")?;
            for column in &self.columns {
                write!(f, "{:>1$}", text(column), width(column))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
