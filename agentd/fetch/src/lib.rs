//! The fetcher: downloads and unpacks artifacts into a sandbox, nothing outside it.
