//! The Mesos HTTP surface: scheduler and operator APIs, legacy endpoints, metrics.
