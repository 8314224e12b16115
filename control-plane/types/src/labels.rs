//! Labels by which apps and tasks say what neither Mesos nor Marathon has a field for. Clients that
//! do not know them carry them along; agents of Mesos ignore them.

use std::fmt;

/// What all labels of ours begin with; every other label is the user's own.
pub const LABEL_PREFIX: &str = "TEPUI_";

/// Every label that somebody heeds, without the prefix: agents (`agentd/README.md`), and who applies
/// definitions or scrapes tasks.
pub const LABELS: [&str; 16] = [
    "CPUSET",
    "IO_READ_BYTES_PER_SEC",
    "IO_WEIGHT",
    "IO_WRITE_BYTES_PER_SEC",
    "MAX_RUN_SEC",
    "METRICS",
    "METRICS_PATH",
    "NOTIFY",
    "NOTIFY_WITHIN_SEC",
    "NO_NEW_PRIVILEGES",
    "OWNER",
    "PIDS",
    "PRIVATE_IPC",
    "SECCOMP",
    "SHIELD",
    "WATCHDOG_SEC",
];

/// Below this likeness nothing is suggested.
const ALIKE: f64 = 0.75;
/// Characters of a name that are repeated and compared.
const MAX_SHOWN: usize = 80;

/// A label that looks like one of ours and that nobody heeds. Some of ours are to protect somebody, so
/// it is refused: a protection that was misspelt would be none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct UnknownLabel {
    name: String,
    near: Option<&'static str>,
}

impl fmt::Display for UnknownLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.escape_debug();
        write!(f, "label '{LABEL_PREFIX}{name}' is none that Tepui knows")?;
        match self.near {
            Some(near) => write!(f, "; did you mean '{LABEL_PREFIX}{near}'?"),
            None => write!(f, "; names that begin with {LABEL_PREFIX} are reserved"),
        }
    }
}

/// Whether somebody heeds the label, or it is the user's own.
///
/// # Errors
/// [`UnknownLabel`] when it is neither; it names the one that was probably meant.
pub fn check_label(key: &str) -> Result<(), UnknownLabel> {
    let bare = key.get(..LABEL_PREFIX.len());
    let Some(prefix) = bare.filter(|start| start.eq_ignore_ascii_case(LABEL_PREFIX)) else {
        return Ok(());
    };
    let name = &key[LABEL_PREFIX.len()..];
    if prefix == LABEL_PREFIX && LABELS.contains(&name) {
        return Ok(());
    }
    let name: String = name.chars().take(MAX_SHOWN).collect();
    let asked = name.to_ascii_uppercase().replace(['-', '.'], "_");
    let likeness = |known: &str| strsim::jaro_winkler(known, &asked);
    let near = LABELS.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let near = near.copied().filter(|known| likeness(known) >= ALIKE);
    // In another case the prefix may be somebody else's.
    match near {
        None if prefix != LABEL_PREFIX => Ok(()),
        near => Err(UnknownLabel { name, near }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_misspelt_label_is_told_with_the_one_that_was_meant() {
        for (wrong, right) in [
            ("TEPUI_PID", "TEPUI_PIDS"),
            ("TEPUI_SECOMP", "TEPUI_SECCOMP"),
            ("TEPUI_NO_NEW_PRIVS", "TEPUI_NO_NEW_PRIVILEGES"),
            ("TEPUI_CPU_SET", "TEPUI_CPUSET"),
            ("TEPUI_shield", "TEPUI_SHIELD"),
            ("tepui_shield", "TEPUI_SHIELD"),
            ("TEPUI_IO_READ_BYTES", "TEPUI_IO_READ_BYTES_PER_SEC"),
        ] {
            let said = check_label(wrong).err().map(|unknown| unknown.to_string());
            let said = said.unwrap_or_default();
            assert!(said.contains(&format!("did you mean '{right}'?")), "{wrong}: {said:?}");
        }
        let said = check_label("TEPUI_XYZ").err().map(|unknown| unknown.to_string());
        assert!(said.unwrap_or_default().ends_with("names that begin with TEPUI_ are reserved"));
    }

    #[test]
    fn labels_of_others_are_theirs() {
        for key in ["", "HAPROXY_0_VHOST", "TEPUI", "XTEPUI_PIDS", "é", "TEPUIé_", "tepui_xyz"] {
            assert_eq!(check_label(key), Ok(()), "{key}");
        }
        for name in LABELS {
            assert_eq!(check_label(&format!("{LABEL_PREFIX}{name}")), Ok(()));
        }
    }

    proptest! {
        #[test]
        fn any_label_is_known_foreign_or_named(key in ".{0,200}") {
            if let Err(unknown) = check_label(&key) {
                prop_assert!(key.to_ascii_uppercase().starts_with(LABEL_PREFIX));
                prop_assert!(!unknown.to_string().contains('\n'));
            }
        }
    }
}
