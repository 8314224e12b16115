//! Writing a large answer by several threads, and handing it out in order.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use tepui_cluster::state::Task;

use super::WriteTask;

/// Tasks that a thread writes before the text of the next thread comes.
pub(super) const TASKS_PER_TURN: usize = 256;
/// How many of its turns a thread is ahead of the reader at most.
const AHEAD: usize = 4;
/// More threads would only wait for the one that hands out.
const MOST_THREADS: usize = 4;

/// A part of the text.
#[derive(Clone, Copy, Debug)]
pub(super) enum Turn<'a> {
    /// It is written.
    Text(&'a [u8]),
    /// Entries of a list.
    Tasks {
        entries: &'a [Arc<Task>],
        /// The list begins with them.
        is_first: bool,
    },
}

impl Turn<'_> {
    fn text(self, write: WriteTask, room: usize) -> Vec<u8> {
        match self {
            Self::Text(text) => text.to_vec(),
            Self::Tasks { entries, is_first } => {
                let mut text = Vec::with_capacity(room);
                for (position, task) in entries.iter().enumerate() {
                    if position > 0 || !is_first {
                        text.push(b',');
                    }
                    write(&mut text, task);
                }
                text
            }
        }
    }
}

/// How many threads write so many tasks.
pub(super) fn threads_for(tasks: usize) -> usize {
    match tasks < 2 * MOST_THREADS * TASKS_PER_TURN {
        true => 1,
        false => thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS),
    }
}

/// Hands out the text of all turns in order, `room` bytes each or about; ends early when nobody
/// wants more.
pub(super) fn hand_out(
    turns: &[Turn<'_>],
    threads: usize,
    write: WriteTask,
    room: usize,
    take: &mut impl FnMut(Vec<u8>) -> bool,
) -> bool {
    if threads < 2 {
        return turns.iter().all(|turn| take(turn.text(write, room)));
    }
    thread::scope(|scope| {
        let ways: Vec<Option<Receiver<Vec<u8>>>> = (0..threads)
            .map(|first| {
                let (sender, receiver) = sync_channel(AHEAD);
                let writer = thread::Builder::new().name("writer".into());
                let begun = writer.spawn_scoped(scope, move || {
                    for turn in turns.iter().skip(first).step_by(threads) {
                        if sender.send(turn.text(write, room)).is_err() {
                            return;
                        }
                    }
                });
                // A system without another thread to give: then this one writes.
                begun.is_ok().then_some(receiver)
            })
            .collect();
        let writers = ways.iter().cycle();
        turns.iter().zip(writers).all(|(turn, writer)| match writer {
            Some(writer) => writer.recv().is_ok_and(&mut *take),
            None => take(turn.text(write, room)),
        })
    })
}
