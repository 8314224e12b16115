//! What is said to the terminal of a container by whoever attaches to it: packets of a socket in the
//! container's folder, one word each. What the terminal shows comes back, as it is.

use crate::wish::Tty;

/// Name of the socket (`SOCK_SEQPACKET`) in the folder of a container with a terminal.
pub const ATTACH_SOCKET: &str = "attach.sock";
/// Largest packet in bytes, either way.
pub const MAX_ATTACH_BYTES: usize = 16 * 1024;

/// One packet to a container's terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToTerminal {
    /// From now on whoever sent this is shown what the terminal shows.
    Show,
    /// Typed at it; at most [`MAX_ATTACH_BYTES`] less one.
    Keys(Vec<u8>),
    /// It has another size now.
    Resize(Tty),
}

impl ToTerminal {
    /// The packet.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Show => vec![b's'],
            Self::Keys(keys) => {
                let keys = &keys[..keys.len().min(MAX_ATTACH_BYTES - 1)];
                [b"k", keys].concat()
            }
            Self::Resize(Tty { rows, columns }) => {
                [&b"r"[..], &rows.to_le_bytes(), &columns.to_le_bytes()].concat()
            }
        }
    }

    /// Reads a packet; `None` for one that nobody has encoded.
    #[must_use]
    pub fn decode(packet: &[u8]) -> Option<Self> {
        match packet.split_first()? {
            (b's', []) => Some(Self::Show),
            (b'k', keys) => Some(Self::Keys(keys.to_vec())),
            (b'r', &[a, b, c, d]) => {
                let (rows, columns) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
                Some(Self::Resize(Tty { rows, columns }))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_encoded_is_read_back(keys: Vec<u8>, rows: u16, columns: u16) {
            let all = [ToTerminal::Show, ToTerminal::Keys(keys), ToTerminal::Resize(Tty { rows, columns })];
            for word in all {
                prop_assert_eq!(ToTerminal::decode(&word.encode()), Some(word));
            }
        }

        #[test]
        fn no_packet_makes_the_reader_panic(packet: Vec<u8>) {
            if let Some(word) = ToTerminal::decode(&packet) {
                prop_assert_eq!(word.encode(), packet);
            }
        }
    }
}
