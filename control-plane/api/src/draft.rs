//! Large answers in two steps: while the driver loop waits, what is little is written and tasks are
//! only taken along; they are written by other threads, piece by piece, while the first pieces
//! travel already. So a look at a hundred thousand tasks keeps the loop for milliseconds.

mod turns;

use std::io::Write;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use tepui_cluster::state::Task;

use turns::{TASKS_PER_TURN, Turn};

/// Bytes of one piece, about.
const PIECE_BYTES: usize = 256 << 10;
/// So few tasks are written at once: handing them to another thread would take longer.
const FEW_TASKS: usize = 64;

/// How a body is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Coding {
    /// As it is.
    Plain,
    /// By gzip.
    Gzip,
}

/// How one task is written.
type WriteTask = fn(&mut Vec<u8>, &Task);

/// A JSON text of which tasks are not written yet.
#[derive(Debug)]
pub(crate) struct Draft {
    parts: Vec<Part>,
    /// What comes after the parts.
    text: Vec<u8>,
    write: WriteTask,
    tasks: usize,
}

#[derive(Debug)]
enum Part {
    Text(Vec<u8>),
    /// The entries of a list, without its brackets.
    Tasks(Vec<Arc<Task>>),
}

impl Draft {
    /// Nothing yet; `write` is how tasks will be written.
    pub(crate) fn new(write: WriteTask) -> Self {
        Self { parts: Vec::new(), text: Vec::new(), write, tasks: 0 }
    }

    /// A text without tasks.
    pub(crate) fn of(value: &impl Serialize) -> Self {
        let mut draft = Self::new(|_, _| {});
        draft.value(value);
        draft
    }

    /// Adds text as it is.
    pub(crate) fn raw(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    /// Adds a value.
    pub(crate) fn value(&mut self, value: &impl Serialize) {
        write_json(&mut self.text, value);
    }

    /// Opens an object with the fields of `fields`, which has at least one.
    pub(crate) fn open(&mut self, fields: &impl Serialize) {
        self.value(fields);
        self.text.pop();
    }

    /// Goes on with more fields of the open object.
    pub(crate) fn more(&mut self, fields: &impl Serialize) {
        let begin = self.text.len();
        self.value(fields);
        if let Some(brace) = self.text.get_mut(begin) {
            *brace = b',';
        }
        self.text.pop();
    }

    /// Adds a list of tasks.
    pub(crate) fn tasks<'a>(&mut self, all: impl Iterator<Item = &'a Arc<Task>>) {
        self.raw("[");
        let tasks: Vec<_> = all.cloned().collect();
        self.tasks += tasks.len();
        if !tasks.is_empty() {
            self.parts.push(Part::Text(mem::take(&mut self.text)));
            self.parts.push(Part::Tasks(tasks));
        }
        self.raw("]");
    }

    /// Whether it is as good as written.
    pub(crate) fn is_small(&self) -> bool {
        self.tasks <= FEW_TASKS
    }

    /// The whole text at once.
    pub(crate) fn whole(self) -> Bytes {
        let mut text = Vec::new();
        self.render(Coding::Plain, &mut |piece| {
            match text.is_empty() {
                true => text = Vec::from(piece),
                false => text.extend_from_slice(&piece),
            }
            true
        });
        text.into()
    }

    /// Hands out the text piece by piece; ends early when nobody wants more.
    pub(crate) fn render(self, coding: Coding, take: &mut impl FnMut(Bytes) -> bool) {
        let threads = turns::threads_for(self.tasks);
        self.render_by(threads, coding, take);
    }

    fn render_by(self, threads: usize, coding: Coding, take: &mut impl FnMut(Bytes) -> bool) {
        let mut coder = Coder { coding, gzip: gzip(), take };
        let mut all = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => all.push(Turn::Text(text)),
                Part::Tasks(tasks) => {
                    let turns = tasks.chunks(TASKS_PER_TURN).enumerate();
                    all.extend(turns.map(|(n, entries)| Turn::Tasks { entries, is_first: n == 0 }));
                }
            }
        }
        all.push(Turn::Text(&self.text));
        let room = if self.is_small() { 0 } else { PIECE_BYTES };
        if turns::hand_out(&all, threads, self.write, room, &mut |text| coder.code(text)) {
            coder.end();
        }
    }
}

/// Appends a value. Every key is a string and no number is refused, so it can be written; if it
/// could not, the text would end there and no reader would take it for JSON.
pub(crate) fn write_json(text: &mut Vec<u8>, value: &impl Serialize) {
    // As said.
    let _ = serde_json::to_writer(text, value);
}

fn gzip() -> GzEncoder<Vec<u8>> {
    GzEncoder::new(Vec::new(), Compression::fast())
}

struct Coder<'a, F> {
    coding: Coding,
    gzip: GzEncoder<Vec<u8>>,
    take: &'a mut F,
}

impl<F: FnMut(Bytes) -> bool> Coder<'_, F> {
    fn code(&mut self, text: Vec<u8>) -> bool {
        match self.coding {
            Coding::Plain => text.is_empty() || (self.take)(text.into()),
            Coding::Gzip => {
                // Writing to memory does not fail.
                let _ = self.gzip.write_all(&text);
                let coded = self.gzip.get_mut();
                coded.len() < PIECE_BYTES || (self.take)(mem::take(coded).into())
            }
        }
    }

    fn end(self) {
        if self.coding == Coding::Gzip {
            (self.take)(self.gzip.finish().unwrap_or_default().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use serde_json::json;
    use tepui_types::{AgentId, FrameworkId, Resources, Role, TaskId, TaskState};

    use super::*;

    fn task(number: usize) -> Arc<Task> {
        Arc::new(Task {
            id: TaskId::parse(&format!("t{number}")).unwrap(),
            framework: FrameworkId::parse("f").unwrap(),
            agent: AgentId::parse("a").unwrap(),
            executor: None,
            name: "x".repeat(1000),
            role: Role::default_role(),
            resources: Resources::new(),
            state: TaskState::Running,
            forwarded: None,
            statuses: Vec::new(),
            launched: None,
            details: None,
        })
    }

    fn draft(count: usize) -> Draft {
        let tasks: Vec<_> = (0..count).map(task).collect();
        let mut draft = Draft::new(|text, task| {
            write_json(text, &json!({ "id": task.id.as_str(), "name": task.name }));
        });
        draft.open(&json!({ "first": 1 }));
        draft.raw(r#","tasks":"#);
        draft.tasks(tasks.iter());
        draft.raw(r#","none":"#);
        draft.tasks([].iter());
        draft.more(&json!({ "last": 2 }));
        draft.raw("}");
        draft
    }

    #[test]
    fn an_object_is_put_together_in_order() {
        let short = draft(0).whole();
        assert_eq!(short, r#"{"first":1,"tasks":[],"none":[],"last":2}"#);
        let two: serde_json::Value = serde_json::from_slice(&draft(2).whole()).unwrap();
        assert_eq!(two["tasks"][1]["id"], "t1");
    }

    #[test]
    fn pieces_are_the_whole_text_coded_or_not() {
        let whole = draft(2000).whole();
        let mut pieces = Vec::new();
        draft(2000).render(Coding::Plain, &mut |piece| {
            pieces.push(piece);
            true
        });
        assert!(pieces.len() > 4 && pieces.concat() == whole);
        for threads in 1..=3 {
            let mut text = Vec::new();
            draft(2000).render_by(threads, Coding::Plain, &mut |piece| {
                text.extend_from_slice(&piece);
                true
            });
            assert_eq!(text, whole, "by {threads} threads");
        }
        let mut coded = Vec::new();
        draft(2000).render(Coding::Gzip, &mut |piece| {
            coded.extend_from_slice(&piece);
            true
        });
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&*coded).read_to_end(&mut text).unwrap();
        assert_eq!(text, whole);
    }

    #[test]
    fn nothing_is_written_for_a_reader_who_left() {
        for threads in 1..=3 {
            let mut taken = 0;
            draft(2000).render_by(threads, Coding::Plain, &mut |_| {
                taken += 1;
                taken < 3
            });
            assert_eq!(taken, 3);
        }
    }
}
