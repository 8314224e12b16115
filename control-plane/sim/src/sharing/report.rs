//! The experiment's table, beside the paper's.

use std::fmt;

use super::{Row, Sharing};

/// What the paper measured: processors and memory in use, more by so many per cent when shared.
const PAPER_MORE: (u32, u32) = (10, 18);

fn line(f: &mut fmt::Formatter<'_>, row: &Row, paper: f64, indent: &str) -> fmt::Result {
    let name = format!("{indent}{}", row.name);
    write!(f, "{name:<26}{:>5}{:>10.0}", row.jobs, row.alone_seconds)?;
    write!(f, "{:>10.0}{:>10.2}", row.shared_seconds, row.speed_up())?;
    writeln!(f, "{paper:>14.0}{:>10.2}", row.paper_speed_up)
}

#[allow(clippy::cast_precision_loss)]
fn kind_sum(kind: &Row) -> f64 {
    kind.paper_seconds * kind.jobs as f64
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quarter = self.hosts / 4;
        writeln!(
            f,
            "{} tasks; four static clusters of {quarter} hosts against one of {} hosts with 4 cpus",
            self.tasks, self.hosts
        )?;
        writeln!(f, "seconds are summed over jobs, from submission to end\n")?;
        write!(f, "{:<26}{:>5}{:>10}", "", "jobs", "static")?;
        writeln!(f, "{:>10}{:>10}{:>14}{:>10}", "shared", "speed-up", "paper static", "speed-up")?;
        for row in &self.rows {
            line(f, row, row.paper_seconds, "")?;
            for kind in &row.kinds {
                line(f, kind, kind_sum(kind), "  ")?;
            }
        }
        let points = |shared: f64, alone: f64| (shared - alone) * 100.0;
        writeln!(f, "\nheld by tasks on average, until the shared cluster's last job ends:")?;
        writeln!(f, "  static quarters  {}", self.alone)?;
        writeln!(f, "  shared cluster   {}", self.shared)?;
        writeln!(
            f,
            "  {:+.0} points of processors, {:+.0} of memory; the paper saw {:+} % and {:+} % of what was busy",
            points(self.shared.cpus, self.alone.cpus),
            points(self.shared.memory, self.alone.memory),
            PAPER_MORE.0,
            PAPER_MORE.1,
        )?;
        writeln!(
            f,
            "the last job ends after {:.0} s with static quarters, {:.0} s when shared",
            self.alone_seconds, self.shared_seconds
        )
    }
}
