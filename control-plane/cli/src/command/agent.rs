//! `tepui agent …`.

use serde_json::Value;

use crate::args::Agent as Verb;
use crate::client::{Api, Client};
use crate::fault::DONE;
use crate::model::{Agent, Amounts};
use crate::output::{self, Cell, Format, Table, Tone, number};

pub(crate) async fn run(client: &Client, format: Format, verb: Verb) -> anyhow::Result<u8> {
    let Verb::List = verb;
    let answer: Value = client.get(Api::Mesos, "/slaves").await?;
    let list = answer.get("slaves").cloned().unwrap_or_default();
    match format {
        Format::Json | Format::Jsonl => output::print_json(format, &list)?,
        Format::Table => output::print_table(&table(&serde_json::from_value::<Vec<Agent>>(list)?))?,
    }
    Ok(DONE)
}

fn table(agents: &[Agent]) -> Table {
    let mut table =
        Table::new(&["ID", "HOST", "STATUS", "CPUS", "MEM MiB", "DISK MiB", "ATTRIBUTES"]);
    for agent in agents {
        let (status, tone) = match (agent.active, agent.deactivated) {
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
    use serde_json::json;

    use super::*;

    #[test]
    fn agents_show_what_is_used_of_what_they_have() {
        let agents: Vec<Agent> = serde_json::from_value(json!([
            {"id": "c-S0", "hostname": "node1", "active": true, "port": 5051,
             "pid": "slave(1)@10.0.0.1:5051", "attributes": {"rack": "a", "n": 2.0},
             "resources": {"cpus": 4.0, "mem": 2048.0, "disk": 100.0, "ports": "[1-2]"},
             "used_resources": {"cpus": 0.5}},
            {"id": "c-S1", "hostname": "node2", "active": false}
        ]))
        .unwrap();
        assert_eq!(agents[0].url(), "http://10.0.0.1:5051");
        assert_eq!(
            table(&agents).render(false),
            "ID    HOST   STATUS        CPUS   MEM MiB  DISK MiB  ATTRIBUTES\n\
             c-S0  node1  active        0.5/4  0/2048   0/100     n:2.0;rack:a\n\
             c-S1  node2  disconnected  0/0    0/0      0/0\n"
        );
    }
}
