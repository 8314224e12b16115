//! Placement constraints (`marathon-behaviour.md` section 5). Pure.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use tepui_marathon::{Constraint, Operator};
use tepui_wire::v1::{Attribute, value};

/// Values of fields that are on offer at the moment.
pub(crate) type OfferedValues = BTreeMap<String, BTreeSet<String>>;

/// Where something runs, as constraints see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    pub(crate) hostname: &'a str,
    pub(crate) region: Option<&'a str>,
    pub(crate) zone: Option<&'a str>,
    pub(crate) attributes: Option<&'a BTreeMap<String, String>>,
}

impl<'a> Place<'a> {
    /// The value of a constraint's field, if the place has it.
    pub(crate) fn field(&self, field: &str) -> Option<&'a str> {
        match field {
            "hostname" | "@hostname" => Some(self.hostname),
            "@region" => self.region,
            "@zone" => self.zone,
            name => self.attributes?.get(name).map(String::as_str),
        }
    }
}

/// Attributes as text: scalars with up to three decimals, ranges `[a-b,c-d]`, sets `{a,b}` sorted.
/// Of several with one name the first counts.
pub(crate) fn attribute_texts(attributes: &[Attribute]) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for attribute in attributes {
        let text = match attribute.r#type() {
            value::Type::Scalar => attribute.scalar.as_ref().map(|scalar| decimals(scalar.value)),
            value::Type::Ranges => attribute.ranges.as_ref().map(|ranges| {
                let parts: Vec<String> = ranges
                    .range
                    .iter()
                    .map(|range| format!("{}-{}", range.begin, range.end))
                    .collect();
                format!("[{}]", parts.join(","))
            }),
            value::Type::Set => attribute.set.as_ref().map(|set| {
                let mut items = set.item.clone();
                items.sort_unstable();
                format!("{{{}}}", items.join(","))
            }),
            value::Type::Text => attribute.text.as_ref().map(|text| text.value.clone()),
        };
        if let Some(text) = text {
            texts.entry(attribute.name.clone()).or_insert(text);
        }
    }
    texts
}

/// A number with up to three decimals and no needless ones.
fn decimals(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Whether `offered` satisfies every constraint, given where the app's `placed` instances are, in the order they
/// were placed, which values `others` have to offer, and how many `instances` it wants.
pub(crate) fn all_hold(
    constraints: &[Constraint],
    offered: &Place<'_>,
    placed: &[Place<'_>],
    others: &OfferedValues,
    instances: u32,
) -> bool {
    constraints.iter().all(|constraint| holds(constraint, offered, placed, others, instances))
}

fn holds(
    constraint: &Constraint,
    offered: &Place<'_>,
    placed: &[Place<'_>],
    others: &OfferedValues,
    instances: u32,
) -> bool {
    let Some(value) = offered.field(&constraint.field) else {
        return matches!(constraint.operator, Operator::Unlike(_));
    };
    let used = || placed.iter().filter_map(|place| place.field(&constraint.field));
    match &constraint.operator {
        Operator::Unique => used().all(|other| other != value),
        Operator::Cluster(Some(wanted)) => value == wanted,
        Operator::Cluster(None) => used().next().is_none_or(|first| first == value),
        Operator::MaxPer(most) => used().filter(|other| *other == value).count() < *most as usize,
        Operator::Like(pattern) => full_match(pattern, value),
        Operator::Unlike(pattern) => !full_match(pattern, value),
        Operator::Is(wanted) => is_equal(wanted, value),
        Operator::GroupBy(groups) => {
            let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
            used().for_each(|value| *counts.entry(value).or_default() += 1);
            match groups.filter(|groups| *groups > 0) {
                Some(groups) => groups_evenly(&counts, value, instances, groups),
                None => is_emptiest(&counts, value, others.get(&constraint.field)),
            }
        }
    }
}

/// GROUP_BY without a number: the value must be new, or have the fewest instances while no other value
/// that is on offer is new.
fn is_emptiest(
    counts: &BTreeMap<&str, u32>,
    value: &str,
    others: Option<&BTreeSet<String>>,
) -> bool {
    let Some(count) = counts.get(value) else { return true };
    let new = |other: &String| !counts.contains_key(other.as_str());
    counts.values().min() == Some(count) && !others.is_some_and(|others| others.iter().any(new))
}

/// GROUP_BY: with `groups` values wanted, each may hold its even share, and the remainder is spread
/// one by one.
fn groups_evenly(counts: &BTreeMap<&str, u32>, value: &str, instances: u32, groups: u32) -> bool {
    let Some(count) = counts.get(value).copied() else {
        return u32::try_from(counts.len()).is_ok_and(|used| used < groups);
    };
    let (share, surplus) = (instances / groups, instances % groups);
    let surplus_used: u32 = counts.values().map(|count| count.saturating_sub(share)).sum();
    count < share || (count == share && surplus_used < surplus)
}

fn full_match(pattern: &str, value: &str) -> bool {
    // Validated when the app was accepted; a pattern that this engine cannot read matches nothing.
    Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|regex| regex.is_match(value))
}

fn is_equal(wanted: &str, value: &str) -> bool {
    if wanted == value {
        return true;
    }
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    match (number(wanted), number(value)) {
        (Some(wanted), Some(value)) => decimals(wanted) == decimals(value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(field: &str, operator: Operator) -> Vec<Constraint> {
        vec![Constraint { field: field.to_owned(), operator }]
    }

    fn on(hostname: &str) -> Place<'_> {
        Place { hostname, ..Place::default() }
    }

    fn holds_on(operator: Operator, value: &str, placed: &[&str], instances: u32) -> bool {
        let placed: Vec<Place<'_>> = placed.iter().map(|host| on(host)).collect();
        all_hold(&rule("hostname", operator), &on(value), &placed, &BTreeMap::new(), instances)
    }

    #[test]
    fn unique_never_repeats_a_value_and_cluster_never_leaves_it() {
        assert!(holds_on(Operator::Unique, "a", &["b"], 2));
        assert!(!holds_on(Operator::Unique, "a", &["a"], 2));
        assert!(holds_on(Operator::Cluster(None), "a", &[], 2));
        assert!(!holds_on(Operator::Cluster(None), "a", &["b", "a"], 2));
        assert!(holds_on(Operator::Cluster(Some("a".into())), "a", &["b"], 2));
    }

    #[test]
    fn patterns_match_in_full_or_not_at_all() {
        assert!(holds_on(Operator::Like("rack-[1-3]".into()), "rack-2", &[], 1));
        assert!(!holds_on(Operator::Like("rack".into()), "rack-2", &[], 1));
        assert!(!holds_on(Operator::Like("a|b".into()), "ax", &[], 1));
        assert!(holds_on(Operator::Unlike("rack".into()), "rack-2", &[], 1));
        assert!(!holds_on(Operator::Like("(".into()), "(", &[], 1));
    }

    #[test]
    fn a_missing_field_fulfils_only_unlike() {
        for operator in [
            Operator::Unique,
            Operator::Cluster(None),
            Operator::GroupBy(None),
            Operator::MaxPer(3),
            Operator::Like(".*".into()),
            Operator::Is("x".into()),
        ] {
            assert!(!all_hold(&rule("rack", operator), &on("a"), &[], &BTreeMap::new(), 1));
        }
        assert!(all_hold(
            &rule("rack", Operator::Unlike("x".into())),
            &on("a"),
            &[],
            &BTreeMap::new(),
            1
        ));
    }

    #[test]
    fn is_compares_numbers_after_rounding() {
        assert!(holds_on(Operator::Is("1.0".into()), "1", &[], 1));
        assert!(holds_on(Operator::Is("0.1234".into()), "0.123", &[], 1));
        assert!(!holds_on(Operator::Is("1.01".into()), "1", &[], 1));
        assert!(holds_on(Operator::Is("ssd".into()), "ssd", &[], 1));
    }

    #[test]
    fn ten_instances_in_three_groups_are_four_three_three() {
        let mut placed: Vec<&str> = Vec::new();
        for _ in 0..10 {
            let next = ["a", "b", "c", "d"]
                .into_iter()
                .find(|value| holds_on(Operator::GroupBy(Some(3)), value, &placed, 10));
            placed.push(next.expect("a place is left"));
        }
        let mut counts = BTreeMap::<&str, u32>::new();
        placed.iter().for_each(|value| *counts.entry(value).or_default() += 1);
        assert_eq!(counts.into_values().collect::<Vec<_>>(), [4, 3, 3]);
        assert!(!["a", "b", "c", "d"].into_iter().any(|value| holds_on(
            Operator::GroupBy(Some(3)),
            value,
            &placed,
            10
        )));
    }

    #[test]
    fn group_by_without_a_number_takes_the_emptiest_value() {
        assert!(holds_on(Operator::GroupBy(None), "c", &["a", "b"], 5));
        assert!(holds_on(Operator::GroupBy(None), "b", &["a", "a", "b"], 5));
        assert!(!holds_on(Operator::GroupBy(None), "a", &["a", "a", "b"], 5));
    }

    #[test]
    fn attributes_have_one_text_each() {
        let scalar = |value| Some(tepui_wire::v1::value::Scalar { value });
        let mut number =
            Attribute { name: "load".into(), scalar: scalar(1.5), ..Attribute::default() };
        number.set_type(value::Type::Scalar);
        let mut again =
            Attribute { name: "load".into(), scalar: scalar(2.0), ..Attribute::default() };
        again.set_type(value::Type::Scalar);
        let mut set = Attribute {
            name: "tags".into(),
            set: Some(value::Set { item: vec!["b".into(), "a".into()] }),
            ..Attribute::default()
        };
        set.set_type(value::Type::Set);
        let texts = attribute_texts(&[number, again, set]);
        assert_eq!(texts["load"], "1.5");
        assert_eq!(texts["tags"], "{a,b}");
    }
}
