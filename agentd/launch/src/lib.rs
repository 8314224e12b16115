//! Launchers behind one trait, and the shim that outlives the daemon.
