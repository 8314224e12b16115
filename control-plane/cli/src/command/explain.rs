//! `tepui explain APP`.

use crate::client::Client;
use crate::explain;
use crate::fault::DONE;
use crate::output::{self, Format};
use crate::pulling::pulling;

pub(crate) async fn run(client: &Client, format: Format, given: &str) -> anyhow::Result<u8> {
    let app = client.app(given).await?;
    let queue = client.queue().await?;
    let agents = match client.agents().await {
        Ok(agents) => Some(agents),
        Err(error) => {
            eprintln!("explaining without the agents: {error:#}");
            None
        }
    };
    let item = queue.queue.iter().find(|item| item.app.as_ref().is_some_and(|a| a.id == app.id));
    let mut explanation = explain::explain(&app, item, agents.as_deref());
    let pulling = pulling(client, &app, agents.as_deref().unwrap_or_default()).await;
    explanation.starting = pulling.into_values().collect();
    match format {
        Format::Json | Format::Jsonl => output::print_json(format, &explanation)?,
        Format::Table => output::print(&explain::render(&explanation))?,
    }
    Ok(DONE)
}
