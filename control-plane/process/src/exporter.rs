//! Figures under the names that `mesos_exporter` gives them, made from `/metrics/snapshot` as that
//! program does, so that dashboards and alerts made for Mesos work without it.

use std::collections::BTreeMap;
use std::fmt::Write;

/// One family of the exporter.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Whether it only rises.
    pub rises: bool,
    /// Its label, empty without one.
    pub label: &'static str,
    /// Per value of the label: the figure, and what is taken from it (empty for nothing).
    pub values: &'static [(&'static str, &'static str, &'static str)],
}

/// The families as Prometheus reads them. A figure that is not there is left out.
#[must_use]
pub fn exported(families: &[Family], figures: &BTreeMap<String, f64>) -> String {
    let mut text = String::new();
    for family in families {
        let kind = if family.rises { "counter" } else { "gauge" };
        let mut head = false;
        for (value, figure, less) in family.values {
            let Some(number) = figures.get(*figure) else { continue };
            let less = figures.get(*less).copied().unwrap_or(0.0);
            if !std::mem::replace(&mut head, true) {
                type_line(&mut text, family.name, kind);
            }
            sample(&mut text, family.name, (family.label, value), number - less);
        }
    }
    text
}

/// A family whose label's values are the ends of figures' names: those that begin with `prefix` and
/// end with `suffix`.
pub fn exported_by_name(
    text: &mut String,
    (name, kind, label): (&str, &str, &str),
    (prefix, suffix): (&str, &str),
    figures: &BTreeMap<String, f64>,
) {
    let mut head = false;
    for (figure, number) in figures.range(prefix.to_owned()..) {
        let Some(rest) = figure.strip_prefix(prefix) else { break };
        let Some(value) = rest.strip_suffix(suffix) else { continue };
        if !std::mem::replace(&mut head, true) {
            type_line(text, name, kind);
        }
        sample(text, name, (label, value), *number);
    }
}

/// The line that begins a family.
pub fn type_line(text: &mut String, name: &str, kind: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# TYPE {name} {kind}");
}

/// One line with a value; without a label where its name is empty.
pub fn sample(text: &mut String, name: &str, (label, value): (&str, &str), number: f64) {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let _ = match label {
        "" => writeln!(text, "{name} {number}"),
        _ => writeln!(text, "{name}{{{label}=\"{value}\"}} {number}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_become_series_and_what_is_not_there_is_left_out() {
        const FAMILIES: [Family; 3] = [
            Family {
                name: "mesos_master_cpus",
                rises: false,
                label: "type",
                values: &[
                    ("free", "master/cpus_total", "master/cpus_used"),
                    ("used", "master/cpus_used", ""),
                ],
            },
            Family {
                name: "mesos_master_elected",
                rises: false,
                label: "",
                values: &[("", "master/elected", "")],
            },
            Family { name: "gone", rises: true, label: "", values: &[("", "master/gone", "")] },
        ];
        let figures =
            [("master/cpus_total", 8.0), ("master/cpus_used", 3.5), ("master/elected", 1.0)];
        let figures = figures.map(|(name, value)| (name.to_owned(), value)).into();
        assert_eq!(
            exported(&FAMILIES, &figures),
            "# TYPE mesos_master_cpus gauge\nmesos_master_cpus{type=\"free\"} 4.5\n\
             mesos_master_cpus{type=\"used\"} 3.5\n# TYPE mesos_master_elected gauge\n\
             mesos_master_elected 1\n"
        );
    }

    #[test]
    fn names_of_figures_can_hold_the_label() {
        let figures = [("a/roles/x\"y/active", 2.0), ("a/roles/z/other", 1.0), ("b", 1.0)];
        let figures = figures.map(|(name, value)| (name.to_owned(), value)).into();
        let mut text = String::new();
        exported_by_name(&mut text, ("n", "gauge", "role"), ("a/roles/", "/active"), &figures);
        assert_eq!(text, "# TYPE n gauge\nn{role=\"x\\\"y\"} 2\n");
    }
}
