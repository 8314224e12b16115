//! Durable records behind one trait: in memory and embedded.
