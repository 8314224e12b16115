//! The Marathon v2 formats: apps, groups, tasks, deployments, queue, events; parsing, normalisation, validation, emission.
