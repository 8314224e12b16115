//! Marathon's REST API and event stream over HTTP.
