//! From safe traits to the functions that a library exports. Used by the macros alone.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, forget};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tepui_plugin_abi::allocator::read;
pub use tepui_plugin_abi::{Card, Header, Kind, header};
use tepui_plugin_abi::{Exports, Outcome, Plugin, RSlice, RStr, Reply};

use crate::Start;

/// The version of this sdk.
pub const SDK: &str = env!("CARGO_PKG_VERSION");

/// An open plugin of any kind.
pub trait Instance {
    /// Answers one call.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    fn call(&mut self, method: u32, bytes: &[u8]) -> Result<Vec<u8>, String>;
}

/// What a macro knows of a plugin.
pub trait Exported: 'static {
    /// Its kind.
    const KIND: Kind;

    /// Opens it.
    ///
    /// # Errors
    ///
    /// Why it cannot work.
    fn open(start: &Start) -> Result<Box<dyn Instance>, String>;
}

/// The functions of a plugin.
#[derive(Debug)]
pub struct Functions<E>(PhantomData<E>);

impl<E: Exported> Exports for Functions<E> {
    const MODULE: Plugin =
        Plugin { kind: RStr::from_str(E::KIND.name()), open: open::<E>, call, close };
}

thread_local! {
    /// The instances that this thread opened. They need not be `Send`: no other thread sees them.
    static INSTANCES: RefCell<BTreeMap<u64, Box<dyn Instance>>> = RefCell::default();
    static LAST: Cell<u64> = const { Cell::new(0) };
}

/// What somebody panicked with.
fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it panicked without a word".to_owned())
}

/// Nothing unwinds out of here: beyond is another program.
fn guarded(act: impl FnOnce() -> Result<Vec<u8>, String>) -> Reply {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Ok(answer)) => Reply::new(Outcome::Done, answer),
        Ok(Err(why)) => Reply::new(Outcome::Refused, why.into_bytes()),
        Err(payload) => {
            let words = words(&*payload);
            // Dropping it may panic again.
            forget(payload);
            Reply::new(Outcome::Panicked, words.into_bytes())
        }
    }
}

extern "C" fn open<E: Exported>(bytes: RSlice<'_, u8>) -> Reply {
    guarded(|| {
        let message = read("what it is opened with", &bytes).map_err(|error| error.to_string())?;
        let instance = E::open(&Start::of(message))?;
        let number = LAST.get() + 1;
        LAST.set(number);
        INSTANCES.with_borrow_mut(|all| all.insert(number, instance));
        Ok(number.to_le_bytes().to_vec())
    })
}

fn taken(number: u64) -> Result<Box<dyn Instance>, String> {
    let instance = INSTANCES.with_borrow_mut(|all| all.remove(&number));
    instance.ok_or_else(|| format!("no instance {number} was opened by this thread, or it ended"))
}

extern "C" fn call(number: u64, method: u32, bytes: RSlice<'_, u8>) -> Reply {
    guarded(|| {
        // When it panics nobody knows what state it is in: it is neither used nor dropped again.
        let mut instance = ManuallyDrop::new(taken(number)?);
        let answer = instance.call(method, &bytes);
        let instance = ManuallyDrop::into_inner(instance);
        INSTANCES.with_borrow_mut(|all| all.insert(number, instance));
        answer
    })
}

extern "C" fn close(number: u64) -> Reply {
    guarded(|| {
        drop(taken(number)?);
        Ok(Vec::new())
    })
}

/// An allocator as an instance.
///
/// # Errors
///
/// Why it could not be opened.
pub fn serve_allocator<A: tepui_allocator::Allocate + 'static>(
    opened: Result<A, String>,
) -> Result<Box<dyn Instance>, String> {
    Ok(Box::new(crate::allocator::Served(opened?)))
}

/// An isolator as an instance.
///
/// # Errors
///
/// Why it could not be opened.
pub fn serve_isolator<I: crate::Isolate + 'static>(
    opened: Result<I, String>,
) -> Result<Box<dyn Instance>, String> {
    Ok(Box::new(crate::isolator::Served(opened?)))
}
