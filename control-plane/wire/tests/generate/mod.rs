//! Random messages of any schema, as protobuf bytes that are complete and canonical.

use tepui_wire::schema::{FieldSchema, Kind, Label, MessageSchema};

/// How many of the optional fields are set.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code)] // each test file uses some of them
pub(crate) enum Fill {
    /// None but those that JSON output would set anyway.
    Least,
    /// About a third, and those that JSON output would set anyway.
    Some,
    /// About a third.
    Sparse,
    /// All, as far as the depth allows.
    Most,
}

/// A small generator of numbers (splitmix64): equal seeds give equal messages.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }
}

/// Levels below which optional messages are left out.
const DEPTH: usize = 5;

pub(crate) fn message(schema: &'static MessageSchema, random: &mut Random, fill: Fill) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(schema, random, fill, DEPTH, &mut out);
    out
}

fn put_message(
    schema: &'static MessageSchema,
    random: &mut Random,
    fill: Fill,
    depth: usize,
    out: &mut Vec<u8>,
) {
    for field in schema.fields {
        let deep = depth == 0 && matches!(field.kind, Kind::Message(_));
        let shown = field.default.is_some();
        let wanted = match fill {
            Fill::Least => shown,
            Fill::Some => shown || !deep && random.below(3) == 0,
            Fill::Sparse => !deep && random.below(3) == 0,
            Fill::Most => shown || !deep,
        };
        let times = match field.label {
            Label::Required => 1,
            Label::Optional => usize::from(wanted),
            Label::Repeated | Label::Map if wanted => random.below(3),
            Label::Repeated | Label::Map => 0,
        };
        for turn in 0..times {
            if field.label == Label::Map {
                put_entry(field, turn, random, fill, depth, out);
            } else {
                put_value(field.number, field.kind, random, fill, depth, out);
            }
        }
    }
}

fn put_entry(
    field: &FieldSchema,
    turn: usize,
    random: &mut Random,
    fill: Fill,
    depth: usize,
    out: &mut Vec<u8>,
) {
    let mut entry = Vec::new();
    let name = format!("key {turn} \"é\n");
    put_delimited(1, name.as_bytes(), &mut entry);
    put_value(2, field.kind, random, fill, depth, &mut entry);
    put_delimited(field.number, &entry, out);
}

fn put_value(
    number: u32,
    kind: Kind,
    random: &mut Random,
    fill: Fill,
    depth: usize,
    out: &mut Vec<u8>,
) {
    let key = |wire_type: u64| u64::from(number) << 3 | wire_type;
    match kind {
        Kind::Double => {
            put_varint(key(1), out);
            out.extend_from_slice(&double(random).to_bits().to_le_bytes());
        }
        Kind::String => put_delimited(number, text(random).as_bytes(), out),
        Kind::Bytes => {
            let bytes: Vec<u8> =
                (0..random.below(20)).map(|_| random.next().to_le_bytes()[0]).collect();
            put_delimited(number, &bytes, out);
        }
        Kind::Message(schema) => {
            let mut inner = Vec::new();
            put_message(schema, random, fill, depth.saturating_sub(1), &mut inner);
            put_delimited(number, &inner, out);
        }
        scalar => {
            put_varint(key(0), out);
            put_varint(varint(scalar, random), out);
        }
    }
}

fn varint(kind: Kind, random: &mut Random) -> u64 {
    let spread = random.next() >> random.below(64);
    match kind {
        Kind::Bool => spread & 1,
        Kind::Uint32 => spread & u64::from(u32::MAX),
        Kind::Int32 => i64::from(spread.to_le_bytes()[0]).wrapping_sub(100).cast_unsigned(),
        Kind::Enum(schema) => {
            let numbers: Vec<i32> = schema.numbers().collect();
            i64::from(numbers[random.below(numbers.len())]).cast_unsigned()
        }
        _ => spread,
    }
}

fn double(random: &mut Random) -> f64 {
    let any = f64::from_bits(random.next());
    match random.below(6) {
        0 => f64::INFINITY,
        1 => f64::NEG_INFINITY,
        2 => 0.0,
        3 if any.is_finite() => any,
        _ => f64::from(u32::try_from(random.below(100_000)).unwrap()) / 1000.0,
    }
}

fn text(random: &mut Random) -> String {
    const SAMPLES: [&str; 8] =
        ["", "a", "tâche №7", "\"quoted\\\"", "line\nfeed\t\u{0}\u{1f}", "😀", "cpus", "/api/v1"];
    (0..random.below(4)).map(|_| SAMPLES[random.below(SAMPLES.len())]).collect()
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn put_delimited(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
