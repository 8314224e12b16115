//! The journal keeps what it acknowledged, whatever happens to the process. Alone in its file:
//! a forked child holds the parent's locks until it executes the helper.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tepui_agent::Record;
use tepui_checkpoint::Journal;
use tepui_types::Term;

const HELPER: &str = "TEPUI_CHECKPOINT_TEST_DIRECTORY";

/// The body of a helper process, and nothing when it is not one: appends for ever, saying each
/// number after it is durable.
#[test]
fn a_helper_process_appends_until_it_is_killed() {
    let Some(directory) = std::env::var_os(HELPER) else { return };
    let (mut journal, records) = Journal::open(Path::new(&directory)).unwrap();
    let mut number = records.len() as u64;
    loop {
        let batch = [Record::Term(Term(number)), Record::Term(Term(number + 1))];
        journal.append(&batch).unwrap();
        number += 2;
        println!("durable {number}");
        if number.is_multiple_of(14) {
            let all: Vec<_> = (0..number).map(|number| Record::Term(Term(number))).collect();
            journal.compact(&all).unwrap();
        }
    }
}

#[test]
fn a_process_killed_in_the_middle_of_appending_loses_nothing_acknowledged() {
    let directory = TempDir::new().unwrap();
    for round in 0..20 {
        let mut helper = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_helper_process_appends_until_it_is_killed", "--nocapture"])
            .env(HELPER, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(helper.stdout.take().unwrap()).lines();
        let mut said = output
            .by_ref()
            .map_while(Result::ok)
            .filter_map(|line| line.split_once("durable ").map(|(_, number)| number.to_owned()));
        let mut last: u64 = said.by_ref().nth(round * 3).unwrap().parse().unwrap();
        helper.kill().unwrap();
        helper.wait().unwrap();
        if let Some(number) = said.last() {
            last = number.parse().unwrap_or(last);
        }
        let (_, records) = Journal::open(directory.path()).unwrap();
        assert!(records.len() as u64 >= last, "round {round}");
        assert!(records.len().is_multiple_of(2), "a batch is there entirely or not at all");
        let expected: Vec<_> =
            (0..records.len() as u64).map(|number| Record::Term(Term(number))).collect();
        assert_eq!(records, expected);
    }
}
