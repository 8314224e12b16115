//! HTTP, HTTPS and TCP probes with time and size limits.
