//! Whoever attaches to a task's terminal: a connection of its own to the container's runtime, which
//! outlives this process as the task does.

use std::io;

use tepui_agent_api::{Input, Output};
use tepui_container::{MAX_ATTACH_BYTES, ToTerminal, Tty};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// Pieces of output, each of at most [`MAX_ATTACH_BYTES`], that wait for a reader; behind them the
/// runtime lets go of it.
const PIECES: usize = 64;
/// What ends the input of a program on a terminal in its usual mode (termios(3), VEOF).
const END_OF_INPUT: u8 = 4;

/// What the terminal shows on a connection that asked for it.
pub fn output(connection: UnixStream) -> mpsc::Receiver<Output> {
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        let mut packet = vec![0; MAX_ATTACH_BYTES];
        loop {
            let read = tokio::select! {
                read = receive(&connection, &mut packet) => read,
                // Nobody reads any more.
                () = sender.closed() => return,
            };
            let Ok(length @ 1..) = read else { return };
            if sender.send(Output::Stdout(packet[..length].to_vec())).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// The next packet, or none of its bytes at the end.
///
/// `AsyncRead` takes a read that leaves room for the last of what is there, as it is with streams: it
/// would leave all further packets lying until another one comes.
async fn receive(connection: &UnixStream, packet: &mut [u8]) -> io::Result<usize> {
    loop {
        connection.readable().await?;
        match connection.try_read(packet) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

/// Where what is said to the terminal goes. It ends with the container.
pub fn input(mut connection: UnixStream) -> mpsc::Sender<Input> {
    let (sender, mut receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut nothing = [0; 1];
        loop {
            let said = tokio::select! {
                said = receiver.recv() => said,
                // Nothing is shown to who did not ask for it: this is the end.
                _ = receive(&connection, &mut nothing) => return,
            };
            let Some(said) = said else { return };
            for word in words(said) {
                if connection.write(&word.encode()).await.is_err() {
                    return;
                }
            }
        }
    });
    sender
}

fn words(said: Input) -> Vec<ToTerminal> {
    match said {
        Input::Data(data) => {
            let pieces = data.chunks(MAX_ATTACH_BYTES - 1);
            pieces.map(|piece| ToTerminal::Keys(piece.to_vec())).collect()
        }
        Input::End => vec![ToTerminal::Keys(vec![END_OF_INPUT])],
        Input::Resize(size) => {
            vec![ToTerminal::Resize(Tty { rows: size.rows, columns: size.columns })]
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
    use tokio::time::timeout;

    use super::*;

    /// A connection as to a container's runtime: packets, not a stream.
    fn pair() -> (OwnedFd, UnixStream) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (runtime, ours) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let ours = std::os::unix::net::UnixStream::from(ours);
        (runtime, UnixStream::from_std(ours).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_shown_in_several_pieces_is_read_to_its_end() {
        let (runtime, ours) = pair();
        for piece in [&b"third"[..], b"got=", b"third"] {
            send(&runtime, piece, SendFlags::NOSIGNAL).unwrap();
        }
        let mut shown = output(ours);
        for piece in [&b"third"[..], b"got=", b"third"] {
            // The clock goes on by itself once nothing else can happen.
            let next = timeout(Duration::from_secs(1), shown.recv()).await;
            assert_eq!(next, Ok(Some(Output::Stdout(piece.to_vec()))));
        }
        drop(runtime);
        assert_eq!(shown.recv().await, None, "the container is over");
    }

    #[test]
    fn keys_of_any_number_are_typed_in_their_order() {
        let data: Vec<u8> = (0..50_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let typed = words(Input::Data(data.clone())).into_iter().flat_map(|word| match word {
            ToTerminal::Keys(keys) => keys,
            other => panic!("{other:?}"),
        });
        assert_eq!(typed.collect::<Vec<_>>(), data);
    }

    #[test]
    fn the_end_of_input_is_a_key_of_the_terminal() {
        assert_eq!(words(Input::End), [ToTerminal::Keys(vec![4])]);
    }
}
