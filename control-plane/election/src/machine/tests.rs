use tepui_types::{Mono, Span, Term, Uuid};

use super::{Effect, Election, Event};
use crate::{Candidate, Leadership};

const LEASE: Span = Span::from_secs(5);

fn at(millis: u64) -> Mono {
    Mono::from_nanos(millis * 1_000_000)
}

fn candidate(name: &str) -> Candidate {
    Candidate {
        id: name.into(),
        hostname: name.into(),
        mesos: format!("{name}:5050"),
        marathon: format!("{name}:8080"),
        agents: format!("{name}:5052"),
    }
}

fn led_by(name: &str, term: u64, writes: u64) -> Leadership {
    Leadership {
        term: Term(term),
        writes,
        leader: Some(candidate(name)),
        ..Leadership::none(Uuid::from_bytes([1; 16]))
    }
}

fn handle(election: &mut Election, now: Mono, event: Event) -> Vec<Effect> {
    let mut effects = Vec::new();
    election.handle(now, event, &mut effects);
    effects
}

fn hear(election: &mut Election, now: Mono, record: &Leadership) -> Vec<Effect> {
    handle(election, now, Event::Heard(Some(record.clone())))
}

fn watch(record: &Leadership) -> Effect {
    let leader = record.leader.clone().unwrap();
    Effect::Watch { term: record.term, leader }
}

#[test]
fn in_an_empty_store_a_standby_stands_up_at_once() {
    let mut election = Election::new(LEASE);
    assert_eq!(
        handle(&mut election, at(0), Event::Heard(None)),
        [Effect::StandUp { seen: None, gone: true, above: Term(0) }]
    );
}

#[test]
fn a_leader_that_stepped_down_is_followed_at_once() {
    let mut election = Election::new(LEASE);
    let record = led_by("a", 1, 7);
    assert_eq!(hear(&mut election, at(0), &record), [watch(&record)]);
    let vacant = Leadership { leader: None, writes: 8, ..record };
    assert_eq!(
        hear(&mut election, at(10), &vacant),
        [Effect::WatchNobody, Effect::StandUp { seen: Some(vacant), gone: true, above: Term(1) }]
    );
}

#[test]
fn while_the_leader_renews_nobody_stands_up() {
    let mut election = Election::new(LEASE);
    for second in 0..100 {
        let record = led_by("a", 1, second);
        let effects = hear(&mut election, at(second * 1000), &record);
        assert!(effects.len() == usize::from(second == 0), "{effects:?}");
        assert_eq!(handle(&mut election, at(second * 1000 + 999), Event::Tick), []);
    }
}

#[test]
fn a_silent_leader_loses_when_its_lease_is_over_and_not_before() {
    let mut election = Election::new(LEASE);
    let record = led_by("a", 1, 1);
    hear(&mut election, at(1000), &record);
    assert_eq!(election.next_wakeup(), Some(at(6000)));
    // Hearing the same record again is no sign of life.
    hear(&mut election, at(4000), &record);
    assert_eq!(handle(&mut election, at(5999), Event::Tick), []);
    assert_eq!(
        handle(&mut election, at(6000), Event::Tick),
        [Effect::StandUp { seen: Some(record), gone: false, above: Term(1) }]
    );
}

#[test]
fn the_end_of_the_leaders_process_is_enough() {
    let mut election = Election::new(LEASE);
    let record = led_by("a", 4, 1);
    hear(&mut election, at(0), &record);
    assert_eq!(handle(&mut election, at(1), Event::LeaderGone { term: Term(3) }), []);
    assert_eq!(
        handle(&mut election, at(2), Event::LeaderGone { term: Term(4) }),
        [Effect::StandUp { seen: Some(record), gone: true, above: Term(4) }]
    );
}

#[test]
fn a_leader_that_was_never_met_and_refuses_loses_with_two_signs_of_life_and_not_before() {
    let mut election = Election::new(LEASE);
    let record = led_by("a", 4, 1);
    let refuses = || Event::LeaderRefuses { term: Term(4) };
    let stands_up = |record: &Leadership| Effect::StandUp {
        seen: Some(record.clone()),
        gone: false,
        above: record.term,
    };
    hear(&mut election, at(0), &record);
    // It may only just begin, or tell an address that nobody else reaches.
    assert_eq!(handle(&mut election, at(1), refuses()), []);
    let alive = led_by("a", 4, 2);
    hear(&mut election, at(1000), &alive);
    assert_eq!(handle(&mut election, at(2999), refuses()), []);
    assert_eq!(handle(&mut election, at(3000), Event::LeaderRefuses { term: Term(3) }), []);
    assert_eq!(handle(&mut election, at(3000), refuses()), [stands_up(&alive)]);
    // It wrote after all, which is told soon or asked for.
    handle(&mut election, at(3001), Event::Lost);
    assert_eq!(handle(&mut election, at(6000), refuses()), []);
    assert_eq!(handle(&mut election, at(8001), Event::Tick), [Effect::Listen]);
    // Nobody knows what a leader does while the store tells nothing.
    handle(&mut election, at(8002), Event::Deaf);
    assert_eq!(handle(&mut election, at(60_000), refuses()), []);
    hear(&mut election, at(60_001), &alive);
    assert_eq!(handle(&mut election, at(62_000), refuses()), []);
    assert_eq!(handle(&mut election, at(62_001), refuses()), [stands_up(&alive)]);
}

#[test]
fn one_attempt_at_a_time_and_after_a_lost_one_the_lease_begins_anew() {
    let mut election = Election::new(LEASE);
    let record = led_by("a", 1, 1);
    hear(&mut election, at(0), &record);
    assert_eq!(handle(&mut election, at(5000), Event::Tick).len(), 1);
    assert_eq!(election.next_wakeup(), None);
    assert_eq!(handle(&mut election, at(5001), Event::LeaderGone { term: Term(1) }), []);
    handle(&mut election, at(5002), Event::Lost);
    let other = led_by("b", 2, 2);
    assert_eq!(hear(&mut election, at(5003), &other), [watch(&other)]);
    assert_eq!(election.leader(), other.leader.as_ref());
    assert_eq!(election.next_wakeup(), Some(at(10_003)));
}

#[test]
fn who_hears_nothing_of_the_store_does_not_stand_up() {
    let mut election = Election::new(LEASE);
    let record = led_by("a", 1, 1);
    hear(&mut election, at(0), &record);
    handle(&mut election, at(1000), Event::Deaf);
    assert_eq!(election.next_wakeup(), None);
    assert_eq!(handle(&mut election, at(60_000), Event::Tick), []);
    // Hearing again, it gives the leader what was left of the lease; it watches it already.
    assert_eq!(hear(&mut election, at(70_000), &record), []);
    assert_eq!(handle(&mut election, at(73_999), Event::Tick), []);
    assert_eq!(handle(&mut election, at(74_000), Event::Tick).len(), 1);
}

#[test]
fn after_an_absence_of_the_store_a_leader_has_time_for_a_sign_of_life() {
    let mut election = Election::new(LEASE);
    let record = led_by("a", 1, 1);
    hear(&mut election, at(0), &record);
    handle(&mut election, at(4900), Event::Deaf);
    handle(&mut election, at(5500), Event::Deaf);
    hear(&mut election, at(6000), &record);
    assert_eq!(election.next_wakeup(), Some(at(8500)));
    hear(&mut election, at(8000), &led_by("a", 1, 2));
    assert_eq!(election.next_wakeup(), Some(at(13_000)));
}

#[test]
fn a_leader_that_went_while_nothing_was_heard_is_followed_when_the_store_is_back() {
    let mut election = Election::new(LEASE);
    let record = led_by("a", 1, 1);
    hear(&mut election, at(0), &record);
    handle(&mut election, at(1), Event::Deaf);
    assert_eq!(handle(&mut election, at(2), Event::LeaderGone { term: Term(1) }), []);
    assert_eq!(
        hear(&mut election, at(1000), &record),
        [Effect::StandUp { seen: Some(record), gone: true, above: Term(1) }]
    );
}

#[test]
fn an_attempt_that_the_store_did_not_answer_is_made_again_soon() {
    let mut election = Election::new(LEASE);
    let record = led_by("a", 1, 1);
    let stands_up = |gone| Effect::StandUp { seen: Some(record.clone()), gone, above: Term(1) };
    hear(&mut election, at(0), &record);
    assert_eq!(handle(&mut election, at(5000), Event::Tick), [stands_up(false)]);
    handle(&mut election, at(7000), Event::Failed);
    assert_eq!(handle(&mut election, at(7249), Event::Tick), []);
    assert_eq!(handle(&mut election, at(7250), Event::Tick), [stands_up(false)]);
    // That its process is gone is learned once, and not forgotten with the attempt.
    assert_eq!(handle(&mut election, at(7300), Event::LeaderGone { term: Term(1) }), []);
    handle(&mut election, at(7400), Event::Failed);
    assert_eq!(handle(&mut election, at(7650), Event::Tick), [stands_up(true)]);
    // Another leader has its whole lease, also when it was heard of during an attempt.
    hear(&mut election, at(7700), &led_by("b", 2, 2));
    handle(&mut election, at(7800), Event::Failed);
    assert_eq!(election.next_wakeup(), Some(at(12_700)));
}

#[test]
fn who_won_and_does_not_hear_it_follows_the_store_anew() {
    let mut election = Election::new(LEASE);
    handle(&mut election, at(0), Event::Heard(None));
    assert_eq!(handle(&mut election, at(1), Event::Won { term: Term(1) }), []);
    assert_eq!(handle(&mut election, at(5000), Event::Tick), []);
    assert_eq!(handle(&mut election, at(5001), Event::Tick), [Effect::Listen]);
    assert_eq!(handle(&mut election, at(10_000), Event::Tick), []);
    assert_eq!(handle(&mut election, at(10_001), Event::Tick), [Effect::Listen]);
    let own = led_by("me", 1, 1);
    assert_eq!(hear(&mut election, at(10_002), &own), [Effect::Lead { term: Term(1) }]);
}

#[test]
fn who_won_in_a_store_that_was_emptied_begins_anew() {
    for told in [Event::Tick, Event::Deaf] {
        let mut election = Election::new(LEASE);
        hear(&mut election, at(0), &led_by("a", 6, 1));
        handle(&mut election, at(1), Event::LeaderGone { term: Term(6) });
        handle(&mut election, at(2), Event::Won { term: Term(7) });
        // It may have been told before that term was won.
        assert_eq!(handle(&mut election, at(3), Event::Heard(None)), []);
        handle(&mut election, at(5002), told);
        assert_eq!(
            handle(&mut election, at(5003), Event::Heard(None)),
            [
                Effect::Forgotten { term: Term(7) },
                Effect::StandUp { seen: None, gone: true, above: Term(7) },
            ]
        );
    }
}

#[test]
fn who_won_in_a_store_that_was_set_back_stands_by_who_leads_there_now() {
    let mut election = Election::new(LEASE);
    hear(&mut election, at(0), &led_by("a", 6, 1));
    handle(&mut election, at(1), Event::LeaderGone { term: Term(6) });
    handle(&mut election, at(2), Event::Won { term: Term(7) });
    let other = led_by("b", 6, 3);
    assert_eq!(hear(&mut election, at(3), &other), []);
    assert_eq!(handle(&mut election, at(5002), Event::Tick), [Effect::Listen]);
    let forgotten = Effect::Forgotten { term: Term(7) };
    assert_eq!(hear(&mut election, at(5003), &other), [forgotten, watch(&other)]);
    assert_eq!(handle(&mut election, at(10_002), Event::Tick), []);
    assert_eq!(
        handle(&mut election, at(10_003), Event::Tick),
        [Effect::StandUp { seen: Some(other), gone: false, above: Term(7) }]
    );
}

#[test]
fn who_lost_to_a_record_that_is_never_told_follows_the_store_anew() {
    let mut election = Election::new(LEASE);
    hear(&mut election, at(0), &led_by("a", 1, 1));
    handle(&mut election, at(5000), Event::Tick);
    handle(&mut election, at(5001), Event::Lost);
    assert_eq!(handle(&mut election, at(10_001), Event::Tick), [Effect::Listen]);
    let other = led_by("b", 2, 2);
    assert_eq!(hear(&mut election, at(10_100), &other), [watch(&other)]);
    assert_eq!(
        handle(&mut election, at(15_100), Event::Tick),
        [Effect::StandUp { seen: Some(other), gone: false, above: Term(2) }]
    );
}

#[test]
fn in_an_empty_store_that_fails_a_standby_tries_again() {
    let mut election = Election::new(LEASE);
    handle(&mut election, at(0), Event::Heard(None));
    handle(&mut election, at(100), Event::Failed);
    assert_eq!(election.next_wakeup(), Some(at(350)));
    assert_eq!(
        handle(&mut election, at(350), Event::Tick),
        [Effect::StandUp { seen: None, gone: true, above: Term(0) }]
    );
}

#[test]
fn who_won_leads_once_it_has_heard_its_own_term() {
    let mut election = Election::new(LEASE);
    let former = led_by("a", 1, 1);
    hear(&mut election, at(0), &former);
    handle(&mut election, at(1), Event::LeaderGone { term: Term(1) });
    assert_eq!(handle(&mut election, at(2), Event::Won { term: Term(2) }), []);
    // The former leader's last commit is told late: it is no reason to watch or to lead.
    let last = led_by("a", 1, 2);
    assert_eq!(hear(&mut election, at(3), &last), []);
    let own = led_by("me", 2, 3);
    assert_eq!(hear(&mut election, at(4), &own), [Effect::Lead { term: Term(2) }]);
}

#[test]
fn who_won_and_has_heard_it_before_leads_at_once() {
    let mut election = Election::new(LEASE);
    handle(&mut election, at(0), Event::Heard(None));
    let own = led_by("me", 1, 1);
    hear(&mut election, at(1), &own);
    let effects = handle(&mut election, at(2), Event::Won { term: Term(1) });
    assert_eq!(effects, [Effect::Lead { term: Term(1) }]);
}

#[test]
fn who_won_and_was_overtaken_before_it_led_stands_by_again() {
    let mut election = Election::new(LEASE);
    handle(&mut election, at(0), Event::Heard(None));
    handle(&mut election, at(1), Event::Won { term: Term(1) });
    let other = led_by("b", 2, 2);
    assert_eq!(hear(&mut election, at(2), &other), [watch(&other)]);
    let effects = handle(&mut election, at(3), Event::LeaderGone { term: Term(2) });
    assert_eq!(effects, [Effect::StandUp { seen: Some(other), gone: true, above: Term(2) }]);
}

#[test]
fn in_a_store_that_was_emptied_a_standby_stands_up_above_every_term_that_it_knew() {
    let mut election = Election::new(LEASE);
    // A leader of this term lives, and finds out with its next write only.
    hear(&mut election, at(0), &led_by("a", 1, 1));
    assert_eq!(
        handle(&mut election, at(1), Event::Heard(None)),
        [
            Effect::SetBack { known: Term(1), current: None },
            Effect::StandUp { seen: None, gone: true, above: Term(1) }
        ]
    );
    // What the servers did not take is tried again, and said once.
    handle(&mut election, at(2), Event::Failed);
    assert_eq!(
        handle(&mut election, at(252), Event::Tick),
        [Effect::StandUp { seen: None, gone: true, above: Term(1) }]
    );
    handle(&mut election, at(253), Event::Won { term: Term(2) });
    let own = led_by("me", 2, 1);
    assert_eq!(hear(&mut election, at(254), &own), [Effect::Lead { term: Term(2) }]);
}

#[test]
fn a_store_that_was_set_back_is_told_once_and_its_leader_followed_by_a_term_above_all() {
    let mut election = Election::new(LEASE);
    hear(&mut election, at(0), &led_by("a", 7, 9));
    let older = led_by("b", 3, 1);
    let told = Effect::SetBack { known: Term(7), current: Some(Term(3)) };
    assert_eq!(hear(&mut election, at(1), &older), [told, watch(&older)]);
    let renewed = led_by("b", 3, 2);
    assert_eq!(hear(&mut election, at(2), &renewed), []);
    assert_eq!(
        handle(&mut election, at(3), Event::LeaderGone { term: Term(3) }),
        [Effect::StandUp { seen: Some(renewed), gone: true, above: Term(7) }]
    );
    handle(&mut election, at(4), Event::Lost);
    let later = led_by("c", 8, 3);
    assert_eq!(hear(&mut election, at(5), &later), [watch(&later)]);
    // Again it is another store.
    assert!(matches!(hear(&mut election, at(6), &older)[0], Effect::SetBack { .. }));
}

#[test]
fn a_term_that_was_won_and_never_heard_is_known() {
    let mut election = Election::new(LEASE);
    handle(&mut election, at(0), Event::Heard(None));
    handle(&mut election, at(1), Event::Won { term: Term(5) });
    let other = led_by("b", 6, 2);
    hear(&mut election, at(2), &other);
    let effects = handle(&mut election, at(3), Event::Heard(None));
    assert_eq!(effects[1], Effect::StandUp { seen: None, gone: true, above: Term(6) });
}
