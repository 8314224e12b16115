//! Ports: what a run may use as its tasks come and go, and what it was refused.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use tepui_types::{ContainerId, ExecutorId, FrameworkId, Ranges, Span, TaskState};

use crate::Effect;
use crate::environment::{live_ports_of, sum};
use crate::machine::{Agent, Turn};
use crate::state::{Fate, Phase, Run};
use crate::status::Saying;

/// Most ports that a status message names.
const MOST_NAMED: usize = 5;

/// A port that the kernel refused a run, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortDenial {
    /// What was tried: `bind`, `connection`, …
    pub operation: String,
    /// The protocol: `tcp`, `udp`, …
    pub transport: String,
    /// The port.
    pub port: u16,
    /// The address beside it: what was asked for, or where it was reached.
    pub address: Option<IpAddr>,
    /// How often.
    pub count: u64,
}

impl fmt::Display for PortDenial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, transport, port, address, count } = self;
        match address {
            Some(address) => {
                write!(f, "{operation} {transport} {}", SocketAddr::new(*address, *port))
            }
            None => write!(f, "{operation} {transport} port {port}"),
        }?;
        match count {
            1 => f.write_str(" (once)"),
            count => write!(f, " ({count} times)"),
        }
    }
}

impl Agent {
    /// Has the kernel told which ports a run may use now, when that changed.
    pub(crate) fn renew_ports(
        &mut self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        turn: &mut Turn<'_>,
    ) {
        let Some(known) = self.book.framework(framework) else { return };
        let Some(entry) = known.executors.get(executor).filter(|one| !one.is_command()) else {
            return;
        };
        let ports = live_ports_of(known, entry);
        let is_its = |run: &Run| {
            run.owner.as_ref().is_some_and(|(whose, of)| whose == framework && of == executor)
        };
        let begun =
            |run: &Run| run.exit.is_none() && !matches!(run.phase, Phase::Preparing | Phase::Over);
        // The runs of a pod's tasks share its ports; the pod itself is no process.
        let runs = self.book.runs.iter();
        let its = runs.filter(|(_, run)| is_its(run) && begun(run) && !run.is_pod);
        // In a network of its own every port is its own.
        let its: Vec<_> = its
            .filter(|(run, _)| self.network_of(run).is_none())
            .map(|(run, entry)| (run.clone(), ports.union(&own_ports_of(entry))))
            .collect();
        for (run, ports) in its {
            let Some(entry) = self.run_mut(&run).filter(|entry| entry.ports != ports) else {
                continue;
            };
            entry.ports = ports.clone();
            turn.push(Effect::Ports { run, ports });
        }
    }

    /// A run was found again: the kernel is told its ports, whatever it knows.
    pub(crate) fn tell_ports(&mut self, run: &ContainerId, turn: &mut Turn<'_>) {
        let Some(entry) = self.book.runs.get(run).filter(|_| self.network_of(run).is_none()) else {
            return;
        };
        let owner = self.book.owner(run);
        if owner.is_none() && entry.asked.is_none() {
            return;
        }
        let shared = owner.map(|(framework, executor)| live_ports_of(framework, executor));
        let ports = shared.unwrap_or_default().union(&own_ports_of(entry));
        if let Some(entry) = self.run_mut(run) {
            entry.ports = ports.clone();
        }
        turn.push(Effect::Ports { run: run.clone(), ports });
    }

    /// The kernel refused a run ports that it was not given. `fatal` ends it.
    pub(crate) fn ports_denied(
        &mut self,
        run: &ContainerId,
        denials: Vec<PortDenial>,
        fatal: bool,
        turn: &mut Turn<'_>,
    ) {
        let Some(entry) = self.run_mut(run).filter(|run| run.exit.is_none()) else { return };
        let is_first = entry.denials.is_empty();
        entry.denials = denials;
        if is_first && let Some(text) = self.denied_text(run) {
            turn.push(Effect::Notice { run: run.clone(), text });
        }
        if !fatal {
            return;
        }
        if self.command_task(run).is_some() {
            self.end_command(run, Span::ZERO, Fate::ForeignPort, turn);
        } else {
            self.destroy(run, Fate::ForeignPort, turn);
        }
    }

    /// What a run was refused, as a part of a sentence.
    fn denied_text(&self, run: &ContainerId) -> Option<String> {
        let entry = self.book.runs.get(run).filter(|run| !run.denials.is_empty())?;
        if entry.asked.is_some() {
            return Some(denied(&entry.denials, &entry.ports));
        }
        let (framework, executor) = self.book.owner(run)?;
        Some(denied(&entry.denials, &live_ports_of(framework, executor)))
    }

    /// Adds to the last words of a run that ended badly which ports it was refused: most often that
    /// is why.
    pub(crate) fn with_denials(&self, run: &ContainerId, saying: Saying) -> Saying {
        if saying.state != TaskState::Failed {
            return saying;
        }
        let Some(denied) = self.denied_text(run) else { return saying };
        let message = match &saying.message {
            // After the first sentence, before what else is known of the end.
            Some(message) => match message.split_once('\n') {
                Some((first, rest)) => format!("{first}; {denied}\n{rest}"),
                None => format!("{message}; {denied}"),
            },
            None => denied,
        };
        saying.saying(message)
    }
}

/// What an asked run was given besides what it shares.
fn own_ports_of(run: &Run) -> Ranges {
    let asked = run.asked.as_ref();
    asked.map_or_else(Ranges::new, |launch| sum(&launch.resources).ports())
}

fn denied(denials: &[PortDenial], offered: &Ranges) -> String {
    let mut named: Vec<String> = denials.iter().take(MOST_NAMED).map(ToString::to_string).collect();
    if denials.len() > MOST_NAMED {
        named.push(format!("{} more", denials.len() - MOST_NAMED));
    }
    let offered = match offered.to_string() {
        text if offered.is_empty() || text.is_empty() => "no ports".to_owned(),
        text => text.trim_matches(['[', ']']).to_owned(),
    };
    format!("denied {}; offered {offered}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use tepui_types::Range;

    use super::*;

    fn denial(port: u16, count: u64) -> PortDenial {
        let (operation, transport) = ("bind".into(), "tcp".into());
        PortDenial { operation, transport, port, address: Some([0; 4].into()), count }
    }

    #[test]
    fn denials_are_named_with_what_was_offered() {
        let offered = Ranges::from_ranges([Range::new(31000, 31001).unwrap()]);
        assert_eq!(
            denied(&[denial(8081, 3), denial(80, 1)], &offered),
            "denied bind tcp 0.0.0.0:8081 (3 times), bind tcp 0.0.0.0:80 (once); offered 31000-31001"
        );
        let six = PortDenial { address: Some([0; 16].into()), ..denial(80, 1) };
        assert_eq!(six.to_string(), "bind tcp [::]:80 (once)");
        let nowhere = PortDenial { address: None, ..denial(80, 1) };
        assert_eq!(nowhere.to_string(), "bind tcp port 80 (once)");
        assert!(denied(&[denial(1, 1)], &Ranges::new()).ends_with("offered no ports"));
        let many: Vec<_> = (1..=9).map(|port| denial(port, 1)).collect();
        assert!(denied(&many, &offered).contains("0.0.0.0:5 (once), 4 more; offered"));
    }
}
