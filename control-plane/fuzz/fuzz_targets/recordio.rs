//! A stream gives the same records and the same error however it is cut into chunks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tepui_wire::recordio::{Decoder, RecordIoError, encode_into};

const LIMIT: usize = 4096;

fn decode<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Result<(), RecordIoError>) {
    let mut decoder = Decoder::with_limit(LIMIT);
    let mut records = Vec::new();
    for chunk in chunks {
        decoder.push(chunk);
        loop {
            match decoder.next_record() {
                Ok(Some(record)) => records.push(record),
                Ok(None) => break,
                Err(error) => return (records, Err(error)),
            }
        }
    }
    let end = decoder.finish();
    (records, end)
}

fuzz_target!(|data: &[u8]| {
    let Some((size, stream)) = data.split_first() else { return };
    let whole = decode([stream].into_iter());
    let cut = decode(stream.chunks(usize::from(*size).max(1)));
    assert_eq!(whole, cut);
    let mut again = Vec::new();
    whole.0.iter().for_each(|record| encode_into(record, &mut again));
    assert_eq!(decode([&again[..]].into_iter()), (whole.0, Ok(())));
});
