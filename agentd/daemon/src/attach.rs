//! Whoever attaches to a task's terminal: a connection of its own to the container's runtime, which
//! outlives this process as the task does.

use tepui_agent_api::{Input, Output};
use tepui_container::{MAX_ATTACH_BYTES, ToTerminal, Tty};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// Pieces of output, each of at most [`MAX_ATTACH_BYTES`], that wait for a reader; behind them the
/// runtime lets go of it.
const PIECES: usize = 64;
/// What ends the input of a program on a terminal in its usual mode (termios(3), VEOF).
const END_OF_INPUT: u8 = 4;

/// What the terminal shows on a connection that asked for it.
pub fn output(mut connection: UnixStream) -> mpsc::Receiver<Output> {
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        let mut packet = vec![0; MAX_ATTACH_BYTES];
        loop {
            let read = tokio::select! {
                read = connection.read(&mut packet) => read,
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

/// Where what is said to the terminal goes. It ends with the container.
pub fn input(mut connection: UnixStream) -> mpsc::Sender<Input> {
    let (sender, mut receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut nothing = [0; 1];
        loop {
            let said = tokio::select! {
                said = receiver.recv() => said,
                // Nothing is shown to who did not ask for it: this is the end.
                _ = connection.read(&mut nothing) => return,
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
    use super::*;

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
