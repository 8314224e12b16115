//! Plugins of the control plane: loaded at the start and when the configuration is read anew.

use std::sync::Arc;

use tepui_plugin_host::{BUILT_IN, Board, PluginAllocator};
use tepui_process::{Hangups, seed};
use tracing::{error, info};

use crate::Configured;
use crate::allocation::Allocation;
use crate::config::Config;

/// Who puts plugins in force.
pub struct Plugins {
    pub allocation: Allocation,
    pub board: Arc<Board>,
}

impl Plugins {
    /// Puts in force what is configured, and again at each SIGHUP. A plugin that cannot be used is told
    /// by log, metrics and list, and whoever decided before goes on: a cluster without allocator would
    /// stand still.
    pub async fn follow(self, config: Config, source: Configured, reloads: Option<Hangups>) {
        if config.allocator != BUILT_IN {
            self.seat(config).await;
        }
        let Some(mut reloads) = reloads else { return };
        loop {
            reloads.next().await;
            match source.read_anew() {
                Ok(config) => {
                    info!(
                        allocator = config.allocator,
                        "allocator and plugins read anew, other keys hold from the next start"
                    );
                    self.seat(config).await;
                }
                Err(problem) => error!(problem, "configuration not read anew, nothing changes"),
            }
        }
    }

    async fn seat(&self, config: Config) {
        if config.allocator == BUILT_IN {
            self.allocation.swap(None);
            return;
        }
        let board = self.board.clone();
        // Offers go on meanwhile: libraries take their time.
        let opened = tokio::task::spawn_blocking(move || {
            let seed = seed().unwrap_or_default();
            PluginAllocator::open(&config.shelf, &config.allocator, seed, &board)
        });
        // The board said why, if it was refused.
        if let Ok(Ok(plugin)) = opened.await {
            self.allocation.swap(Some(plugin));
        }
    }
}
