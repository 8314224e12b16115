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
    /// Nobody accepts connections at the address of the leader of this term, and no leader was ever
    /// met there: its process may be gone, or live where this host does not reach it. Told again
    /// while it is so.
    LeaderRefuses {
        /// The term.
        term: Term,
    },
    /// The last attempt raised the term to this one; the record is told by itself.
    Won {
        /// The term.
        term: Term,
    },
    /// In the last attempt to raise the term somebody else was quicker, or the leader lives.
    Lost,
    /// The store did not answer the last attempt to raise the term.
    Failed,
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
    /// Begin to follow the store anew: it has more than was told.
    Listen,
    /// Raise the term.
    StandUp {
        /// The record as it was last heard; `None` if there is none. Whoever leads in another
        /// term by now stays.
        seen: Option<Leadership>,
        /// The leader is known to be gone. Otherwise it stays if it wrote since.
        gone: bool,
        /// The highest term that this standby ever knew of. Its own must be higher, whatever the
        /// store says by now: in that one somebody may still lead (invariant I-16).
        above: Term,
    },
    /// The store has a lower term than it had, or none: it was emptied, replaced or set back. Told
    /// once each time.
    SetBack {
        /// The highest term that this standby ever knew of.
        known: Term,
        /// The term that the store has now.
        current: Option<Term>,
    },
    /// The store does not know the term that this process won in it: it was emptied, replaced or set
    /// back. This process stands by again, in the store as it is now.
    Forgotten {
        /// The term.
        term: Term,
    },
    /// Lead: the term is this process's, and everything committed before it has been heard.
    Lead {
        /// The term.
        term: Term,
    },
}

/// Signs of life of a leader in one lease, so that some may be late.
pub const RENEWALS: u32 = 5;
/// So many of them in a row does a leader that lives hardly ever miss.
const MISSED: u64 = 2;

/// How long after a failed attempt the next one comes, where nobody's lease has to be waited for.
const RETRY: Span = Span::from_millis(250);

/// When a standby stands up.
///
/// The lease is counted from when the record was last heard to change, on this host's own
/// clock: no two hosts' clocks are compared. While nothing is heard it does not run.
#[derive(Debug)]
pub struct Election {
    lease: Span,
    heard: Heard,
    /// The store tells nothing now; what was heard before is kept.
    deaf: bool,
    /// From here on is counted how long nothing happens …
    since: Mono,
    /// … and so long is waited before standing up.
    patience: Span,
    /// The process that led in this term is gone.
    gone: Option<Term>,
    /// An attempt was lost to a record that was not heard yet.
    missing: bool,
    /// What is heard next is read anew, so no swap of this process is missing in it.
    anew: bool,
    /// The highest term that was heard or won, in whatever the store was then.
    highest: Term,
    /// What was heard last was below that, and this was told.
    set_back: bool,
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
    /// Nothing yet.
    Never,
    /// There is no record.
    Nothing,
    Record(Leadership),
}

impl Election {
    /// A standby that has heard nothing yet.
    pub fn new(lease: Span) -> Self {
        Self {
            lease,
            heard: Heard::Never,
            deaf: false,
            since: Mono::default(),
            patience: lease,
            gone: None,
            missing: false,
            anew: false,
            highest: Term::default(),
            set_back: false,
            standing: Standing::No,
        }
    }

    /// Who leads, as far as this standby has heard.
    pub fn leader(&self) -> Option<&Candidate> {
        match &self.heard {
            Heard::Record(record) if !self.deaf => record.leader.as_ref(),
            _ => None,
        }
    }

    /// When the lease runs out, the next attempt is due, or what must be heard is overdue.
    pub fn next_wakeup(&self) -> Option<Mono> {
        let may = !self.deaf && self.standing != Standing::Up;
        (may && !matches!(self.heard, Heard::Never)).then(|| self.since + self.patience)
    }

    /// Takes one event.
    pub fn handle(&mut self, now: Mono, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Heard(None) => {
                if std::mem::take(&mut self.anew) {
                    self.forget(now, Term::default(), out);
                }
                self.compare(None, out);
                // Nobody is known to have gone from what comes next.
                self.gone = None;
                self.heard = Heard::Nothing;
                (self.deaf, self.missing) = (false, false);
                self.stand_up(out);
            }
            Event::Heard(Some(record)) => self.hear(now, record, out),
            Event::Deaf => self.fall_deaf(now),
            Event::LeaderGone { term } => {
                self.gone = Some(term);
                if !self.deaf && matches!(&self.heard, Heard::Record(heard) if heard.term == term) {
                    self.stand_up(out);
                }
            }
            Event::LeaderRefuses { term } => {
                if self.leads(term) && self.since + self.missed() <= now {
                    self.stand_up(out);
                }
            }
            Event::Won { term } => {
                self.highest = self.highest.max(term);
                self.sit_down(now, self.lease);
                self.standing = Standing::Won(term);
                self.anew = false;
                self.lead_when_heard(out);
            }
            Event::Lost => {
                self.sit_down(now, self.lease);
                self.missing = true;
            }
            Event::Failed if self.nobody_leads() || self.since + self.patience <= now => {
                self.sit_down(now, RETRY);
            }
            // Meanwhile a leader was heard of, whose lease runs.
            Event::Failed => self.standing = Standing::No,
            Event::Tick if self.next_wakeup().is_none_or(|at| at > now) => {}
            // A watch that tells nothing and does not end would leave the cluster without a leader.
            Event::Tick if self.missing || self.standing != Standing::No => {
                self.since = now;
                self.anew = true;
                out.push(Effect::Listen);
            }
            Event::Tick => self.stand_up(out),
        }
    }

    /// The lease stands still while nothing is heard: when the store is away the leader cannot
    /// write either. It has some time to do so once the store is back.
    fn fall_deaf(&mut self, now: Mono) {
        self.anew = true;
        if !self.deaf {
            let left = self.patience.saturating_sub(now.since(self.since));
            self.patience = left.max(Span::from_nanos(self.lease.as_nanos() / 2));
            self.deaf = true;
        }
    }

    /// Whether somebody leads in this term, as far as all that was heard says.
    fn leads(&self, term: Term) -> bool {
        let heard = matches!(&self.heard, Heard::Record(heard) if heard.term == term);
        heard && !self.deaf && !self.missing
    }

    /// A leader that lives, and that nobody reaches at the address that it tells, must keep its term;
    /// otherwise control planes that cannot reach each other would take it in turns. A whole lease
    /// is too long for one whose process is most likely gone.
    fn missed(&self) -> Span {
        Span::from_nanos(self.lease.as_nanos() / u64::from(RENEWALS) * MISSED)
    }

    /// Whether it is known that no process leads; a silent leader may live.
    fn nobody_leads(&self) -> bool {
        match &self.heard {
            Heard::Never => false,
            Heard::Nothing => true,
            Heard::Record(record) => record.leader.is_none() || self.gone == Some(record.term),
        }
    }

    /// Drops a term that was won if the store is at a lower one: it is not the store that it was won
    /// in, and its next leaders may have that term again.
    fn forget(&mut self, now: Mono, current: Term, out: &mut Vec<Effect>) {
        if let Standing::Won(term) = self.standing
            && current < term
        {
            self.sit_down(now, self.lease);
            (self.heard, self.gone) = (Heard::Never, None);
            // This says it already.
            self.set_back = true;
            out.push(Effect::Forgotten { term });
        }
    }

    /// Compares the store's term with the highest that was ever known. What is heard while an own term
    /// is awaited may be older than that.
    fn compare(&mut self, current: Option<Term>, out: &mut Vec<Effect>) {
        let found = current.unwrap_or_default();
        self.highest = self.highest.max(found);
        if let Standing::Won(_) = self.standing {
            return;
        }
        let is_lower = found < self.highest;
        if is_lower && !self.set_back {
            out.push(Effect::SetBack { known: self.highest, current });
        }
        self.set_back = is_lower;
    }

    fn hear(&mut self, now: Mono, record: Leadership, out: &mut Vec<Effect>) {
        if std::mem::take(&mut self.anew) {
            self.forget(now, record.term, out);
        }
        self.compare(Some(record.term), out);
        if let Standing::Won(term) = self.standing {
            if record.term > term {
                // Somebody raised it again before this process was ready to lead.
                self.sit_down(now, self.lease);
            } else {
                self.heard = Heard::Record(record);
                (self.deaf, self.missing) = (false, false);
                return self.lead_when_heard(out);
            }
        }
        let former = match &self.heard {
            Heard::Record(former) => Some(former),
            Heard::Never | Heard::Nothing => None,
        };
        let same_leader = former
            .is_some_and(|former| (former.term, &former.leader) == (record.term, &record.leader));
        if former != Some(&record) {
            self.since = now;
            self.patience = self.lease;
        } else if self.deaf {
            self.since = now;
        }
        (self.deaf, self.missing) = (false, false);
        if !same_leader {
            out.push(match &record.leader {
                Some(leader) => Effect::Watch { term: record.term, leader: leader.clone() },
                None => Effect::WatchNobody,
            });
        }
        self.heard = Heard::Record(record);
        if self.nobody_leads() {
            self.stand_up(out);
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

    /// Waits again, so that a standby which cannot win does not try all the time.
    fn sit_down(&mut self, now: Mono, patience: Span) {
        self.standing = Standing::No;
        self.since = now;
        self.patience = patience;
    }

    fn stand_up(&mut self, out: &mut Vec<Effect>) {
        if self.standing == Standing::No {
            self.standing = Standing::Up;
            let gone = self.nobody_leads();
            let seen = match &self.heard {
                Heard::Record(record) => Some(record.clone()),
                Heard::Never | Heard::Nothing => None,
            };
            out.push(Effect::StandUp { seen, gone, above: self.highest });
        }
    }
}

#[cfg(test)]
mod tests;
