//! Elements of sets of nftables, as netlink tells them. Pure.

use tepui_netlink::{Request, attribute, attributes};

use crate::decode::Flow;
use crate::group::GroupId;

/// `NFNL_SUBSYS_NFTABLES` with `NFT_MSG_GETSETELEM`.
const GET_ELEMENTS: u16 = 10 << 8 | 13;
/// `struct nfgenmsg` for `NFPROTO_INET`.
const INET: [u8; 4] = [1, 0, 0, 0];
/// `NFTA_SET_ELEM_LIST_TABLE`, `…_SET`, `…_ELEMENTS`.
const TABLE: u16 = 1;
const SET: u16 = 2;
const ELEMENTS: u16 = 3;
/// `NFTA_LIST_ELEM`, `NFTA_SET_ELEM_KEY`, `NFTA_SET_ELEM_EXPR`, `NFTA_DATA_VALUE`.
const ELEMENT: u16 = 1;
const KEY: u16 = 1;
const EXPRESSION: u16 = 7;
const VALUE: u16 = 1;
/// `NFTA_EXPR_NAME`, `NFTA_EXPR_DATA`, `NFTA_COUNTER_BYTES`, `NFTA_COUNTER_PACKETS`.
const NAME: u16 = 1;
const DATA: u16 = 2;
const BYTES: u16 = 1;
const PACKETS: u16 = 2;

/// The question for all elements of a set.
pub(super) fn request(table: &str, set: &str) -> Request {
    Request::all(GET_ELEMENTS, &INET).with_word(TABLE, table).with_word(SET, set)
}

/// Group, protocol and counter of each element of one answer.
pub(super) fn read(body: &[u8]) -> impl Iterator<Item = (GroupId, u8, Flow)> + '_ {
    let list = attribute(body.get(INET.len()..).unwrap_or_default(), ELEMENTS).unwrap_or_default();
    attributes(list).filter(|(kind, _)| *kind == ELEMENT).filter_map(|(_, element)| one(element))
}

fn one(element: &[u8]) -> Option<(GroupId, u8, Flow)> {
    let key = attribute(attribute(element, KEY)?, VALUE)?;
    let (group, protocol) = key.split_first_chunk()?;
    let expression = attribute(element, EXPRESSION)?;
    if attribute(expression, NAME)? != b"counter\0" {
        return None;
    }
    let counter = attribute(expression, DATA)?;
    let count = |kind| Some(u64::from_be_bytes(attribute(counter, kind)?.try_into().ok()?));
    let flow = Flow { bytes: count(BYTES)?, packets: count(PACKETS)? };
    Some((GroupId::from_raw(u64::from_ne_bytes(*group)), *protocol.first()?, flow))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn element(group: u64, protocol: u8, bytes: u64, packets: u64, name: &[u8]) -> Vec<u8> {
        let key = [group.to_ne_bytes().as_slice(), &[protocol, 0, 0, 0]].concat();
        let counter =
            [with(BYTES, &bytes.to_be_bytes()), with(PACKETS, &packets.to_be_bytes())].concat();
        let expression = [with(NAME, name), with(0x8000 | DATA, &counter)].concat();
        let parts = [with(0x8000 | KEY, &with(VALUE, &key)), with(EXPRESSION, &expression)];
        with(0x8000 | ELEMENT, &parts.concat())
    }

    fn answer(elements: &[Vec<u8>]) -> Vec<u8> {
        let mut body = INET.to_vec();
        body.extend(with(TABLE, b"t\0"));
        body.extend(with(0x8000 | ELEMENTS, &elements.concat()));
        body
    }

    #[test]
    fn elements_are_read_with_their_counters_and_those_without_are_passed_over() {
        let body = answer(&[
            element(7, 6, 1000, 3, b"counter\0"),
            element(8, 6, 1, 1, b"limit\0"),
            element(9, 17, 20, 2, b"counter\0"),
        ]);
        let flow = |bytes, packets| Flow { bytes, packets };
        let all: Vec<_> = read(&body).collect();
        let group = GroupId::from_raw;
        assert_eq!(all, [(group(7), 6, flow(1000, 3)), (group(9), 17, flow(20, 2))]);
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
        ) {
            let mut body = answer(&[element(7, 6, 1, 1, b"counter\0")]);
            let _ = read(&bytes).count();
            let at = at.index(body.len());
            body.truncate(at);
            body.extend(&bytes);
            let _ = read(&body).count();
        }
    }
}
