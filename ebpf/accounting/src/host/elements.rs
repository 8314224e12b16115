//! Elements of sets of nftables, as netlink has them. Pure.

use tepui_netlink::{Request, attribute, attributes, with_parts, with_value};

use super::rules::Set;
use super::sockets::{TCP, UDP};
use crate::decode::Flow;
use crate::group::GroupId;

/// `NFNL_SUBSYS_NFTABLES`.
pub(super) const NFTABLES: u8 = 10;
/// `NFT_MSG_NEWSETELEM`, `NFT_MSG_GETSETELEM`, `NFT_MSG_DELSETELEM`.
const NEW: u16 = (NFTABLES as u16) << 8 | 12;
const GET: u16 = (NFTABLES as u16) << 8 | 13;
const DELETE: u16 = (NFTABLES as u16) << 8 | 14;
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

/// `IPPROTO_ICMP`, `IPPROTO_ICMPV6`.
const ICMP: u8 = 1;
const ICMP6: u8 = 58;

/// The protocols that a set counts.
pub(super) fn protocols(set: Set) -> &'static [u8] {
    match set {
        Set::Received | Set::Sent => &[TCP, UDP, ICMP, ICMP6],
        Set::Connected | Set::Accepted => &[TCP],
    }
}

/// What makes the counters of a group; those that are there stay as they are.
pub(super) fn make(table: &str, group: GroupId) -> Vec<Request> {
    Set::ALL.map(|set| of_group(Request::create(NEW, &INET), table, set, group)).into()
}

/// What removes the counters of a group.
pub(super) fn remove(table: &str, group: GroupId) -> Vec<Request> {
    Set::ALL.map(|set| of_group(Request::remove(DELETE, &INET), table, set, group)).into()
}

fn of_group(request: Request, table: &str, set: Set, group: GroupId) -> Request {
    let all = protocols(set).iter().map(|protocol| element(group, *protocol));
    let all: Vec<_> = all.collect();
    request.with_word(TABLE, table).with_word(SET, set.name()).with(&with_parts(ELEMENTS, &all))
}

/// The question for one counter.
pub(super) fn one(table: &str, set: Set, group: GroupId, protocol: u8) -> Request {
    let request = Request::one(GET, &INET).with_word(TABLE, table).with_word(SET, set.name());
    request.with(&with_parts(ELEMENTS, &[element(group, protocol)]))
}

/// The question for all counters of a set. What is listed may be lacking or repeated while others
/// come and go.
pub(super) fn all(table: &str, set: Set) -> Request {
    Request::all(GET, &INET).with_word(TABLE, table).with_word(SET, set.name())
}

fn element(group: GroupId, protocol: u8) -> Vec<u8> {
    let key = [group.raw().to_ne_bytes().as_slice(), &[protocol, 0, 0, 0]].concat();
    with_parts(ELEMENT, &[with_parts(KEY, &[with_value(VALUE, &key)])])
}

/// Group and counter of each element of one answer.
pub(super) fn read(body: &[u8]) -> impl Iterator<Item = (GroupId, Flow)> + '_ {
    let list = attribute(body.get(INET.len()..).unwrap_or_default(), ELEMENTS).unwrap_or_default();
    let elements = attributes(list).filter(|(kind, _)| *kind == ELEMENT);
    elements.filter_map(|(_, element)| counter(element))
}

fn counter(element: &[u8]) -> Option<(GroupId, Flow)> {
    let key = attribute(attribute(element, KEY)?, VALUE)?;
    let expression = attribute(element, EXPRESSION)?;
    if attribute(expression, NAME)? != b"counter\0" {
        return None;
    }
    let counter = attribute(expression, DATA)?;
    let count = |kind| Some(u64::from_be_bytes(attribute(counter, kind)?.try_into().ok()?));
    let flow = Flow { bytes: count(BYTES)?, packets: count(PACKETS)? };
    Some((GroupId::from_raw(u64::from_ne_bytes(*key.first_chunk()?)), flow))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(group: u64, bytes: u64, packets: u64, name: &[u8]) -> Vec<u8> {
        let key = [group.to_ne_bytes().as_slice(), &[TCP, 0, 0, 0]].concat();
        let counter =
            [with_value(BYTES, &bytes.to_be_bytes()), with_value(PACKETS, &packets.to_be_bytes())];
        let expression = [with_value(NAME, name), with_parts(DATA, &counter)];
        let key = with_parts(KEY, &[with_value(VALUE, &key)]);
        with_parts(ELEMENT, &[key, with_parts(EXPRESSION, &expression)])
    }

    fn answer(elements: &[Vec<u8>]) -> Vec<u8> {
        [INET.to_vec(), with_value(TABLE, b"t\0"), with_parts(ELEMENTS, elements)].concat()
    }

    #[test]
    fn elements_are_read_with_their_counters_and_those_without_are_passed_over() {
        let body = answer(&[
            told(7, 1000, 3, b"counter\0"),
            told(8, 1, 1, b"limit\0"),
            told(9, 20, 2, b"counter\0"),
        ]);
        let flow = |bytes, packets| Flow { bytes, packets };
        let all: Vec<_> = read(&body).collect();
        let group = GroupId::from_raw;
        assert_eq!(all, [(group(7), flow(1000, 3)), (group(9), flow(20, 2))]);
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
        ) {
            let mut body = answer(&[told(7, 1, 1, b"counter\0")]);
            let _ = read(&bytes).count();
            let at = at.index(body.len());
            body.truncate(at);
            body.extend(&bytes);
            let _ = read(&body).count();
        }
    }
}
