//! In which order control planes are asked for a link.

use std::collections::VecDeque;

use tonic::transport::{Endpoint, Uri};

/// One round of asking: each control plane once at most.
#[derive(Debug, Default)]
pub struct Round {
    waiting: VecDeque<Endpoint>,
    asked: Vec<Uri>,
    /// Who led last and fell silent: others know first whether it leads still.
    suspect: Option<Uri>,
}

impl Round {
    /// A round of these, in their order, but the suspect last.
    pub fn new(candidates: Vec<Endpoint>, suspect: Option<Uri>) -> Self {
        let is_suspect = |endpoint: &Endpoint| Some(endpoint.uri()) == suspect.as_ref();
        let (last, first): (Vec<_>, Vec<_>) = candidates.into_iter().partition(is_suspect);
        Self { waiting: first.into_iter().chain(last).collect(), asked: Vec::new(), suspect }
    }

    /// Who is asked next; nobody when the round is over.
    pub fn take(&mut self) -> Option<Endpoint> {
        let next = self.waiting.pop_front()?;
        self.asked.push(next.uri().clone());
        Some(next)
    }

    /// A control plane names the leader, who is asked next; the suspect stays the last, for who
    /// named it may not know yet. `false` when it was asked before: that word is out of date.
    pub fn told(&mut self, leader: Endpoint) -> bool {
        if self.asked.contains(leader.uri()) {
            return false;
        }
        self.waiting.retain(|other| other.uri() != leader.uri());
        if self.suspect.as_ref() == Some(leader.uri()) {
            self.waiting.push_back(leader);
        } else {
            self.waiting.push_front(leader);
        }
        true
    }

    /// Whether everybody was asked.
    pub fn is_over(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str) -> Endpoint {
        Endpoint::from_shared(format!("http://{host}:5052")).unwrap()
    }

    fn round(hosts: &[&str], suspect: Option<&str>) -> Round {
        let candidates = hosts.iter().map(|host| at(host)).collect();
        Round::new(candidates, suspect.map(|host| at(host).uri().clone()))
    }

    fn next(round: &mut Round) -> Option<String> {
        Some(round.take()?.uri().host()?.to_owned())
    }

    fn rest(mut round: Round) -> Vec<String> {
        std::iter::from_fn(|| next(&mut round)).collect()
    }

    #[test]
    fn who_fell_silent_is_asked_last() {
        assert_eq!(rest(round(&["a", "b", "c"], Some("a"))), ["b", "c", "a"]);
        assert_eq!(rest(round(&["a", "b", "c"], None)), ["a", "b", "c"]);
        assert_eq!(rest(round(&["a"], Some("a"))), ["a"]);
    }

    #[test]
    fn the_leader_that_one_names_is_asked_next() {
        let mut round = round(&["a", "b", "c"], None);
        assert_eq!(next(&mut round).unwrap(), "a");
        assert!(round.told(at("c")));
        assert_eq!(rest(round), ["c", "b"]);
    }

    #[test]
    fn nobody_is_sent_back_to_who_fell_silent_before_the_others_are_asked() {
        let mut round = round(&["a", "b", "c"], Some("a"));
        assert_eq!(next(&mut round).unwrap(), "b");
        assert!(round.told(at("a")));
        assert_eq!(rest(round), ["c", "a"]);
    }

    #[test]
    fn a_leader_that_no_list_has_is_asked_all_the_same() {
        let mut round = round(&["b"], Some("a"));
        assert_eq!(next(&mut round).unwrap(), "b");
        assert!(round.told(at("a")));
        assert!(!round.is_over());
        assert_eq!(rest(round), ["a"]);
    }

    #[test]
    fn two_that_name_each_other_end_the_round() {
        let mut round = round(&["a", "b"], None);
        assert_eq!(next(&mut round).unwrap(), "a");
        assert!(round.told(at("b")));
        assert_eq!(next(&mut round).unwrap(), "b");
        assert!(!round.told(at("a")));
        assert!(round.is_over());
    }
}
