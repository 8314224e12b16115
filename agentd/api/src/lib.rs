//! The agent's own endpoints, the executor protocol, and sandbox files.
