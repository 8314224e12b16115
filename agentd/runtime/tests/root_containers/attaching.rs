//! Who is attached to the terminal of a container.

use std::cell::RefCell;
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use tepui_container::{ATTACH_SOCKET, MAX_ATTACH_BYTES, ToTerminal, Tty};

use crate::rig::{Host, host, is_able};

/// Somebody at the terminal, and what was shown that nobody has looked for yet.
struct Person(OwnedFd, RefCell<String>);

impl Person {
    fn at(host: &Host) -> Self {
        let seqpacket = SocketType::SEQPACKET;
        let socket =
            socket_with(AddressFamily::UNIX, seqpacket, SocketFlags::CLOEXEC, None).unwrap();
        let path = host.scratch().join(ATTACH_SOCKET);
        connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        Self(socket, RefCell::default())
    }

    fn says(&self, word: &ToTerminal) {
        send(&self.0, &word.encode(), SendFlags::NOSIGNAL).unwrap();
    }

    fn types(&self, keys: &str) {
        self.says(&ToTerminal::Keys(keys.into()));
    }

    /// Waits until this text is shown.
    fn sees(&self, text: &str) {
        let mut shown = self.1.borrow_mut();
        loop {
            if let Some((_, rest)) = shown.split_once(text) {
                *shown = rest.to_owned();
                return;
            }
            let more = self.packet().unwrap_or_else(|| panic!("the end after {shown:?}"));
            shown.push_str(&String::from_utf8_lossy(&more));
        }
    }

    fn packet(&self) -> Option<Vec<u8>> {
        let mut packet = [0; MAX_ATTACH_BYTES];
        let (length, _) = recv(&self.0, packet.as_mut_slice(), RecvFlags::empty()).ok()?;
        (length > 0).then(|| packet[..length].to_vec())
    }
}

fn on_terminal(line: &str) -> Host {
    host().shell(line).with(|order| order.tty = Some(Tty { rows: 24, columns: 80 }))
}

#[test]
fn whoever_attaches_to_a_terminal_types_at_it_and_sees_it() {
    if !is_able() {
        return;
    }
    let line = "echo up; while read word; do echo got $word; stty size; done; echo over";
    let host = on_terminal(line);
    let mut running = host.start();
    assert_eq!(running.line(), "up\r");
    let (one, other) = (Person::at(&host), Person::at(&host));
    for person in [&one, &other] {
        person.says(&ToTerminal::Show);
    }
    one.types("first\n");
    one.sees("got first");
    one.sees("24 80");
    other.sees("24 80");
    other.says(&ToTerminal::Resize(Tty { rows: 50, columns: 132 }));
    other.types("second\n");
    one.sees("50 132");
    other.sees("50 132");
    drop(other);
    // The key that ends the input.
    one.types("\u{4}");
    one.sees("over");
    assert_eq!(one.packet(), None, "the container is over");
    let printed = running.end().printed();
    assert!(printed.contains("got first") && printed.contains("got second"), "{printed}");
}

#[test]
fn who_reads_slowly_or_talks_nonsense_is_let_go_of_and_keeps_nobody_waiting() {
    if !is_able() {
        return;
    }
    let host =
        on_terminal("echo up; read word; head -c 4000000 /dev/zero | tr '\\0' x; echo; echo end");
    let mut running = host.start();
    assert_eq!(running.line(), "up\r");
    let (slow, odd, typist) = (Person::at(&host), Person::at(&host), Person::at(&host));
    slow.says(&ToTerminal::Show);
    send(&odd.0, b"?", SendFlags::NOSIGNAL).unwrap();
    assert_eq!(odd.packet(), None);
    typist.types("go\n");
    let printed = running.end().printed();
    assert!(printed.ends_with("end\r\n") && printed.len() > 4_000_000, "{}", printed.len());
    let seen: usize = std::iter::from_fn(|| slow.packet()).map(|packet| packet.len()).sum();
    assert!(seen < printed.len(), "{seen}");
}

#[test]
fn a_container_without_a_terminal_has_nothing_to_attach_to() {
    if !is_able() {
        return;
    }
    let host = host().shell("echo up");
    host.run().printed();
    assert!(!host.scratch().join(ATTACH_SOCKET).exists());
}
