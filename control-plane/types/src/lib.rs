//! Shared vocabulary: ids, resources and units, roles, attributes, time, task states.
