use tepui_types::Term;

/// One thing that happened to the leader.
#[derive(Debug)]
pub enum Event {
    /// This process leads from now on, with everything that was durable. Always the first event.
    Elected {
        /// The leader's term.
        term: Term,
        /// The registry.
        cluster: Vec<tepui_cluster::Record>,
        /// The apps' records.
        apps: Vec<tepui_apps::Record>,
    },
    /// Something happened to the cluster.
    Cluster(tepui_cluster::Event),
    /// Something happened to the apps.
    Apps(tepui_apps::Event),
    /// Time passed; due timers fire.
    Tick,
}
