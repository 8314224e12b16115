//! Commands that somebody talks to while they run.

use std::time::Duration;

use tepui_launch::session::{Answer, Word};
use tepui_launch::{Ending, Launcher, Program, Session, SessionSpec, Window};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::workbench::{Bench, id, watch};

fn spec(bench: &Bench, line: &str, terminal: Option<Window>) -> SessionSpec {
    SessionSpec {
        network: None,
        session: id("task.session"),
        beside: id("task"),
        sandbox: bench.sandbox("task"),
        program: Program::Shell(line.to_owned()),
        env: Vec::new(),
        user: None,
        rlimits: Vec::new(),
        answers: false,
        terminal,
    }
}

struct Talk {
    session: Session,
    output: String,
    error: String,
    ending: Option<Ending>,
}

impl Talk {
    async fn open(bench: &Bench, line: &str, terminal: Option<Window>) -> Self {
        let session = bench.launcher.open_session(spec(bench, line, terminal)).await.unwrap();
        Self { session, output: String::new(), error: String::new(), ending: None }
    }

    async fn say(&mut self, word: Word) {
        self.session.channel.write_all(&word.encode()).await.unwrap();
    }

    async fn write(&mut self, text: &str) {
        self.say(Word::Input(text.as_bytes().to_vec())).await;
    }

    /// Reads on until what was said satisfies, or the session ends.
    async fn until(&mut self, enough: impl Fn(&Self) -> bool) {
        let reading = async {
            let mut chunk = [0; 4096];
            while !enough(self) && self.ending.is_none() {
                while let Some(packet) = self.session.packets.take().unwrap() {
                    match Answer::decode(packet).unwrap() {
                        Answer::Output(data) => self.output += &String::from_utf8_lossy(&data),
                        Answer::ErrorOutput(data) => self.error += &String::from_utf8_lossy(&data),
                        Answer::Ended(ending) => self.ending = Some(ending),
                        other => panic!("{other:?}"),
                    }
                }
                if enough(self) || self.ending.is_some() {
                    return;
                }
                let length = self.session.channel.read(&mut chunk).await.unwrap();
                assert_ne!(length, 0, "the shim hung up: {} {}", self.output, self.error);
                self.session.packets.push(&chunk[..length]);
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reading).await.expect("an answer in time");
    }

    async fn end(&mut self) -> Ending {
        self.until(|_| false).await;
        self.ending.unwrap()
    }
}

const SMALL: Option<Window> = Some(Window { rows: 24, columns: 80 });

#[tokio::test]
async fn input_reaches_the_command_and_both_its_outputs_come_back_apart() {
    let bench = Bench::new();
    bench.start("task", "sleep 100030").await;
    let mut talk = Talk::open(&bench, "read a; echo got $a; cat >&2; exit 7", None).await;
    talk.write("one\n").await;
    talk.until(|talk| talk.output.contains("got one")).await;
    talk.write("rest").await;
    talk.say(Word::InputEnds).await;
    assert_eq!(talk.end().await, Ending::Exited(7));
    assert_eq!((talk.output.as_str(), talk.error.as_str()), ("got one\n", "rest"));
    bench.launcher.kill_tree(&id("task")).unwrap();
}

#[tokio::test]
async fn a_terminal_echoes_has_a_size_and_sends_the_signal_of_its_keys() {
    let bench = Bench::new();
    bench.start("task", "sleep 100031").await;
    let line = "trap 'echo caught; exit 5' INT; test -t 0 && stty size; \
                trap 'stty size' WINCH; echo ready; while :; do sleep 0.02; done";
    let mut talk = Talk::open(&bench, line, SMALL).await;
    talk.until(|talk| talk.output.contains("ready")).await;
    assert!(talk.output.contains("24 80"), "{}", talk.output);
    talk.say(Word::Resize(Window { rows: 50, columns: 132 })).await;
    talk.until(|talk| talk.output.contains("50 132")).await;
    talk.write("\u{3}").await;
    assert_eq!(talk.end().await, Ending::Exited(5));
    assert!(talk.output.contains("^C") && talk.output.contains("caught"), "{}", talk.output);
    assert_eq!(talk.error, "");
    bench.launcher.kill_tree(&id("task")).unwrap();
}

#[tokio::test]
async fn the_end_of_input_ends_a_shell_on_a_terminal() {
    let bench = Bench::new();
    bench.start("task", "sleep 100032").await;
    let mut talk = Talk::open(&bench, "cat; echo over", SMALL).await;
    talk.write("x\n").await;
    talk.until(|talk| talk.output.matches('x').count() == 2).await;
    talk.say(Word::InputEnds).await;
    assert_eq!(talk.end().await, Ending::Exited(0));
    assert!(talk.output.ends_with("over\r\n"), "{:?}", talk.output);
    bench.launcher.kill_tree(&id("task")).unwrap();
}

#[tokio::test]
async fn a_session_that_nobody_holds_ends_with_all_it_started() {
    let bench = Bench::new();
    bench.start("task", "sleep 100033").await;
    for terminal in [None, SMALL] {
        let line = "setsid sh -c 'trap \"\" TERM HUP; sleep 100034' & echo $$ $!; wait";
        let mut talk = Talk::open(&bench, line, terminal).await;
        talk.until(|talk| talk.output.contains('\n')).await;
        let processes: Vec<_> = talk.output.split_whitespace().map(watch).collect();
        drop(talk);
        processes.into_iter().for_each(|process| process.gone());
    }
    bench.launcher.kill_tree(&id("task")).unwrap();
}

#[tokio::test]
async fn what_a_command_leaves_behind_ends_with_it() {
    let bench = Bench::new();
    bench.start("task", "sleep 100035").await;
    let mut talk = Talk::open(&bench, "sleep 100036 & echo $!", None).await;
    assert_eq!(talk.end().await, Ending::Exited(0));
    assert!(watch_is_gone(talk.output.trim()));
    bench.launcher.kill_tree(&id("task")).unwrap();
}

fn watch_is_gone(pid: &str) -> bool {
    !std::path::Path::new("/proc").join(pid).exists()
}

#[tokio::test]
async fn a_session_dies_with_its_task() {
    let mut bench = Bench::new();
    bench.start("task", "sleep 100037").await;
    let mut talk = Talk::open(&bench, "echo in; sleep 100038", None).await;
    talk.until(|talk| talk.output.contains("in")).await;
    if !matches!(bench.launcher.group_support(), tepui_launch::GroupSupport::Groups(_)) {
        // Without control groups nothing ties the two together: the agent ends the session.
        eprintln!("no control groups here, nothing to see");
        return;
    }
    bench.launcher.kill_tree(&id("task")).unwrap();
    assert_eq!(talk.end().await, Ending::Signaled { signal: 9, core_dumped: false });
    bench.ending().await;
}

#[tokio::test]
async fn a_signal_reaches_the_command() {
    let bench = Bench::new();
    bench.start("task", "sleep 100039").await;
    let mut talk =
        Talk::open(&bench, "trap 'exit 9' USR1; echo on; while :; do sleep 0.02; done", None).await;
    talk.until(|talk| talk.output.contains("on")).await;
    talk.say(Word::Signal(10)).await;
    assert_eq!(talk.end().await, Ending::Exited(9));
    bench.launcher.kill_tree(&id("task")).unwrap();
}

#[tokio::test]
async fn who_does_not_read_makes_the_command_wait_and_nothing_is_lost_or_piled_up() {
    let bench = Bench::new();
    bench.start("task", "sleep 100040").await;
    let mut talk =
        Talk::open(&bench, "head -c 20000000 /dev/zero | tr '\\0' a; exit 4", None).await;
    let pid = rustix::process::Pid::from_raw(talk.session.pid.cast_signed()).unwrap();
    let shim = tepui_launch::procfs::stat(pid).unwrap().parent;
    let shim = rustix::process::Pid::from_raw(shim).unwrap();
    talk.until(|talk| talk.output.len() > 1_000_000).await;
    let resident = tepui_launch::procfs::resident_bytes(shim).unwrap();
    assert!(resident < 8 << 20, "{resident} bytes");
    assert_eq!(talk.end().await, Ending::Exited(4));
    assert_eq!(talk.output.len(), 20_000_000);
    bench.launcher.kill_tree(&id("task")).unwrap();
}

#[tokio::test]
async fn a_session_that_cannot_begin_says_why() {
    let bench = Bench::new();
    bench.start("task", "sleep 100041").await;
    let program = Program::Exec { path: "/no/such/program".to_owned(), argv: Vec::new() };
    let faulty = SessionSpec { program, ..spec(&bench, "", None) };
    let error = bench.launcher.open_session(faulty).await.unwrap_err();
    assert!(error.to_string().contains("/no/such/program"), "{error}");
    bench.launcher.kill_tree(&id("task")).unwrap();
}
