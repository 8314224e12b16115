//! Short ids: the one thing whose id begins with what was typed.

use crate::fault::{Fault, USAGE_OR_PLACEMENT};

/// Candidates named in an error.
const SHOWN: usize = 8;
/// Likeness from which on an id may be what was meant.
const NEAR: f64 = 0.8;

/// The id among `ids` that equals `given`, or else the only one that begins with it.
pub(crate) fn by_prefix<'a>(
    noun: &str,
    given: &str,
    ids: impl IntoIterator<Item = &'a str>,
) -> Result<&'a str, Fault> {
    let mut found = Vec::new();
    let mut nearest: (f64, &str) = (NEAR, "");
    for id in ids {
        if id == given {
            return Ok(id);
        }
        if id.starts_with(given) {
            found.push(id);
        }
        let likeness = strsim::jaro_winkler(id, given);
        if likeness > nearest.0 {
            nearest = (likeness, id);
        }
    }
    match found.as_slice() {
        [one] if !given.is_empty() => Ok(one),
        [] => {
            let fault = Fault::new(format!("no {noun} has an id that begins with '{given}'"));
            Err(match nearest.1 {
                "" => fault.fix(format!("`tepui {noun} list` shows them all")),
                near => {
                    fault.fix(format!("did you mean '{near}'? `tepui {noun} list` shows them all"))
                }
            })
        }
        many => {
            let mut names = many.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
            if many.len() > SHOWN {
                names.push_str(", …");
            }
            Err(Fault::new(format!("'{given}' names {} of the {noun}s: {names}", many.len()))
                .fix("type more of the id")
                .code(USAGE_OR_PLACEMENT))
        }
    }
}

/// As [`by_prefix`] for apps, whose leading slash may be left out.
pub(crate) fn app<'a>(
    given: &str,
    ids: impl IntoIterator<Item = &'a str>,
) -> Result<&'a str, Fault> {
    let absolute = if given.starts_with('/') { given.to_owned() } else { format!("/{given}") };
    by_prefix("app", &absolute, ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_enough_when_it_names_one() {
        let ids = ["/web", "/web-2", "/db/main"];
        assert_eq!(app("web", ids).unwrap(), "/web");
        assert_eq!(app("/web-", ids).unwrap(), "/web-2");
        assert_eq!(app("db", ids).unwrap(), "/db/main");
        let two = app("we", ids).unwrap_err().to_string();
        assert_eq!(two, "'/we' names 2 of the apps: /web, /web-2");
        let none = app("x", ids).unwrap_err().to_string();
        assert_eq!(none, "no app has an id that begins with '/x'");
        assert!(by_prefix("task", "", ["a"]).is_err());
    }

    #[test]
    fn what_was_probably_meant_is_named() {
        let shown =
            |given| crate::fault::show(&app(given, ["/web", "/shop/cart"]).unwrap_err().into());
        assert!(shown("shop/crat").contains("did you mean '/shop/cart'?"));
        assert!(!shown("x").contains("did you mean"));
    }
}
