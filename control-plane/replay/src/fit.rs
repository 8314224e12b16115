//! Whether what a task held somewhere would fit elsewhere.

use std::collections::BTreeSet;

use tepui_types::{Ranges, Resource, Resources, Value};

/// What of `bundle` serves as well as `needs` did: the same amounts, and as many ports, whichever
/// they are. `None` when something is missing.
pub(crate) fn equivalent(bundle: &Resources, needs: &Resources) -> Option<Resources> {
    let mut taken = Resources::new();
    for need in needs.iter() {
        let there = bundle.iter().find(|one| one.identity == need.identity)?;
        let value = match (&there.value, &need.value) {
            (Value::Scalar(there), Value::Scalar(need)) if there >= need => Value::Scalar(*need),
            (Value::Ranges(there), Value::Ranges(need)) if there.count() >= need.count() => {
                let count = usize::try_from(need.count()).ok()?;
                Value::Ranges(there.numbers().take(count).collect::<Ranges>())
            }
            (Value::Set(there), Value::Set(need)) if there.len() >= need.len() => {
                Value::Set(there.iter().take(need.len()).cloned().collect::<BTreeSet<_>>())
            }
            _ => return None,
        };
        taken.add(&Resource { identity: need.identity.clone(), value });
    }
    Some(taken)
}

/// True when `bundle` had room for `needs`, as far as amounts tell.
pub(crate) fn has_room(bundle: &Resources, needs: &Resources) -> bool {
    needs.iter().all(|need| {
        let there = bundle.iter().find(|one| one.identity == need.identity);
        match (there.map(|one| &one.value), &need.value) {
            (Some(Value::Scalar(there)), Value::Scalar(need)) => there >= need,
            (Some(Value::Ranges(there)), Value::Ranges(need)) => there.count() >= need.count(),
            (Some(Value::Set(there)), Value::Set(need)) => there.len() >= need.len(),
            _ => false,
        }
    })
}
