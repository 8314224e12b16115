//! Recordings, what is read out of them, and what other allocators make of it.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use tepui_allocator::{Allocate, Drf, Input, Plan, Proposal};
use tepui_plugin_sdk::conformance::words::*;
use tepui_replay::{
    BadRecording, Comparison, Demand, Recording, Shadow, Step, What, as_recorded, decode,
    encode_step, header, play,
};
use tepui_types::{Entropy, Mono, Resources, Span};

fn drf() -> Drf {
    Drf::new(Entropy::seeded(1))
}

/// A cluster in charge of DRF, recorded.
struct Recorded {
    allocator: Drf,
    now: Mono,
    steps: Vec<Step>,
}

impl Recorded {
    fn new() -> Self {
        Self { allocator: drf(), now: secs(1), steps: Vec::new() }
    }

    fn at(&mut self, second: u64) -> &mut Self {
        self.now = secs(second);
        self
    }

    fn tell(&mut self, inputs: impl IntoIterator<Item = Input>) -> &mut Self {
        let inputs: Vec<Input> = inputs.into_iter().collect();
        for input in &inputs {
            self.allocator.apply(self.now, input.clone());
        }
        self.steps.push(Step { at: self.now, what: What::Told(inputs) });
        self
    }

    fn round(&mut self) -> Vec<Proposal> {
        let plan = self.allocator.round(self.now);
        self.steps.push(Step { at: self.now, what: What::Planned(plan.clone()) });
        plan.proposals
    }

    /// A framework uses part of an offer, and refuses the rest for an hour.
    fn uses(&mut self, one: &Proposal, used: Resources) {
        let Proposal { framework, role, agent, resources, .. } = one.clone();
        let (offered, rest) = (resources.clone(), resources.minus(&used));
        let ended = Input::OfferEnded {
            framework: framework.clone(),
            role: role.clone(),
            agent: agent.clone(),
            offered,
            used,
        };
        self.tell([ended]);
        if !rest.is_empty() {
            let refusal = refusal(3600);
            self.tell([Input::Released { framework, role, agent, resources: rest, refusal }]);
        }
    }

    fn ends(&mut self, one: &Proposal, resources: Resources) {
        let Proposal { framework, role, agent, .. } = one.clone();
        self.tell([Input::Released { framework, role, agent, resources, refusal: None }]);
    }

    fn recording(&self) -> Recording {
        Recording { steps: self.steps.clone(), cut_short: false }
    }
}

/// Two agents with 4 cpus. `early` runs 2 cpus from second 1 to 61; it has nothing more to do.
/// `late` revives at second 10, and gets what it wants when an offer comes.
fn a_minute() -> Recorded {
    let mut cluster = Recorded::new();
    cluster.tell([added("a1", cpus(4)), added("a2", cpus(4)), comes("early", &["*"])]);
    let offers = cluster.round();
    cluster.uses(&offers[0], cpus(2));
    cluster.tell(given_back(&offers[1], refusal(3600)));
    cluster.at(2).tell([Input::Suppressed { framework: framework("early"), roles: [].into() }]);
    cluster.at(10).tell([comes("late", &["*"])]);
    let late = cluster.round();
    cluster.at(12).uses(&late[0], late[0].resources.clone());
    cluster.at(42).ends(&late[0], late[0].resources.clone());
    cluster.at(61).ends(&offers[0], cpus(2));
    cluster
}

#[test]
fn what_was_wanted_is_read_out_of_offers_and_answers() {
    let demand = Demand::of(&a_minute().recording());
    let items: Vec<_> = demand.items.iter().map(|one| (one.client.0.as_str(), one)).collect();
    let [("early", early), ("late", late)] = items[..] else { panic!("{items:?}") };
    assert_eq!((early.wanted, early.placed), (secs(1), secs(1)));
    assert_eq!(early.length, Some(Span::from_secs(60)));
    assert_eq!((late.wanted, late.placed), (secs(10), secs(12)), "wanted since it came");
    assert_eq!(late.length, Some(Span::from_secs(30)));
    assert!(demand.habits[&early.client].suppresses && !demand.habits.contains_key(&late.client));
    assert_eq!((demand.offers, demand.declined), (3, 1));
}

#[test]
fn a_declined_offer_says_that_nothing_was_wanted_then() {
    let mut cluster = Recorded::new();
    cluster.tell([added("a1", cpus(4)), comes("f", &["*"])]);
    let offer = cluster.round().remove(0);
    cluster.at(20).tell(given_back(&offer, refusal(5)));
    assert!(cluster.round().is_empty(), "nobody else takes it");
    cluster.at(30);
    let offer = cluster.round().remove(0);
    cluster.at(31).uses(&offer, cpus(1));
    let demand = Demand::of(&cluster.recording());
    assert_eq!(demand.items[0].wanted, secs(20), "not while it declined enough for it");
    assert_eq!(demand.items[0].length, None, "it still runs");
}

#[test]
fn an_allocator_gets_the_same_demand_and_is_measured() {
    let demand = Demand::of(&a_minute().recording());
    let recorded = as_recorded(&demand);
    let again = play(&demand, "drf", &mut drf());
    assert_eq!((recorded.placed, recorded.unplaced), (2, 0));
    assert_eq!(recorded.wait_max, Span::from_secs(2));
    assert_eq!((again.placed, again.unplaced, again.misfits), (2, 0, 0));
    assert!(again.wait_max < Span::from_millis(100), "nobody dawdles in a replay: {again:?}");
    assert!((again.cpus - recorded.cpus).abs() < 0.05, "{} {}", again.cpus, recorded.cpus);
    assert_eq!(play(&demand, "drf", &mut drf()), again, "the same replay twice is the same");
    let table = Comparison { columns: vec![recorded, again] }.to_string();
    assert!(table.lines().next().unwrap().contains("as recorded"), "{table}");
    assert!(table.contains("wait, p99"), "{table}");
}

#[test]
fn what_runs_when_a_recording_begins_stays_until_it_ended_then() {
    let mut cluster = Recorded::new();
    let used = vec![(framework("old"), role("*"), cpus(3))];
    let agent_added = Input::AgentAdded { agent: agent("a1"), facts: facts(cpus(4)), used };
    cluster.tell([agent_added, comes("f", &["*"])]);
    let offer = cluster.round().remove(0);
    cluster.uses(&offer, cpus(1));
    cluster.at(11).tell([Input::Released {
        framework: framework("old"),
        role: role("*"),
        agent: agent("a1"),
        resources: cpus(3),
        refusal: None,
    }]);
    cluster.at(21).tell([Input::Minimum(Default::default())]);
    let demand = Demand::of(&cluster.recording());
    let outcome = play(&demand, "drf", &mut drf());
    assert_eq!(outcome.placed, 1, "the old one is not placed again");
    assert!((outcome.cpus - 0.625).abs() < 0.01, "4 cpus for 10 s, then 1: {}", outcome.cpus);
}

#[test]
fn a_shadow_of_the_same_allocator_decides_the_same() {
    let cluster = a_minute();
    let mut shadow = Shadow::new(drf());
    follow(&mut shadow, &cluster);
    let tally = shadow.tally();
    assert_eq!((tally.rounds, tally.same_rounds), (2, 2));
    assert_eq!((tally.only_live, tally.only_candidate), (0, 0));
}

fn follow<A: Allocate>(shadow: &mut Shadow<A>, cluster: &Recorded) {
    for step in &cluster.steps {
        match &step.what {
            What::Told(inputs) => shadow.told(step.at, inputs),
            What::Planned(live) => {
                let plan = shadow.round(step.at);
                shadow.compare(step.at, live, &plan);
            }
        }
    }
}

/// Proposes nothing, whatever happens; counts what it is told to book.
#[derive(Default)]
struct Idle {
    booked: usize,
}

impl Allocate for Idle {
    fn apply(&mut self, _: Mono, input: Input) {
        self.booked += usize::from(matches!(input, Input::Offered { .. }));
    }
    fn is_dirty(&self) -> bool {
        false
    }
    fn next_wakeup(&self) -> Option<Mono> {
        None
    }
    fn round(&mut self, _: Mono) -> Plan {
        Plan::default()
    }
    fn explain(&self, _: Mono, _: &tepui_types::FrameworkId) -> Vec<tepui_allocator::Reason> {
        Vec::new()
    }
    fn refusals(&self, _: Mono) -> std::collections::BTreeMap<tepui_types::Role, u64> {
        Default::default()
    }
}

#[test]
fn a_shadow_that_decides_otherwise_is_told_what_was_decided() {
    let mut shadow = Shadow::new(Idle::default());
    follow(&mut shadow, &a_minute());
    let tally = shadow.tally();
    assert_eq!((tally.same_rounds, tally.only_live), (0, 4));
    assert_eq!(tally.recent[0].candidate, []);
    assert_eq!(tally.recent.iter().map(|one| one.live.len()).sum::<usize>(), 4);
}

fn bytes(recording: &Recording) -> Vec<u8> {
    let frames = recording.steps.iter().flat_map(|step| encode_step(step).unwrap());
    header().into_iter().chain(frames).collect()
}

#[test]
fn a_recording_is_read_as_it_was_written_also_when_its_end_is_missing() {
    let recording = a_minute().recording();
    let whole = bytes(&recording);
    assert_eq!(decode(&whole).unwrap(), recording);
    let cut = decode(&whole[..whole.len() - 3]).unwrap();
    assert!(cut.cut_short);
    assert_eq!(cut.steps[..], recording.steps[..recording.steps.len() - 1]);
}

#[test]
fn what_is_no_recording_is_refused_by_what_is_wrong() {
    assert_eq!(decode(b"MZ").unwrap_err(), BadRecording::NotOne);
    let mut newer = header();
    newer[12] = 9;
    assert_eq!(
        decode(&newer).unwrap_err().to_string(),
        "the recording has format 9, this program reads format 1"
    );
    let frame = |length: u32, kind: u8, at: u64| {
        let mut bytes = header();
        bytes.extend(length.to_le_bytes());
        bytes.push(kind);
        bytes.extend(at.to_le_bytes());
        bytes
    };
    let error = decode(&frame(u32::MAX, 1, 0)).unwrap_err();
    assert!(matches!(error, BadRecording::TooLarge { at: 16, .. }), "{error}");
    let error = decode(&frame(0, 7, 0)).unwrap_err().to_string();
    assert!(error.contains("kind 7 is not known"), "{error}");
    let mut backwards = frame(0, 1, 5);
    backwards.extend(&frame(0, 1, 4)[16..]);
    assert!(matches!(decode(&backwards), Err(BadRecording::Backwards { .. })));
    let mut endless = frame(0, 1, 5);
    endless.extend(&frame(0, 1, u64::MAX)[16..]);
    assert!(matches!(decode(&endless), Err(BadRecording::TooLong { .. })));
}

proptest! {
    #[test]
    fn no_bytes_end_the_process(tail in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = header();
        bytes.extend(tail);
        let _ = decode(&bytes);
    }

    #[test]
    fn a_recording_with_a_broken_byte_is_read_or_refused_and_played(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = bytes(&a_minute().recording());
        let at = at.index(bytes.len());
        bytes[at] = to;
        let short = |one: &Recording| one.steps.last().is_none_or(|last| last.at < secs(3600));
        if let Some(recording) = decode(&bytes).ok().filter(short) {
            let demand = Demand::of(&recording);
            play(&demand, "drf", &mut drf());
            let _ = as_recorded(&demand);
        }
    }
}
