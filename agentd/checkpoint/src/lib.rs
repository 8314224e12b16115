//! What survives a restart of the agent: a checksummed journal.
