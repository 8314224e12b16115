//! Isolators: what holds runs to limits.

use tepui_plugin_abi::allocator::{Message, read};
use tepui_plugin_abi::isolator as wire;

use crate::export::Instance;

pub use tepui_plugin_abi::isolator::{Host, Setting, Wanted};

/// One way of holding runs to limits, as the agent's own isolators do.
pub trait Isolate {
    /// Finds out, before anything else is asked, whether this host can do it.
    ///
    /// # Errors
    ///
    /// The reason why not, as the end of a sentence.
    fn probe(&mut self, host: &Host) -> Result<(), String>;

    /// What is set for a run. Asked again with other limits when they change while the run lasts.
    fn prepare(&mut self, wanted: &Wanted) -> Setting;

    /// The run's sandbox is about to be removed. A run that was never prepared, or by an earlier
    /// instance, may be named.
    fn clean_up(&mut self, run: &str);
}

/// An isolator that answers messages.
#[derive(Debug)]
pub(crate) struct Served<I>(pub(crate) I);

impl<I: Isolate> Instance for Served<I> {
    fn call(&mut self, method: u32, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let text = |error: tepui_plugin_abi::Malformed| error.to_string();
        match method {
            wire::PROBE => {
                self.0.probe(&read("a host", bytes).map_err(text)?)?;
                Ok(Vec::new())
            }
            wire::PREPARE => {
                let wanted = read("what a run wants", bytes).map_err(text)?;
                Ok(self.0.prepare(&wanted).encode_to_vec())
            }
            wire::CLEAN_UP => {
                let wanted: Wanted = read("a run", bytes).map_err(text)?;
                self.0.clean_up(&wanted.run);
                Ok(Vec::new())
            }
            other => Err(format!("an isolator of this sdk has no method {other}")),
        }
    }
}

/// Makes an isolator of the crate, a `cdylib`, a plugin of this name, by which operators name it in
/// `--isolation`. `open` makes an isolator of a [`Start`](crate::Start), or says why it cannot.
#[macro_export]
macro_rules! export_isolator {
    (name: $name:expr, open: $open:expr $(,)?) => {
        $crate::__export!(
            $crate::export::Kind::Isolator,
            $name,
            $open,
            $crate::export::serve_isolator
        );
    };
}
