//! Control groups, version 2: probe, create, place, kill, read.
