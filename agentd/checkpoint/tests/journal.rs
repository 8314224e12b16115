//! The journal keeps what it acknowledged, whatever happens to the file.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;
use tepui_agent::{ContainerLaunch, Exit, Record, Verdict};
use tepui_checkpoint::{Journal, JournalError, frame};
use tepui_types::{
    AgentId, BootId, ContainerId, ExecutorId, FrameworkId, Role, TaskId, TaskState, Term, Uuid,
    Wall,
};
use tepui_wire::v1::{self, task_status::Reason};

fn framework() -> FrameworkId {
    FrameworkId::parse("f-0001").unwrap()
}

fn task(number: u64) -> TaskId {
    TaskId::parse(&format!("task-{number}")).unwrap()
}

fn run() -> ContainerId {
    ContainerId::parse("run-1").unwrap()
}

fn exited(exit: Exit) -> Record {
    Record::Exited { run: run(), exit, at: Wall::from_nanos(9) }
}

fn asked() -> ContainerLaunch {
    let value = Some("sleep 1".into());
    ContainerLaunch {
        container: run(),
        command: v1::CommandInfo { value, ..v1::CommandInfo::default() },
        info: Some(v1::ContainerInfo::default()),
        resources: vec![v1::Resource { name: "mem".into(), ..v1::Resource::default() }],
        limits: [("mem".to_owned(), v1::value::Scalar { value: 48.0 })].into(),
    }
}

/// One record of every kind.
fn every_kind() -> Vec<Record> {
    let (framework, task) = (framework(), task(1));
    let executor = ExecutorId::parse("e").unwrap();
    let key = || (framework.clone(), task.clone());
    vec![
        Record::Identity {
            agent: AgentId::parse("agent-S0").unwrap(),
            info: Box::new(v1::AgentInfo { hostname: "host".into(), ..v1::AgentInfo::default() }),
        },
        Record::Boot(BootId::parse("boot-1").unwrap()),
        Record::Term(Term(7)),
        Record::Framework(Box::new(v1::FrameworkInfo {
            user: "root".into(),
            name: "f".into(),
            ..v1::FrameworkInfo::default()
        })),
        Record::Executor {
            framework: framework.clone(),
            executor: executor.clone(),
            info: Some(Box::default()),
            run: run(),
            sandbox: "slaves/a".into(),
            created: Wall::from_nanos(5),
        },
        Record::Ownerless { run: run(), sandbox: "slaves/b".into(), leftover: None, is_pod: true },
        Record::Ownerless {
            run: run(),
            sandbox: "slaves/b".into(),
            leftover: Some(tepui_link::Leftover {
                framework: FrameworkId::parse("f").unwrap(),
                resources: vec![v1::Resource { name: "cpus".into(), ..v1::Resource::default() }],
            }),
            is_pod: false,
        },
        Record::TaskRun {
            framework: framework.clone(),
            executor: executor.clone(),
            task: TaskId::parse("t").unwrap(),
            run: run(),
            sandbox: "slaves/a/containers/b".into(),
        },
        Record::Task {
            framework: framework.clone(),
            executor: executor.clone(),
            role: Role::parse("prod/web").unwrap(),
            task: Box::new(v1::TaskInfo { name: "t".into(), ..v1::TaskInfo::default() }),
            grouped: true,
        },
        Record::Refused {
            framework: framework.clone(),
            executor: executor.clone(),
            role: Role::default_role(),
            task: Box::default(),
        },
        Record::Group { framework: framework.clone(), executor, tasks: vec![task.clone()] },
        Record::Starting { run: run() },
        Record::Delivered { framework: key().0, task: key().1 },
        Record::KillAsked { framework: key().0, task: key().1 },
        Record::Ended { framework: key().0, task: key().1 },
        Record::RunningSince { framework: key().0, task: key().1, since: Wall::from_nanos(4) },
        Record::Update { framework: key().0, status: Box::default() },
        Record::Acknowledged {
            framework: key().0,
            task: key().1,
            update: Uuid::from_bytes([3; 16]),
        },
        exited(Exit::Code(0)),
        exited(Exit::Signal(9)),
        exited(Exit::Unknown("lost".into())),
        Record::Asked { launch: Box::new(asked()), sandbox: "containers/run-1".into() },
        Record::Verdict {
            run: run(),
            verdict: Box::new(Verdict {
                state: TaskState::Failed,
                reason: Reason::ContainerLimitationMemory,
                message: "Memory limit exceeded".into(),
                limitation: Some(v1::TaskResourceLimitation::default()),
            }),
        },
        Record::SandboxRemoved { run: run() },
        Record::FrameworkGone(framework.clone()),
        Record::IdentityGone,
    ]
}

fn reopened(directory: &Path) -> Vec<Record> {
    Journal::open(directory).unwrap().1
}

#[test]
fn every_kind_of_record_comes_back_in_order() {
    let directory = TempDir::new().unwrap();
    let records = every_kind();
    let (mut journal, before) = Journal::open(directory.path()).unwrap();
    assert_eq!(before, []);
    journal.append(&records[..3]).unwrap();
    journal.append(&[]).unwrap();
    journal.append(&records[3..]).unwrap();
    drop(journal);
    assert_eq!(reopened(directory.path()), records);
}

#[test]
fn appending_goes_on_after_a_restart_and_after_a_compaction() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = Journal::open(directory.path()).unwrap();
    journal.append(&every_kind()).unwrap();
    drop(journal);
    let (mut journal, _) = Journal::open(directory.path()).unwrap();
    journal.compact(&[Record::Term(Term(1)), Record::IdentityGone]).unwrap();
    journal.append(&[Record::Term(Term(2))]).unwrap();
    drop(journal);
    let (mut journal, records) = Journal::open(directory.path()).unwrap();
    let expected = [Record::Term(Term(1)), Record::IdentityGone, Record::Term(Term(2))];
    assert_eq!(records, expected);
    journal.append(&[Record::Term(Term(3))]).unwrap();
    drop(journal);
    assert_eq!(reopened(directory.path()).len(), 4);
}

#[test]
fn a_journal_asks_for_compaction_once_it_has_grown_much() {
    let directory = TempDir::new().unwrap();
    let (mut journal, _) = Journal::open(directory.path()).unwrap();
    let big = Record::Update {
        framework: framework(),
        status: Box::new(v1::TaskStatus {
            data: Some(vec![7; 1 << 20]),
            ..v1::TaskStatus::default()
        }),
    };
    for _ in 0..3 {
        journal.append(std::slice::from_ref(&big)).unwrap();
    }
    assert!(!journal.wants_compaction());
    for _ in 0..3 {
        journal.append(std::slice::from_ref(&big)).unwrap();
    }
    assert!(journal.wants_compaction());
    journal.compact(&[big]).unwrap();
    assert!(!journal.wants_compaction());
}

#[test]
fn a_second_daemon_is_refused_and_told_why() {
    let directory = TempDir::new().unwrap();
    let (first, _) = Journal::open(directory.path()).unwrap();
    let error = Journal::open(directory.path()).unwrap_err();
    assert!(matches!(error, JournalError::Locked(_)));
    assert!(
        error
            .to_string()
            .ends_with("is in use by another agent; every agent needs a work directory of its own")
    );
    drop(first);
    Journal::open(directory.path()).unwrap();
}

#[test]
fn only_the_daemons_user_can_look_inside() {
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("a/meta");
    let (_journal, _) = Journal::open(&directory).unwrap();
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    let file = fs::metadata(directory.join("journal")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
}

/// A journal of three frames, and where each frame ends.
/// Records of a frame, so that all kinds fill three.
const FRAME: usize = 9;

fn three_frames(directory: &Path) -> (Vec<u8>, Vec<usize>) {
    let (mut journal, _) = Journal::open(directory).unwrap();
    let mut ends = vec![usize::try_from(journal.length_bytes()).unwrap()];
    for batch in every_kind().chunks(FRAME) {
        journal.append(batch).unwrap();
        ends.push(usize::try_from(journal.length_bytes()).unwrap());
    }
    (fs::read(directory.join("journal")).unwrap(), ends)
}

#[test]
fn a_file_cut_anywhere_gives_exactly_the_whole_frames_before_the_cut() {
    let directory = TempDir::new().unwrap();
    let (bytes, ends) = three_frames(directory.path());
    let path = directory.path().join("journal");
    for cut in 0..=bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        let Some(whole) = ends.iter().rposition(|end| *end <= cut) else {
            let error = Journal::open(directory.path()).unwrap_err();
            assert!(matches!(error, JournalError::NotAJournal { .. }), "cut at {cut}");
            continue;
        };
        let (mut journal, records) = Journal::open(directory.path()).unwrap();
        assert_eq!(
            records,
            every_kind()[..(whole * FRAME).min(every_kind().len())],
            "cut at {cut}"
        );
        journal.append(&[Record::IdentityGone]).unwrap();
        drop(journal);
        assert_eq!(reopened(directory.path()).last(), Some(&Record::IdentityGone));
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let directory = TempDir::new().unwrap();
    let (bytes, ends) = three_frames(directory.path());
    let path = directory.path().join("journal");
    for place in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << bit;
            fs::write(&path, &damaged).unwrap();
            match Journal::open(directory.path()).unwrap_err() {
                JournalError::NotAJournal { .. } => assert!(place < frame::FILE_HEADER),
                JournalError::Damaged { offset, .. } => {
                    let frame = ends.iter().rev().find(|end| **end <= place).unwrap();
                    assert_eq!(offset, *frame as u64, "byte {place}");
                }
                other => panic!("byte {place}: {other}"),
            }
        }
    }
}

#[test]
fn a_missing_or_doubled_frame_is_noticed() {
    let directory = TempDir::new().unwrap();
    let (bytes, ends) = three_frames(directory.path());
    let path = directory.path().join("journal");
    let missing = [&bytes[..ends[1]], &bytes[ends[2]..]].concat();
    let doubled = [&bytes[..ends[2]], &bytes[ends[1]..]].concat();
    for damaged in [missing, doubled] {
        fs::write(&path, damaged).unwrap();
        let error = Journal::open(directory.path()).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
    }
}

#[test]
fn a_tail_of_zeros_was_never_acknowledged() {
    let directory = TempDir::new().unwrap();
    let (mut bytes, _) = three_frames(directory.path());
    bytes.extend_from_slice(&[0; 100]);
    fs::write(directory.path().join("journal"), bytes).unwrap();
    assert_eq!(reopened(directory.path()), every_kind());
}

#[test]
fn the_rest_of_an_interrupted_compaction_is_swept_away() {
    let directory = TempDir::new().unwrap();
    three_frames(directory.path());
    fs::write(directory.path().join("journal.new"), b"half").unwrap();
    assert_eq!(reopened(directory.path()), every_kind());
    assert!(!directory.path().join("journal.new").exists());
}

#[test]
fn a_record_of_a_newer_version_is_refused_by_its_place() {
    let directory = TempDir::new().unwrap();
    let (mut bytes, ends) = three_frames(directory.path());
    // Field 1 of a batch: a record with the unknown field 100.
    frame::write_frame(&mut bytes, 3, |out| out.extend_from_slice(&[10, 3, 0xa0, 6, 1])).unwrap();
    fs::write(directory.path().join("journal"), bytes).unwrap();
    let error = Journal::open(directory.path()).unwrap_err();
    assert!(matches!(error, JournalError::Content { offset, .. } if offset == ends[3] as u64));
}
