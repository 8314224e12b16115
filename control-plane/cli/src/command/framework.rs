//! `tepui framework …`.

use serde_json::Value;

use crate::args::Framework as Verb;
use crate::client::{Api, Client};
use crate::fault::DONE;
use crate::model::Framework;
use crate::output::{self, Cell, Format, Table, Tone, number};

pub(crate) async fn run(client: &Client, format: Format, verb: Verb) -> anyhow::Result<u8> {
    let Verb::List { all } = verb;
    let answer: Value = client.get(Api::Mesos, "/frameworks").await?;
    let list = |name: &str| answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let (current, gone) = (list("frameworks"), list("completed_frameworks"));
    let gone = if all { gone } else { Vec::new() };
    match format {
        Format::Json | Format::Jsonl => output::print_json(format, &[current, gone].concat())?,
        Format::Table => {
            let read = |list: Vec<Value>| serde_json::from_value::<Vec<Framework>>(list.into());
            output::print_table(&table(&read(current)?, &read(gone)?))?;
        }
    }
    Ok(DONE)
}

fn table(current: &[Framework], gone: &[Framework]) -> Table {
    let mut table =
        Table::new(&["ID", "NAME", "STATUS", "USER", "ROLES", "TASKS", "CPUS", "MEM MiB"]);
    let current = current.iter().map(|framework| (framework, status(framework)));
    let gone = gone.iter().map(|framework| (framework, ("gone", Tone::Plain)));
    for (framework, (status, tone)) in current.chain(gone) {
        let roles = match &framework.role {
            Some(role) if framework.roles.is_empty() => role.clone(),
            _ => framework.roles.join(","),
        };
        table.row([
            framework.id.as_str().into(),
            framework.name.as_str().into(),
            Cell::toned(status, tone),
            framework.user.as_str().into(),
            roles.into(),
            framework.tasks.len().to_string().into(),
            number(framework.used_resources.cpus).into(),
            number(framework.used_resources.mem).into(),
        ]);
    }
    table
}

fn status(framework: &Framework) -> (&'static str, Tone) {
    match (framework.connected, framework.active, framework.recovered) {
        (true, true, _) => ("active", Tone::Good),
        (true, false, _) => ("inactive", Tone::Busy),
        (false, _, true) => ("recovered", Tone::Busy),
        (false, _, false) => ("disconnected", Tone::Bad),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn frameworks_show_their_state_and_roles() {
        let current: Vec<Framework> = serde_json::from_value(json!([
            {"id": "c-0000", "name": "marathon", "user": "root", "active": true, "connected": true,
             "roles": ["*", "web"], "tasks": [{}, {}], "used_resources": {"cpus": 0.2, "mem": 20}},
            {"id": "c-0001", "name": "old", "user": "u", "role": "*", "recovered": true}
        ]))
        .unwrap();
        assert_eq!(
            table(&current, &[]).render(false),
            "ID      NAME      STATUS     USER  ROLES  TASKS  CPUS  MEM MiB\n\
             c-0000  marathon  active     root  *,web  2      0.2   20\n\
             c-0001  old       recovered  u     *      0      0     0\n"
        );
    }
}
