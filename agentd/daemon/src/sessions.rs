//! Holds the sessions: what their commands print goes to whoever opened them, what is said goes in.
//!
//! A session ends when whoever opened it lets go. Its reader sets the pace: while it does not read,
//! the command waits. Readers that were attached later are cut off when they fall behind, so that
//! they slow down nobody.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tepui_agent::{Event, Exit};
use tepui_agent_api::{Input, Output};
use tepui_launch::session::{Answer, MAX_PACKET_BYTES, Packets, Word};
use tepui_launch::{Ending, Session, Window};
use tepui_types::ContainerId;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

use crate::driver::Driver;

/// Pieces of output, each of at most [`MAX_PACKET_BYTES`], that wait for the reader.
const OUTPUT_PIECES: usize = 16;
/// The same for those that were attached later.
const ATTACHED_PIECES: usize = 64;
/// Words that wait for the command.
const WORDS: usize = 16;
/// Readers that may be attached to one session.
const MAX_ATTACHED: usize = 16;
/// How long a session that is killed may take to tell how it ended.
const LAST_WORD: Duration = Duration::from_secs(2);
const SIGKILL: i32 = 9;

/// All sessions of this process.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    live: Arc<Mutex<HashMap<ContainerId, Live>>>,
    /// Output of sessions that were over before whoever opened them took it.
    untaken: Arc<Mutex<HashMap<ContainerId, mpsc::Receiver<Output>>>>,
}

#[derive(Debug)]
struct Live {
    words: mpsc::Sender<Word>,
    /// Until whoever opened the session takes it.
    output: Option<mpsc::Receiver<Output>>,
    attached: Vec<mpsc::Sender<Output>>,
    /// Says that the session is to end.
    end: watch::Sender<bool>,
}

impl Sessions {
    /// Takes a session whose command runs. What is returned must be run, once it was told that the
    /// session is open: it passes the output on, and makes the session's end an event.
    pub fn hold(
        &self,
        id: ContainerId,
        session: Session,
        driver: Driver,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (words, said) = mpsc::channel(WORDS);
        let (printed, output) = mpsc::channel(OUTPUT_PIECES);
        let (end, ended) = watch::channel(false);
        let live = Live { words, output: Some(output), attached: Vec::new(), end };
        self.live.lock().insert(id.clone(), live);
        let sessions = self.clone();
        async move {
            let (reader, writer) = tokio::io::split(session.channel);
            let talker = tokio::spawn(talk(writer, said));
            let listener = Listener { sessions: &sessions, id: &id, printed, ended };
            let exit = listener.listen(reader, session.packets).await;
            // With both halves of the channel the session is gone.
            talker.abort();
            sessions.let_go(&id);
            driver.event(Event::SessionEnded { session: id, exit });
        }
    }

    /// A session is over. A short one may be so before its output was taken.
    fn let_go(&self, id: &ContainerId) {
        let mut untaken = self.untaken.lock();
        if let Some(output) = self.live.lock().remove(id).and_then(|live| live.output) {
            untaken.insert(id.clone(), output);
        }
    }

    /// What the session prints, for whoever opened it.
    pub fn take(&self, id: &ContainerId) -> Option<mpsc::Receiver<Output>> {
        let mut untaken = self.untaken.lock();
        let live = self.live.lock().get_mut(id).and_then(|live| live.output.take());
        live.or_else(|| untaken.remove(id))
    }

    /// What the session prints from now on.
    pub fn attach_output(&self, id: &ContainerId) -> Option<mpsc::Receiver<Output>> {
        let mut all = self.live.lock();
        let live = all.get_mut(id)?;
        live.attached.retain(|one| !one.is_closed());
        if live.attached.len() >= MAX_ATTACHED {
            return None;
        }
        let (sender, receiver) = mpsc::channel(ATTACHED_PIECES);
        live.attached.push(sender);
        Some(receiver)
    }

    /// Where words to the session go.
    pub fn attach_input(&self, id: &ContainerId) -> Option<mpsc::Sender<Input>> {
        let words = self.live.lock().get(id)?.words.clone();
        let (sender, mut receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(input) = receiver.recv().await {
                for word in spelled(input) {
                    if words.send(word).await.is_err() {
                        return;
                    }
                }
            }
        });
        Some(sender)
    }

    /// Sends a signal to the session's command.
    pub fn signal(&self, id: &ContainerId, signal: i32) {
        if signal == SIGKILL {
            return self.close(id);
        }
        if let Some(live) = self.live.lock().get(id) {
            let words = live.words.clone();
            // It waits for its turn behind what was said before.
            tokio::spawn(async move { words.send(Word::Signal(signal)).await });
        }
    }

    /// Ends the session: it is killed, and let go of when it does not say so in time.
    pub fn close(&self, id: &ContainerId) {
        if let Some(live) = self.live.lock().get(id) {
            // A command that does not take its input does not hear this either: it is let go of.
            let _ = live.words.try_send(Word::Signal(SIGKILL));
            live.end.send_replace(true);
        }
    }
}

/// Says to the shim what is to be said.
async fn talk(mut writer: WriteHalf<UnixStream>, mut said: mpsc::Receiver<Word>) {
    while let Some(word) = said.recv().await {
        if writer.write_all(&word.encode()).await.is_err() {
            return;
        }
    }
}

struct Listener<'a> {
    sessions: &'a Sessions,
    id: &'a ContainerId,
    printed: mpsc::Sender<Output>,
    ended: watch::Receiver<bool>,
}

impl Listener<'_> {
    /// Passes on what the shim says, until the session is over; how it ended.
    async fn listen(mut self, mut reader: ReadHalf<UnixStream>, packets: Packets) -> Exit {
        let mut ended = self.ended.clone();
        let killed = async move {
            // A sender that is gone wants nothing any more.
            if ended.wait_for(|end| *end).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(LAST_WORD).await;
        };
        tokio::select! {
            exit = self.pass_on(&mut reader, packets) => exit,
            () = killed => Exit::Signal(SIGKILL),
        }
    }

    async fn pass_on(&mut self, reader: &mut ReadHalf<UnixStream>, mut packets: Packets) -> Exit {
        let mut chunk = vec![0; MAX_PACKET_BYTES];
        loop {
            loop {
                let answer = match packets.take() {
                    Ok(Some(packet)) => Answer::decode(packet),
                    Ok(None) => break,
                    Err(error) => Err(error),
                };
                match answer {
                    Ok(Answer::Output(data)) => self.print(Output::Stdout(data)).await,
                    Ok(Answer::ErrorOutput(data)) => self.print(Output::Stderr(data)).await,
                    Ok(Answer::Ended(Ending::Exited(code))) => return Exit::Code(code),
                    Ok(Answer::Ended(Ending::Signaled { signal, .. })) => {
                        return Exit::Signal(signal);
                    }
                    Ok(Answer::NotStarted(reason)) => return Exit::Unknown(reason.into()),
                    Ok(Answer::Started(_)) => {}
                    Err(error) => return Exit::Unknown(error.to_string().into()),
                }
            }
            let printed = self.printed.clone();
            tokio::select! {
                read = reader.read(&mut chunk) => match read {
                    Ok(length) if length > 0 => packets.push(&chunk[..length]),
                    _ => {
                        let why = "the process that held the session died";
                        return Exit::Unknown(why.into());
                    }
                },
                // Whoever opened the session has let go of it.
                () = printed.closed() => return Exit::Signal(SIGKILL),
            }
        }
    }

    async fn print(&self, output: Output) {
        if let Some(live) = self.sessions.live.lock().get_mut(self.id) {
            live.attached.retain(|one| one.try_send(output.clone()).is_ok());
        }
        // Nobody reads any more: the next look notices.
        let _ = self.printed.send(output).await;
    }
}

/// An input as words that fit a packet each.
fn spelled(input: Input) -> Vec<Word> {
    match input {
        Input::Data(data) => {
            data.chunks(MAX_PACKET_BYTES).map(|part| Word::Input(part.to_vec())).collect()
        }
        Input::End => vec![Word::InputEnds],
        Input::Resize(size) => {
            vec![Word::Resize(Window { rows: size.rows, columns: size.columns })]
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::driver::Input as Asked;

    #[tokio::test]
    async fn a_session_that_is_over_at_once_loses_nothing_of_what_it_printed() {
        let (mut shim, channel_end) = UnixStream::pair().unwrap();
        let id = ContainerId::parse("task.s").unwrap();
        let (sender, inbox) = channel();
        let session = Session { pid: 1, channel: channel_end, packets: Packets::default() };
        let sessions = Sessions::default();
        let held = sessions.hold(id.clone(), session, Driver::new(sender));
        for answer in [Answer::Output(b"hi".to_vec()), Answer::Ended(Ending::Exited(6))] {
            shim.write_all(&answer.encode()).await.unwrap();
        }
        held.await;
        let ended = inbox.recv().unwrap();
        let Asked::Event(Event::SessionEnded { exit, .. }) = ended else { panic!("not the end") };
        assert_eq!(exit, Exit::Code(6));
        let mut output = sessions.take(&id).unwrap();
        assert_eq!(output.recv().await, Some(Output::Stdout(b"hi".to_vec())));
        assert_eq!(output.recv().await, None);
        assert!(sessions.take(&id).is_none());
    }

    #[tokio::test]
    async fn a_session_that_nobody_reads_is_let_go_of() {
        let (mut shim, channel_end) = UnixStream::pair().unwrap();
        let id = ContainerId::parse("task.s").unwrap();
        let (sender, _inbox) = channel();
        let session = Session { pid: 1, channel: channel_end, packets: Packets::default() };
        let sessions = Sessions::default();
        let held = sessions.hold(id.clone(), session, Driver::new(sender));
        drop(sessions.take(&id).unwrap());
        held.await;
        let mut rest = Vec::new();
        assert_eq!(shim.read_to_end(&mut rest).await.unwrap(), 0, "the shim sees the end");
    }
}
