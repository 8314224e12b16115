//! What the operator wishes of the kernel.

use std::collections::BTreeSet;

use anyhow::bail;
use serde::Deserialize;
use tepui_accounting::{Feature, Mode};

/// What happens to a task that asks for a port of no offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortEnforcement {
    /// Nothing: nobody looks.
    Off,
    /// It gets the port; that is counted and logged.
    Observe,
    /// It is refused with EPERM, and named in the task's status when the task fails.
    Deny,
    /// It is refused, and the task is ended; not for what others send it.
    Kill,
}

impl PortEnforcement {
    /// The kernel's mode; `None` for off.
    pub fn mode(self) -> Option<Mode> {
        match self {
            Self::Off => None,
            Self::Observe => Some(Mode::Observe),
            Self::Deny => Some(Mode::Deny),
            Self::Kill => Some(Mode::Kill),
        }
    }
}

/// What is counted by programs unless the operator says otherwise: what no file tells, for less
/// than a hundredth of what a busy task costs anyway. Processor time is left to `cpu.stat`, which
/// is as exact.
pub const COUNTED: &[Feature] =
    &[Feature::Exits, Feature::Network, Feature::Drops, Feature::Tcp, Feature::Block];

/// What the operator wishes of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// Ports; `None` is to deny where the kernel can.
    pub ports: Option<PortEnforcement>,
    /// What programs count.
    pub counted: BTreeSet<Feature>,
    /// Have the kernel measure the programs themselves.
    pub cost: bool,
    /// Have nftables count what programs leave of the host's network; `None` is what programs are
    /// wished for, and everything where none is.
    pub nftables: Option<bool>,
}

impl Wishes {
    /// Understands the words of the configuration; everything else is wished for.
    ///
    /// # Errors
    /// When a word is none of them.
    pub fn parse(ports: Option<PortEnforcement>, words: &[String]) -> anyhow::Result<Self> {
        let mut counted: BTreeSet<Feature> = BTreeSet::new();
        for word in words {
            match word.as_str() {
                "off" if words.len() == 1 => {}
                "default" => counted.extend(COUNTED),
                "all" => counted.extend(countable()),
                word => match countable().find(|feature| feature.word() == word) {
                    Some(feature) => drop(counted.insert(feature)),
                    None => {
                        let known: Vec<_> = countable().map(Feature::word).collect();
                        bail!(
                            "accounting = {word:?} is none of off (alone), default, all, {}",
                            known.join(", ")
                        );
                    }
                },
            }
        }
        if words.is_empty() {
            counted.extend(COUNTED);
        }
        Ok(Self { ports, counted, cost: true, nftables: None })
    }

    /// What is asked of the host, ports included.
    pub fn features(&self) -> BTreeSet<Feature> {
        let mut all = self.counted.clone();
        if self.mode().is_some() {
            all.insert(Feature::Ports);
        }
        all
    }

    /// Whether nftables is to count this where programs do not.
    pub fn by_rules(&self, feature: Feature) -> bool {
        let wished = || self.counted.is_empty() || self.counted.contains(&feature);
        self.nftables.unwrap_or_else(wished)
    }

    /// The word of the configuration for what happens with ports.
    pub fn word(&self) -> &'static str {
        match self.mode() {
            None => "off",
            Some(Mode::Observe) => "observe",
            Some(Mode::Deny) => "deny",
            Some(Mode::Kill) => "kill",
        }
    }

    /// The mode of port enforcement.
    pub fn mode(&self) -> Option<Mode> {
        self.ports.unwrap_or(PortEnforcement::Deny).mode()
    }
}

fn countable() -> impl Iterator<Item = Feature> {
    Feature::ALL.iter().copied().filter(|feature| *feature != Feature::Ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(words: &[&str]) -> anyhow::Result<BTreeSet<Feature>> {
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        Wishes::parse(None, &words).map(|wishes| wishes.counted)
    }

    #[test]
    fn words_choose_what_is_counted() {
        assert_eq!(counted(&[]).unwrap(), COUNTED.iter().copied().collect());
        assert_eq!(counted(&["off"]).unwrap(), BTreeSet::new());
        assert_eq!(counted(&["cpu", "tcp"]).unwrap(), [Feature::Cpu, Feature::Tcp].into());
        assert_eq!(counted(&["all"]).unwrap().len(), Feature::ALL.len() - 1);
        let error = counted(&["ports"]).unwrap_err().to_string();
        assert!(error.contains("run_queue") && error.contains("\"ports\""), "{error}");
        assert!(counted(&["off", "cpu"]).is_err());
    }

    #[test]
    fn nftables_counts_what_was_wished_for_or_everything_where_no_program_is() {
        let by_rules = |words: &[&str], nftables| {
            let words: Vec<_> = words.iter().map(ToString::to_string).collect();
            let wishes = Wishes { nftables, ..Wishes::parse(None, &words).unwrap() };
            wishes.by_rules(Feature::Network)
        };
        assert!(by_rules(&[], None) && by_rules(&["off"], None) && by_rules(&["network"], None));
        assert!(!by_rules(&["cpu"], None) && by_rules(&["cpu"], Some(true)));
        assert!(!by_rules(&[], Some(false)) && !by_rules(&["off"], Some(false)));
    }

    #[test]
    fn tasks_are_held_to_their_ports_unless_the_operator_says_otherwise() {
        let wishes = Wishes::parse(None, &[]).unwrap();
        assert_eq!(wishes.mode(), Some(Mode::Deny));
        let off = Wishes { ports: Some(PortEnforcement::Off), ..wishes };
        assert!(off.mode().is_none() && !off.features().contains(&Feature::Ports));
    }
}
