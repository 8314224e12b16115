//! The host's memory nodes, as the kernel shows them: `node0/cpulist` holds `0-3,8-11`.

use std::fs;
use std::io;
use std::path::Path;

/// Most processors that a list may name, as the kernel's.
const MOST: u64 = 8192;

/// A memory node with processors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) list: String,
    pub(crate) processors: u64,
}

/// How many processors a list names; `None` for what is no list.
pub(crate) fn count(list: &str) -> Option<u64> {
    let mut sum = 0_u64;
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        sum += last - first + 1;
    }
    Some(sum)
}

/// The nodes that have processors, in order of their numbers. Nodes without are only memory.
pub(crate) fn nodes(folder: &Path) -> io::Result<Vec<Node>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("node"));
        let Some(number) = number.and_then(|number| number.parse::<u32>().ok()) else { continue };
        let list = fs::read_to_string(entry.path().join("cpulist"))?.trim().to_owned();
        if list.is_empty() {
            continue;
        }
        let Some(processors) = count(&list) else {
            let text = format!("node{number}/cpulist holds '{list}', no list of processors");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        };
        found.push((number, Node { list, processors }));
    }
    found.sort_unstable_by_key(|(number, _)| *number);
    Ok(found.into_iter().map(|(_, node)| node).collect())
}
