use tepui_types::{Mono, Span, Term};

use crate::{Candidate, Leadership};

/// One thing that a standby learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The record of who leads, as the store tells it; `None` while there is none.
    Heard(Option<Leadership>),
    /// The store tells nothing any more: a leader may live without our hearing of it.
    Deaf,
    /// The process that led in this term is gone: it was connected, the connection was reset, and
    /// nobody answers at its address.
    LeaderGone {
        /// The term.
        term: Term,
    },
    /// The last attempt raised the term to this one; the record is told by itself.
    Won {
        /// The term.
        term: Term,
    },
    /// The last attempt to raise the term failed.
    Lost,
    /// Time passed.
    Tick,
}

/// One thing that a standby does about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Stay connected to this leader, instead of any earlier one, and say when its process goes.
    Watch {
        /// The term it leads in.
        term: Term,
        /// Where it is.
        leader: Candidate,
    },
    /// Nobody leads: watch nobody.
    WatchNobody,
    /// Raise the term.
    StandUp {
        /// The record as it was last heard; `None` if there is none. Whoever leads in another
        /// term by now stays.
        seen: Option<Leadership>,
        /// The leader is known to be gone. Otherwise it stays if it wrote since.
        gone: bool,
    },
    /// Lead: the term is this process's, and everything committed before it has been heard.
    Lead {
        /// The term.
        term: Term,
    },
}

/// When a standby stands up.
///
/// The lease is counted from when the record was last heard to change, on this host's own
/// clock: no two hosts' clocks are compared.
#[derive(Debug)]
pub struct Election {
    lease: Span,
    heard: Heard,
    /// When the record last changed, or was first heard.
    since: Mono,
    standing: Standing,
}

/// How far an attempt to lead is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// None is under way.
    No,
    /// The term is being raised.
    Up,
    /// It is raised, but what was committed before it is not all heard yet.
    Won(Term),
}

#[derive(Debug)]
enum Heard {
    /// Nothing yet, or not any more.
    Deaf,
    /// There is no record.
    Nothing,
    Record(Leadership),
}

impl Election {
    /// A standby that has heard nothing yet.
    pub fn new(lease: Span) -> Self {
        Self { lease, heard: Heard::Deaf, since: Mono::default(), standing: Standing::No }
    }

    /// Who leads, as far as this standby has heard.
    pub fn leader(&self) -> Option<&Candidate> {
        match &self.heard {
            Heard::Record(record) => record.leader.as_ref(),
            Heard::Deaf | Heard::Nothing => None,
        }
    }

    /// When the lease runs out.
    pub fn next_wakeup(&self) -> Option<Mono> {
        match &self.heard {
            Heard::Record(_) if self.standing == Standing::No => Some(self.since + self.lease),
            _ => None,
        }
    }

    /// Takes one event.
    pub fn handle(&mut self, now: Mono, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Heard(None) => {
                self.heard = Heard::Nothing;
                self.stand_up(None, true, out);
            }
            Event::Heard(Some(record)) => self.hear(now, record, out),
            Event::Deaf => self.heard = Heard::Deaf,
            Event::LeaderGone { term } => {
                if let Heard::Record(record) = &self.heard
                    && record.term == term
                {
                    let seen = record.clone();
                    self.stand_up(Some(seen), true, out);
                }
            }
            Event::Won { term } => {
                self.standing = Standing::Won(term);
                self.lead_when_heard(out);
            }
            // Somebody else was quicker, or the leader lives.
            Event::Lost => self.sit_down(now),
            Event::Tick => {
                let due = self.next_wakeup().is_some_and(|at| at <= now);
                if due && let Heard::Record(record) = &self.heard {
                    let seen = record.clone();
                    self.stand_up(Some(seen), false, out);
                }
            }
        }
    }

    fn hear(&mut self, now: Mono, record: Leadership, out: &mut Vec<Effect>) {
        if let Standing::Won(term) = self.standing {
            if record.term > term {
                // Somebody raised it again before this process was ready to lead.
                self.sit_down(now);
            } else {
                self.heard = Heard::Record(record);
                return self.lead_when_heard(out);
            }
        }
        let former = match &self.heard {
            Heard::Record(former) => Some(former),
            Heard::Deaf | Heard::Nothing => None,
        };
        let same_leader = former
            .is_some_and(|former| (former.term, &former.leader) == (record.term, &record.leader));
        if former != Some(&record) {
            self.since = now;
        }
        if !same_leader {
            out.push(match &record.leader {
                Some(leader) => Effect::Watch { term: record.term, leader: leader.clone() },
                None => Effect::WatchNobody,
            });
        }
        let vacant = record.leader.is_none();
        let seen = vacant.then(|| record.clone());
        self.heard = Heard::Record(record);
        if vacant {
            self.stand_up(seen, true, out);
        }
    }

    /// What is heard comes in the order in which it was committed: once the own term is heard,
    /// nothing before it is missing.
    fn lead_when_heard(&mut self, out: &mut Vec<Effect>) {
        if let (Standing::Won(won), Heard::Record(record)) = (self.standing, &self.heard)
            && record.term == won
        {
            out.push(Effect::Lead { term: won });
        }
    }

    /// The lease begins anew, so that a standby which cannot win does not try all the time.
    fn sit_down(&mut self, now: Mono) {
        self.standing = Standing::No;
        self.since = now;
    }

    fn stand_up(&mut self, seen: Option<Leadership>, gone: bool, out: &mut Vec<Effect>) {
        if self.standing == Standing::No {
            self.standing = Standing::Up;
            out.push(Effect::StandUp { seen, gone });
        }
    }
}

#[cfg(test)]
mod tests;
