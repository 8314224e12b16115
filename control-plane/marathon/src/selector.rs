//! Label selectors of `GET /v2/apps?label=…` (`marathon-api.md` section 2).

use crate::container::Labels;

/// Terms that all must hold for an app's labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSelector(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    key: String,
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Exists,
    In(Vec<String>),
    NotIn(Vec<String>),
}

/// The text is not a label selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Can not parse label selector '{selector}'. Reason: {reason}")]
pub struct InvalidSelector {
    selector: String,
    reason: &'static str,
}

impl LabelSelector {
    /// Parses comma-separated terms: `key`, `key==value`, `key!=value`, `key in (a, b)`,
    /// `key notin (a, b)`. A backslash takes the next character literally.
    ///
    /// # Errors
    /// The text has another form.
    pub fn parse(text: &str) -> Result<Self, InvalidSelector> {
        let invalid =
            |reason| InvalidSelector { selector: text.chars().take(200).collect(), reason };
        let tokens = tokens(text).map_err(invalid)?;
        let mut parser = Parser { tokens: &tokens };
        let mut terms = vec![parser.term().map_err(invalid)?];
        while !parser.tokens.is_empty() {
            parser.expect(&Token::Comma, "terms must be separated by commas").map_err(invalid)?;
            terms.push(parser.term().map_err(invalid)?);
        }
        Ok(Self(terms))
    }

    /// Whether every term holds. All but the bare `key` form look at the value, so a label that is
    /// missing never fulfils `!=` or `notin`.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|term| {
            labels.get(&term.key).is_some_and(|value| match &term.rule {
                Rule::Exists => true,
                Rule::In(values) => values.contains(value),
                Rule::NotIn(values) => !values.contains(value),
            })
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Text, and whether any of it was escaped (then it is never a keyword).
    Word(String, bool),
    Equal,
    NotEqual,
    Open,
    Close,
    Comma,
}

fn tokens(text: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&next) = chars.peek() {
        let single = match next {
            ',' => Some(Token::Comma),
            '(' => Some(Token::Open),
            ')' => Some(Token::Close),
            _ => None,
        };
        if let Some(token) = single {
            chars.next();
            tokens.push(token);
        } else if next.is_whitespace() {
            chars.next();
        } else if next == '=' || next == '!' {
            chars.next();
            if chars.next() != Some('=') {
                return Err("expected '==' or '!='");
            }
            tokens.push(if next == '=' { Token::Equal } else { Token::NotEqual });
        } else {
            tokens.push(word(&mut chars)?);
        }
    }
    Ok(tokens)
}

fn word(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Token, &'static str> {
    let mut text = String::new();
    let mut escaped = false;
    while let Some(&next) = chars.peek() {
        if next.is_whitespace() || ",()=!".contains(next) {
            break;
        }
        chars.next();
        if next == '\\' {
            escaped = true;
            text.push(chars.next().ok_or("nothing follows the backslash")?);
        } else {
            text.push(next);
        }
    }
    Ok(Token::Word(text, escaped))
}

struct Parser<'a> {
    tokens: &'a [Token],
}

impl Parser<'_> {
    fn next(&mut self) -> Option<&Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn expect(&mut self, token: &Token, reason: &'static str) -> Result<(), &'static str> {
        if self.next() == Some(token) { Ok(()) } else { Err(reason) }
    }

    fn text(&mut self, reason: &'static str) -> Result<String, &'static str> {
        match self.next() {
            Some(Token::Word(text, _)) => Ok(text.clone()),
            _ => Err(reason),
        }
    }

    fn term(&mut self) -> Result<Term, &'static str> {
        const NO_VALUE: &str = "expected a value";
        let key = self.text("expected the name of a label")?;
        let rule = match self.tokens.first() {
            None | Some(Token::Comma) => return Ok(Term { key, rule: Rule::Exists }),
            Some(operator) => operator.clone(),
        };
        self.next();
        let rule = match rule {
            Token::Equal => Rule::In(vec![self.text(NO_VALUE)?]),
            Token::NotEqual => Rule::NotIn(vec![self.text(NO_VALUE)?]),
            Token::Word(word, false) if word.eq_ignore_ascii_case("in") => Rule::In(self.set()?),
            Token::Word(word, false) if word.eq_ignore_ascii_case("notin") => {
                Rule::NotIn(self.set()?)
            }
            _ => return Err("expected '==', '!=', 'in' or 'notin' after the name of the label"),
        };
        Ok(Term { key, rule })
    }

    fn set(&mut self) -> Result<Vec<String>, &'static str> {
        self.expect(&Token::Open, "expected '(' before the values")?;
        let mut values = vec![self.text("expected a value")?];
        loop {
            match self.next() {
                Some(Token::Close) => return Ok(values),
                Some(Token::Comma) => values.push(self.text("expected a value")?),
                _ => return Err("expected ',' or ')' after a value"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        LabelSelector::parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn every_form_of_term_selects_by_its_rule() {
        let labels = [("tier", "web"), ("env", "prod"), ("a=b", "c,d")];
        for yes in [
            "tier",
            "tier==web",
            " tier  ==  web , env ",
            "tier!=db",
            "env in (prod, test)",
            "env notin(dev,test)",
            r"a\=b == c\,d",
            "tier IN (web)",
        ] {
            assert!(matches(yes, &labels), "{yes}");
        }
        for no in ["db", "tier==db", "tier!=web", "env in (dev)", "env notin (prod)", "tier,db"] {
            assert!(!matches(no, &labels), "{no}");
        }
    }

    #[test]
    fn a_missing_label_fulfils_no_negative_term() {
        assert!(!matches("db!=x", &[("tier", "web")]));
        assert!(!matches("db notin (x)", &[("tier", "web")]));
    }

    #[test]
    fn broken_selectors_say_why() {
        for bad in ["", ",", "a=", "a==", "a in", "a in ()", "a in (b", "a b", "a,", "=b", "a\\"] {
            let error = LabelSelector::parse(bad).unwrap_err().to_string();
            assert!(error.starts_with("Can not parse label selector"), "{error}");
            assert!(error.contains("Reason: "), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_selector_or_an_error(text in "[a-z=!,() \\\\]{0,30}") {
            if let Ok(selector) = LabelSelector::parse(&text) {
                let _ = selector.matches(&Labels::new());
            }
        }
    }
}
