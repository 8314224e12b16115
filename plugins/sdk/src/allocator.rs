//! Allocators: who is offered what.

use tepui_allocator::Allocate;
use tepui_plugin_abi::allocator::{self as wire, Message, read};
use tepui_types::{FrameworkId, Mono};

use crate::export::Instance;

/// An allocator that answers messages.
#[derive(Debug)]
pub(crate) struct Served<A>(pub(crate) A);

fn text(error: impl ToString) -> String {
    error.to_string()
}

impl<A: Allocate> Instance for Served<A> {
    fn call(&mut self, method: u32, bytes: &[u8]) -> Result<Vec<u8>, String> {
        if method == wire::APPLY {
            for (at, input) in wire::heard(bytes).map_err(text)? {
                self.0.apply(at, input);
            }
            return Ok(wire::state(&self.0).encode_to_vec());
        }
        let ask: wire::Ask = read("a question", bytes).map_err(text)?;
        let now = Mono::from_nanos(ask.at_nanos);
        match method {
            wire::ROUND => {
                let plan = self.0.round(now);
                Ok(wire::planned(&plan, wire::state(&self.0)).encode_to_vec())
            }
            wire::EXPLAIN => {
                let framework = FrameworkId::parse(&ask.framework).map_err(text)?;
                Ok(wire::explained(&self.0.explain(now, &framework)).encode_to_vec())
            }
            wire::REFUSALS => Ok(wire::counted(&self.0.refusals(now)).encode_to_vec()),
            other => Err(format!("an allocator of this sdk has no method {other}")),
        }
    }
}

/// Makes an allocator of the crate, a `cdylib`, a plugin of this name. `open` makes an allocator of a
/// [`Start`](crate::Start), or says why it cannot.
#[macro_export]
macro_rules! export_allocator {
    (name: $name:expr, open: $open:expr $(,)?) => {
        $crate::__export!(
            $crate::export::Kind::Allocator,
            $name,
            $open,
            $crate::export::serve_allocator
        );
    };
}

/// What all kinds export alike.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($kind:expr, $name:expr, $open:expr, $serve:path) => {
        const _: () = {
            struct Exported;

            impl $crate::export::Exported for Exported {
                const KIND: $crate::export::Kind = $kind;

                fn open(
                    start: &$crate::Start,
                ) -> ::core::result::Result<
                    ::std::boxed::Box<dyn $crate::export::Instance>,
                    ::std::string::String,
                > {
                    $serve($open(start))
                }
            }

            #[unsafe(no_mangle)]
            pub static TEPUI_PLUGIN_CARD: $crate::export::Card = $crate::export::Card::of(
                $kind,
                $name,
                ::core::env!("CARGO_PKG_VERSION"),
                $crate::export::SDK,
                ::core::cfg!(panic = "unwind"),
            );

            #[unsafe(no_mangle)]
            pub static TEPUI_PLUGIN: $crate::export::Header =
                $crate::export::header::<$crate::export::Functions<Exported>>();
        };
    };
}
