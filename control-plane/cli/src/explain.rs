//! Why an app does not run: from the launch queue's reasons to sentences with numbers.

use serde::Serialize;

use crate::model::{Agent, App, OfferedResource, QueueItem, Rejects, UnusedOffer};
use crate::output::number;

/// The scalar resources of a definition with the reason that names each.
const SCALARS: [(&str, &str); 4] = [
    ("cpus", "InsufficientCpus"),
    ("mem", "InsufficientMemory"),
    ("disk", "InsufficientDisk"),
    ("gpus", "InsufficientGpus"),
];

/// Everything there is to say.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    pub(crate) app: String,
    pub(crate) running: u32,
    pub(crate) instances: u32,
    /// Instances still to launch.
    pub(crate) waiting: u32,
    /// One sentence.
    pub(crate) verdict: String,
    /// Seconds of back-off left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delay_seconds: Option<u64>,
    /// How many agents' offers failed at which check.
    pub(crate) funnel: Vec<Rejects>,
    /// What instances that are being started wait for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) starting: Vec<String>,
    /// What each agent lacks.
    pub(crate) agents: Vec<AgentVerdict>,
    /// What would help.
    pub(crate) unblock: Vec<String>,
}

/// Why the latest offer of one agent was not used.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AgentVerdict {
    pub(crate) hostname: String,
    pub(crate) agent_id: String,
    /// The API's names.
    pub(crate) reasons: Vec<String>,
    /// Sentences with numbers.
    pub(crate) lacks: Vec<String>,
}

/// Explains an app; `item` is its entry in the launch queue, if it has one; `agents` is `None` when
/// they are not known.
pub(crate) fn explain(
    app: &App,
    item: Option<&QueueItem>,
    agents: Option<&[Agent]>,
) -> Explanation {
    let mut explanation = Explanation {
        app: app.id.clone(),
        running: app.tasks_running,
        instances: app.instances,
        waiting: item.map_or(0, |item| item.count),
        verdict: String::new(),
        delay_seconds: item
            .filter(|item| !item.delay.overdue)
            .map(|item| item.delay.time_left_seconds),
        funnel: Vec::new(),
        starting: Vec::new(),
        agents: Vec::new(),
        unblock: Vec::new(),
    };
    let Some(item) = item else {
        explanation.verdict = without_entry(app);
        return explanation;
    };
    explanation.funnel = funnel(item);
    explanation.agents =
        item.last_unused_offers.iter().map(|unused| agent_verdict(app, unused)).collect();
    explanation.verdict = headline(app, item, agents);
    explanation.unblock = unblock(app, item, agents);
    explanation
}

fn without_entry(app: &App) -> String {
    let (running, wanted) = (app.tasks_running, app.instances);
    if wanted == 0 && running == 0 {
        return "it is suspended: 0 instances are asked for".to_owned();
    }
    if running >= wanted && app.tasks_unhealthy > 0 {
        return format!("{running} of {wanted} run, {} of them are unhealthy", app.tasks_unhealthy);
    }
    if running >= wanted {
        return format!("nothing waits: {running} of {wanted} instances run");
    }
    if app.tasks_staged > 0 {
        return format!("{running} of {wanted} run, {} are being started", app.tasks_staged);
    }
    format!("{running} of {wanted} run; the others are not in the launch queue (yet)")
}

/// The most telling sentence about a waiting app.
pub(crate) fn headline(app: &App, item: &QueueItem, agents: Option<&[Agent]>) -> String {
    if !item.delay.overdue {
        let seconds = item.delay.time_left_seconds;
        // One line has room for the first: `tepui app show` has them all.
        let failure =
            app.last_task_failure.as_ref().and_then(|one| one.message.trim().lines().next());
        return match failure {
            Some(message) => {
                format!("it fails and is started again in {seconds} s; last failure: {message}")
            }
            None => format!("it failed and is started again in {seconds} s"),
        };
    }
    if are_none(agents) {
        return "no agent is registered and active".to_owned();
    }
    let Some(top) = top_reason(item) else {
        return if item.processed_offers_summary.processed_offers_count == 0 {
            "no offer has come yet".to_owned()
        } else {
            "no offer was refused lately; it should start soon".to_owned()
        };
    };
    shortfall(app, item, &top).unwrap_or_else(|| sentence(app, &top))
}

/// Whether the app waits because nothing fits, as opposed to failing again and again.
pub(crate) fn is_placement(item: &QueueItem) -> bool {
    item.delay.overdue
}

/// Counts over the last offer of each agent, else since the launch attempt began; without zeros.
fn funnel(item: &QueueItem) -> Vec<Rejects> {
    let summary = &item.processed_offers_summary;
    [&summary.reject_summary_last_offers, &summary.reject_summary_launch_attempt]
        .into_iter()
        .map(|counts| counts.iter().filter(|count| count.declined > 0).cloned().collect::<Vec<_>>())
        .find(|counts| !counts.is_empty())
        .unwrap_or_default()
}

fn top_reason(item: &QueueItem) -> Option<String> {
    let counted = funnel(item).into_iter().max_by_key(|count| count.declined);
    let listed =
        || item.last_unused_offers.iter().find_map(|unused| unused.reason.first().cloned());
    counted.map(|count| count.reason).or_else(listed)
}

/// "needs 10000 cpus, best has 2 on node1", for reasons that are about an amount.
fn shortfall(app: &App, item: &QueueItem, reason: &str) -> Option<String> {
    let (name, _) = SCALARS.into_iter().find(|(_, of)| *of == reason)?;
    let wanted = amount(app, name);
    let best = item
        .last_unused_offers
        .iter()
        .map(|unused| (offered(&unused.offer.resources, name), unused.offer.hostname.as_str()))
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    Some(match best {
        Some((has, host)) => {
            format!("needs {} {}, best has {} on {host}", number(wanted), unit(name), number(has))
        }
        None => format!("needs {} {}, no agent offers so much", number(wanted), unit(name)),
    })
}

fn sentence(app: &App, reason: &str) -> String {
    match reason {
        "UnfulfilledRole" => format!(
            "no offered resources are of a role it may use ({})",
            accepted_roles(app).join(", ")
        ),
        "UnfulfilledConstraint" => {
            format!("its constraints are not met ({})", constraints(app).join("; "))
        }
        "NoCorrespondingReservationFound" => {
            "it waits for the agent that holds its reservation".to_owned()
        }
        "AgentMaintenance" => "agents that would fit are in maintenance".to_owned(),
        "InsufficientPorts" => format!("the ports it wants are not free ({})", ports(app)),
        "DeclinedScarceResources" => "agents with GPUs are kept for apps that need them".to_owned(),
        other => format!("offers are refused: {other}"),
    }
}

fn agent_verdict(app: &App, unused: &UnusedOffer) -> AgentVerdict {
    let lacks =
        unused.reason.iter().map(|reason| match SCALARS.into_iter().find(|(_, of)| of == reason) {
            Some((name, _)) => format!(
                "needs {} {}, has {}",
                number(amount(app, name)),
                unit(name),
                number(offered(&unused.offer.resources, name))
            ),
            None => sentence(app, reason),
        });
    AgentVerdict {
        hostname: unused.offer.hostname.clone(),
        agent_id: unused.offer.agent_id.clone(),
        reasons: unused.reason.clone(),
        lacks: lacks.collect(),
    }
}

fn are_none(agents: Option<&[Agent]>) -> bool {
    agents.is_some_and(|agents| agents.iter().all(|agent| !agent.active))
}

fn unblock(app: &App, item: &QueueItem, agents: Option<&[Agent]>) -> Vec<String> {
    let mut advice = Vec::new();
    if !item.delay.overdue {
        advice.push(format!(
            "see why it ends: `tepui app logs {0} --stderr`, `tepui app show {0}`",
            app.id
        ));
        advice.push(format!("`tepui app restart {}` starts it without waiting", app.id));
        return advice;
    }
    if are_none(agents) {
        advice.push("start an agent: `tepui-agentd` on a host, or `tepui dev` here".to_owned());
        return advice;
    }
    let seen = |reason: &str| {
        funnel(item).iter().any(|count| count.reason == reason)
            || item
                .last_unused_offers
                .iter()
                .any(|unused| unused.reason.iter().any(|r| r == reason))
    };
    for (name, reason) in SCALARS {
        if seen(reason) {
            advice.push(advice_for(app, name, agents.unwrap_or_default()));
        }
    }
    if seen("InsufficientPorts") {
        let fix = if app.require_ports {
            "set requirePorts to false, or free the ports"
        } else {
            "free ports of the agents, or ask for fewer"
        };
        advice.push(fix.to_owned());
    }
    if seen("UnfulfilledConstraint") {
        let list = constraints(app).join("; ");
        advice.push(format!("loosen a constraint ({list}), or add an agent that meets them"));
    }
    if seen("UnfulfilledRole") {
        advice.push("set acceptedResourceRoles to the roles that are offered".to_owned());
    }
    advice
}

/// Whether any agent could hold one instance at all, and what to do in either case.
fn advice_for(app: &App, name: &str, agents: &[Agent]) -> String {
    let (wanted, unit) = (amount(app, name), unit(name));
    let active = || agents.iter().filter(|agent| agent.active);
    let largest = active().max_by(|a, b| a.resources.of(name).total_cmp(&b.resources.of(name)));
    let Some(largest) = largest else { return "add an agent".to_owned() };
    let most = largest.resources.of(name);
    if most < wanted {
        return format!(
            "no agent is so large: ask for at most {} {unit} per instance, or add an agent with {}",
            number(most),
            number(wanted)
        );
    }
    let free = |agent: &Agent| agent.resources.of(name) - agent.used_resources.of(name);
    let freest = active().max_by(|a, b| free(a).total_cmp(&free(b))).unwrap_or(largest);
    let missing = (wanted - free(freest)).max(0.0);
    if missing == 0.0 {
        return format!(
            "{} has {} {unit} free now, but they are offered to someone else",
            freest.hostname,
            number(free(freest))
        );
    }
    format!(
        "free {} more {unit} on {} ({} of {} used), or add an agent",
        number(missing),
        freest.hostname,
        number(freest.used_resources.of(name)),
        number(freest.resources.of(name))
    )
}

fn amount(app: &App, name: &str) -> f64 {
    match name {
        "cpus" => app.cpus,
        "mem" => app.mem,
        "disk" => app.disk,
        _ => app.gpus,
    }
}

fn offered(resources: &[OfferedResource], name: &str) -> f64 {
    // A sum over nothing is -0.0.
    resources.iter().filter(|r| r.name == name).filter_map(|r| r.scalar).sum::<f64>() + 0.0
}

fn unit(name: &str) -> &'static str {
    match name {
        "cpus" => "cpus",
        "mem" => "MiB of memory",
        "disk" => "MiB of disk",
        _ => "gpus",
    }
}

fn accepted_roles(app: &App) -> Vec<String> {
    app.accepted_resource_roles.clone().unwrap_or_else(|| {
        let mut roles = vec!["*".to_owned()];
        roles.extend(app.role.clone().filter(|role| role != "*"));
        roles
    })
}

fn constraints(app: &App) -> Vec<String> {
    app.constraints.iter().map(|parts| parts.join(" ")).collect()
}

fn ports(app: &App) -> String {
    let ports: Vec<String> =
        app.port_definitions.iter().map(|port| port.port.to_string()).collect();
    if app.require_ports { ports.join(", ") } else { format!("{} ports", ports.len()) }
}

/// The text for people.
pub(crate) fn render(explanation: &Explanation) -> String {
    let Explanation { app, running, instances, waiting, verdict, .. } = explanation;
    let mut text = format!("{app}: {running} of {instances} running");
    if *waiting > 0 {
        text.push_str(&format!(", {waiting} waiting"));
    }
    text.push_str(&format!("\n  {verdict}\n"));
    for sentence in &explanation.starting {
        text.push_str(&format!("  {sentence}\n"));
    }
    if !explanation.funnel.is_empty() {
        text.push_str("\nOffers refused, by the first check that failed:\n");
        for count in &explanation.funnel {
            text.push_str(&format!(
                "  {:<32} {} of {}\n",
                count.reason, count.declined, count.processed
            ));
        }
    }
    if !explanation.agents.is_empty() {
        text.push_str("\nAgents:\n");
        for agent in &explanation.agents {
            text.push_str(&format!("  {}: {}\n", agent.hostname, agent.lacks.join("; ")));
        }
    }
    if !explanation.unblock.is_empty() {
        text.push_str("\nWhat would help:\n");
        for advice in &explanation.unblock {
            text.push_str(&format!("  - {advice}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests;
