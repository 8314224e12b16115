//! A full disk stops the journal and damages nothing. Needs a small file system of its own, hence
//! a mount namespace; where none can be made the test says so and ends.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tepui_agent::Record;
use tepui_checkpoint::{Journal, JournalError};
use tepui_types::Term;

const HELPER: &str = "TEPUI_CHECKPOINT_TEST_SMALL_DISK";

/// The body of the process that sees the small disk, and nothing in any other.
#[test]
fn a_helper_process_fills_its_small_disk() {
    let Some(disk) = std::env::var_os(HELPER) else { return };
    let disk = Path::new(&disk);
    let directory = disk.join("meta");
    let (mut journal, _) = Journal::open(&directory).unwrap();
    journal.append(&[Record::Term(Term(0))]).unwrap();
    let mut filler = File::create(disk.join("filler")).unwrap();
    while filler.write_all(&[1; 4096]).is_ok() {}
    let batch: Vec<_> = (1..2000).map(|number| Record::Term(Term(number))).collect();
    for _ in 0..2 {
        let error = journal.append(&batch).unwrap_err();
        assert!(matches!(error, JournalError::Full { .. }), "{error}");
        assert!(error.is_harmless());
        let error = journal.compact(&batch).unwrap_err();
        assert!(matches!(error, JournalError::Full { .. }), "{error}");
    }
    drop(filler);
    fs::remove_file(disk.join("filler")).unwrap();
    journal.append(&batch).unwrap();
    drop(journal);
    let (_, records) = Journal::open(&directory).unwrap();
    let expected: Vec<_> = (0..2000).map(|number| Record::Term(Term(number))).collect();
    assert_eq!(records, expected);
}

#[test]
fn a_full_disk_refuses_a_batch_and_takes_it_once_there_is_room() {
    let disk = TempDir::new().unwrap();
    let script = "mount -t tmpfs -o size=128k tmpfs \"$1\" || exit 77; \
                  exec \"$2\" --exact a_helper_process_fills_its_small_disk --nocapture";
    let outcome = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(disk.path())
        .arg(std::env::current_exe().unwrap())
        .env(HELPER, disk.path())
        .output();
    let output = match outcome {
        Ok(output) => output,
        Err(error) => return println!("skipped: no unshare here: {error}"),
    };
    let text = String::from_utf8_lossy(&output.stderr);
    if text.starts_with("unshare:") || output.status.code() == Some(77) {
        return println!("skipped: no mount namespace here: {text}");
    }
    assert!(output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stdout));
}
