//! A library of something else.
#![allow(unsafe_code, reason = "a library that exports a function")]

#[unsafe(no_mangle)]
pub extern "C" fn forty_two() -> u32 {
    42
}
