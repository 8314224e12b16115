//! What clients say that has no effect: said in the log, each once.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tracing::warn;

/// So many different ones are said; a client could think of any number.
const MOST: usize = 256;

static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Says that these fields of a call had no effect, unless that was said before.
pub fn note_ignored(fields: Vec<String>) {
    if fields.is_empty() {
        return;
    }
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = fresh(&mut said, fields);
    drop(said);
    if !fresh.is_empty() {
        let fields = fresh.join(", ");
        warn!(fields, "fields of a call are not known and have no effect, as in Mesos");
    }
}

fn fresh(said: &mut BTreeSet<String>, fields: Vec<String>) -> Vec<String> {
    let room = MOST.saturating_sub(said.len());
    fields.into_iter().filter(|field| said.insert(field.clone())).take(room).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_said_once_and_not_more_than_a_client_could_think_of() {
        let mut said = BTreeSet::new();
        let two = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(fresh(&mut said, two.clone()), two);
        assert!(fresh(&mut said, two).is_empty());
        let many: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        assert_eq!(fresh(&mut said, many).len(), MOST - 2);
        assert!(fresh(&mut said, vec!["c".to_owned()]).is_empty());
        assert!(said.len() <= MOST + 2, "{}", said.len());
    }
}
