//! Manifests, indexes, configurations, credentials and names of images are read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tepui_images::fuzzing::read_documents(data));
