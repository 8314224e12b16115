//! Who is offered what: hierarchical DRF with weights and filters, incremental.
