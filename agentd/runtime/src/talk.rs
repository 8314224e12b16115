//! What libcontainer's processes say while they make a container: across its process boundary
//! errors lose their causes, which it only logs. The first line is the innermost cause.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Mutex;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

/// Where it is said; nowhere once the container stands.
static HEARD: Mutex<Option<File>> = Mutex::new(None);

/// From here on errors are said into this pipe, one a line.
pub(crate) fn into(pipe: OwnedFd) {
    if let Ok(mut heard) = HEARD.lock() {
        *heard = Some(File::from(pipe));
    }
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_level(false)
        .with_target(false)
        .without_time()
        .with_writer(Pipe);
    let filter = tracing_subscriber::filter::LevelFilter::ERROR;
    // A second subscriber is refused: the first writes into the same place.
    let _ = tracing::subscriber::set_global_default(
        tracing_subscriber::registry().with(filter).with(lines),
    );
}

/// This process says nothing more; those that it has made still can.
pub(crate) fn stop() {
    if let Ok(mut heard) = HEARD.lock() {
        *heard = None;
    }
}

/// Says a line, in whichever process this is.
pub(crate) fn say(line: &str) {
    let _ = Pipe.write_all(format!("{line}\n").as_bytes());
}

#[derive(Clone, Copy, Debug)]
struct Pipe;

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Ok(heard) = HEARD.lock()
            && let Some(pipe) = heard.as_ref()
        {
            // Full or closed: there is more than enough, or nobody to hear.
            let _ = (&*pipe).write(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Pipe {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}
