//! One file per noun: fetch, render, print.

pub(crate) mod agent;
pub(crate) mod allocator;
pub(crate) mod app;
pub(crate) mod apply;
pub(crate) mod completions;
pub(crate) mod deployment;
pub(crate) mod dev;
pub(crate) mod drill;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod framework;
pub(crate) mod plugin;
pub(crate) mod run;
pub(crate) mod task;
pub(crate) mod version;
