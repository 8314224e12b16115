//! `tepui agent …`.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::args::{Agent as Verb, Drain};
use crate::client::{Api, Client};
use crate::fault::{DONE, Fault};
use crate::model::{Agent, Amounts};
use crate::output::{self, Cell, Format, Table, Tone, number};

/// Pause between two looks at an agent that drains.
const POLL: Duration = Duration::from_millis(500);

pub(crate) async fn run(client: &Client, format: Format, verb: Verb) -> anyhow::Result<u8> {
    match verb {
        Verb::List => list(client, format).await,
        Verb::Drain(verb) => drain(client, &verb).await,
        Verb::Deactivate { agent } => switch(client, &agent, "DEACTIVATE_AGENT").await,
        Verb::Activate { agent } => switch(client, &agent, "REACTIVATE_AGENT").await,
    }
}

async fn list(client: &Client, format: Format) -> anyhow::Result<u8> {
    let answer: Value = client.get(Api::Mesos, "/slaves").await?;
    let list = answer.get("slaves").cloned().unwrap_or_default();
    match format {
        Format::Json | Format::Jsonl => output::print_json(format, &list)?,
        Format::Table => output::print_table(&table(&serde_json::from_value::<Vec<Agent>>(list)?))?,
    }
    Ok(DONE)
}

/// The agent of an id or a host's name.
fn pick<'a>(agents: &'a [Agent], given: &str) -> Result<&'a Agent, Fault> {
    let by_id = agents.iter().find(|agent| agent.id == given);
    let of_host: Vec<_> = agents.iter().filter(|agent| agent.hostname == given).collect();
    match (by_id, of_host.as_slice()) {
        (Some(agent), _) => Ok(agent),
        (None, [agent]) => Ok(*agent),
        (None, []) => Err(Fault::new(format!("no agent '{given}' is registered"))
            .fix("tepui agent list shows ids and hosts")),
        (None, _) => Err(Fault::new(format!("host '{given}' has several agents"))
            .fix("name one by its id; tepui agent list shows them")),
    }
}

/// A call of the operator API that is about one agent.
async fn tell(client: &Client, kind: &str, part: &Value) -> anyhow::Result<()> {
    let body = json!({"type": kind, kind.to_lowercase(): part});
    client.send(Api::Mesos, Method::POST, "/api/v1", Some(&body)).await?;
    Ok(())
}

async fn switch(client: &Client, given: &str, kind: &str) -> anyhow::Result<u8> {
    let agents = client.agents().await?;
    let agent = pick(&agents, given)?;
    tell(client, kind, &json!({"agent_id": {"value": agent.id}})).await?;
    Ok(DONE)
}

async fn drain(client: &Client, verb: &Drain) -> anyhow::Result<u8> {
    let agents = client.agents().await?;
    let id = pick(&agents, &verb.agent)?.id.clone();
    let mut part = json!({"agent_id": {"value": id}, "mark_gone": verb.mark_gone});
    if let Some(grace) = verb.grace {
        let period = json!({"seconds": grace.as_secs(), "nanos": grace.subsec_nanos()});
        part["max_grace_period"] = period;
    }
    tell(client, "DRAIN_AGENT", &part).await?;
    if verb.detach {
        return Ok(DONE);
    }
    let deadline = verb.timeout.map(|timeout| Instant::now() + timeout);
    let mut said = None;
    loop {
        let agents = client.agents().await?;
        let Some(agent) = agents.iter().find(|agent| agent.id == id) else {
            eprintln!("{id} is gone");
            return Ok(DONE);
        };
        if agent.drain_info.as_ref().is_some_and(|drain| drain.state == "DRAINED") {
            eprintln!("{id} is drained; tepui agent activate {id} offers it again");
            return Ok(DONE);
        }
        let held = (agent.used_resources.cpus, agent.used_resources.mem);
        if said != Some(held) {
            eprintln!("{id} drains: {} cpus, {} MiB still held", number(held.0), number(held.1));
            said = Some(held);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let fault = Fault::new(format!("{id} is not empty yet; it goes on to drain"));
            return Err(fault.fix("tasks end with their grace: --grace bounds it").into());
        }
        tokio::time::sleep(POLL).await;
    }
}

fn table(agents: &[Agent]) -> Table {
    let mut table =
        Table::new(&["ID", "HOST", "STATUS", "CPUS", "MEM MiB", "DISK MiB", "ATTRIBUTES"]);
    for agent in agents {
        let drains = agent.drain_info.as_ref().map(|drain| drain.state.to_lowercase());
        let (status, tone) = match (agent.active, agent.deactivated) {
            _ if drains.is_some() => (drains.as_deref().unwrap_or_default(), Tone::Busy),
            (_, true) => ("deactivated", Tone::Busy),
            (true, false) => ("active", Tone::Good),
            (false, false) => ("disconnected", Tone::Bad),
        };
        let share = |of: fn(&Amounts) -> f64| -> Cell {
            format!("{}/{}", number(of(&agent.used_resources)), number(of(&agent.resources))).into()
        };
        let attributes: Vec<String> = agent
            .attributes
            .iter()
            .map(|(name, value)| match value {
                Value::String(text) => format!("{name}:{text}"),
                other => format!("{name}:{other}"),
            })
            .collect();
        table.row([
            agent.id.as_str().into(),
            agent.hostname.as_str().into(),
            Cell::toned(status, tone),
            share(|amounts| amounts.cpus),
            share(|amounts| amounts.mem),
            share(|amounts| amounts.disk),
            attributes.join(";").into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_show_what_is_used_of_what_they_have() {
        let agents: Vec<Agent> = serde_json::from_value(json!([
            {"id": "c-S0", "hostname": "node1", "active": true, "port": 5051,
             "pid": "slave(1)@10.0.0.1:5051", "attributes": {"rack": "a", "n": 2.0},
             "drain_info": null, "resources": {"cpus": 4.0, "mem": 2048.0, "disk": 100.0, "ports": "[1-2]"},
             "used_resources": {"cpus": 0.5}},
            {"id": "c-S1", "hostname": "node2", "active": false},
            {"id": "c-S2", "hostname": "node2", "deactivated": true,
             "drain_info": {"state": "DRAINING", "config": {"mark_gone": false}}}
        ]))
        .unwrap();
        assert_eq!(agents[0].url(), "http://10.0.0.1:5051");
        assert_eq!(
            table(&agents).render(false),
            "ID    HOST   STATUS        CPUS   MEM MiB  DISK MiB  ATTRIBUTES\n\
             c-S0  node1  active        0.5/4  0/2048   0/100     n:2.0;rack:a\n\
             c-S1  node2  disconnected  0/0    0/0      0/0\n\
             c-S2  node2  draining      0/0    0/0      0/0\n"
        );
    }

    #[test]
    fn an_agent_is_named_by_its_id_or_by_a_host_that_is_its_own() {
        let agent = |id: &str, hostname: &str| Agent {
            id: id.into(),
            hostname: hostname.into(),
            ..Agent::default()
        };
        let agents = [agent("c-S0", "one"), agent("c-S1", "two"), agent("c-S2", "two")];
        assert_eq!(pick(&agents, "c-S1").unwrap().id, "c-S1");
        assert_eq!(pick(&agents, "one").unwrap().id, "c-S0");
        assert_eq!(pick(&agents, "two").unwrap_err().to_string(), "host 'two' has several agents");
        assert!(pick(&agents, "three").is_err());
    }
}
