use super::*;

fn candidate(name: &str) -> Candidate {
    Candidate {
        id: name.into(),
        hostname: name.into(),
        mesos: format!("{name}:5050"),
        marathon: format!("{name}:8080"),
        agents: format!("{name}:5052"),
    }
}

#[test]
fn the_outcome_names_who_ended_and_who_leads() {
    let outcome = Outcome {
        killed: candidate("a"),
        killed_term: 7,
        leader: Some(candidate("b")),
        leader_term: 8,
        standbys: 2,
        seconds_without_leader: 0.25,
    };
    assert_eq!(
        table(&outcome).render(false),
        "        TERM  CONTROL PLANE  HOST\n\
         killed  7     a:5050         a\n\
         leads   8     b:5050         b\n"
    );
    let unknown = table(&Outcome { leader: None, ..outcome }).render(false);
    assert!(unknown.ends_with("leads   8     -              -\n"), "{unknown}");
}
