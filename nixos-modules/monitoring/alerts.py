"""Alerts and recording rules: what is written to rules/, runbook.md and tests/."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recording:
    """A series that dashboards and alerts share."""

    name: str
    expr: str


@dataclass(frozen=True)
class Fires:
    """A case in which an alert fires: series of one value a minute, when, and what it says."""

    series: dict[str, str]
    at: str
    labels: dict[str, str]
    says: str


@dataclass(frozen=True)
class Alert:
    """An alert with everything that is said about it."""

    name: str
    severity: str
    expr: str
    holds: str
    """For how long it must be true; empty fires at once."""
    summary: str
    description: str
    means: str
    look: list[str]
    do: list[str]
    fires: Fires
    quiet: dict[str, str]
    """Series with which it stays quiet, until the time at which the other case fires."""
    dashboard: str = "cluster"


RECORDINGS = [
    Recording(
        "app:tepui_cpu_throttled:ratio5m",
        "sum by (app) (rate(tepui_task_cpu_throttled_periods_total[5m]))"
        " / (sum by (app) (rate(tepui_task_cpu_periods_total[5m])) > 0)",
    ),
    Recording(
        "app:tepui_memory_working_set:ratio",
        "max by (app) (tepui_task_memory_working_set_bytes"
        " / (tepui_task_memory_limit_bytes > 0))",
    ),
    Recording(
        "app:tepui_memory_pressure:ratio5m",
        'max by (app) (rate(tepui_task_pressure_seconds_total{resource="memory", kind="full"}[5m]))',
    ),
    Recording(
        "route:tepui_http_request_duration_seconds:p99_5m",
        "histogram_quantile(0.99, sum by (route, le)"
        " (rate(tepui_http_request_duration_seconds_bucket[5m])))",
    ),
    Recording(
        "cluster:tepui_placement_latency_seconds:p99_5m",
        "histogram_quantile(0.99, sum by (le) (rate(tepui_placement_latency_seconds_bucket[5m])))",
    ),
]

OOM = 'tepui_app_exits_total{reason="container_limitation_memory"}'

ALERTS = [
    Alert(
        name="TepuiNoLeader",
        severity="critical",
        expr="absent(tepui_leader == 1)",
        holds="1m",
        summary="No control plane leads",
        description="Nobody has led the cluster for a minute: tasks go on, nothing is launched,"
        " killed or answered.",
        means="Every control plane that is scraped either stands by or does not answer. A change of"
        " leader takes less than a few seconds, so this is not one.",
        look=[
            "`systemctl status tepui-control-plane` on each of their hosts, and its journal.",
            "With a shared store: does etcd or ZooKeeper answer, and does it have a quorum?",
            "`curl http://HOST:5050/health` from the host of Prometheus: a firewall looks the same.",
        ],
        do=[
            "Bring the store back first: a control plane stands up by itself once it can write.",
            "A store that says that it is full needs room; nothing is lost meanwhile.",
            "Start one control plane. Agents come back to whoever leads, with all their tasks.",
        ],
        fires=Fires({'tepui_leader{instance="a"}': "0x5"}, "3m", {}, ""),
        quiet={'tepui_leader{instance="a"}': "0x5", 'tepui_leader{instance="b"}': "1x5"},
    ),
    Alert(
        name="TepuiLeaderFlapping",
        severity="warning",
        expr="max(increase(tepui_leader_changes_total[15m])) > 2",
        holds="",
        summary="The leader changes again and again",
        description="{{ $value | humanize }} changes of leader in 15 minutes.",
        means="Each change costs frameworks and agents a reconnection. One is an upgrade or a fault,"
        " many are a store that is too slow for the lease, or a host that stops now and then.",
        look=[
            "`tepui_log_commit_seconds`: the lease is renewed by commits.",
            "The journals of the control planes: why did each of them end (code 103: overtaken)?",
            "Pauses of the hosts: memory, disk, a hypervisor that stops them.",
        ],
        do=[
            "Give the store disks of its own, or its hosts more memory.",
            "Raise `lease_seconds` of all control planes, if the store cannot be made faster.",
        ],
        fires=Fires(
            {'tepui_leader_changes_total{instance="a"}': "0+1x20"}, "15m", {},
            "15 changes of leader in 15 minutes.",
        ),
        quiet={'tepui_leader_changes_total{instance="a"}': "1x20"},
    ),
    Alert(
        name="TepuiDaemonDown",
        severity="warning",
        expr='up{job=~"tepui-control-plane|tepui-agent"} == 0',
        holds="2m",
        summary="A daemon does not answer Prometheus",
        description="{{ $labels.job }} at {{ $labels.instance }} has not answered for two minutes.",
        means="Prometheus cannot read the daemon's `/metrics`. Tasks of an agent go on without it.",
        look=["The daemon's unit and journal on its host.", "Whether the host itself answers."],
        do=[
            "Start the daemon; tasks are found again.",
            "Take hosts that are gone for good out of `services.tepui.monitoring`.",
        ],
        fires=Fires(
            {'up{job="tepui-agent", instance="h:5051"}': "0x5"}, "4m",
            {"job": "tepui-agent", "instance": "h:5051"},
            "tepui-agent at h:5051 has not answered for two minutes.",
        ),
        quiet={'up{job="tepui-agent", instance="h:5051"}': "1x5",
               'up{job="other", instance="h:1"}': "0x5"},
    ),
    Alert(
        name="TepuiAgentsUnreachable",
        severity="warning",
        expr='max(tepui_agents{state="unreachable"}) > 0',
        holds="2m",
        summary="Agents are unreachable",
        description="{{ $value }} agents do not answer; their apps' tasks start elsewhere.",
        means="The leader has not heard of them for `agent_patience_seconds`. Their tasks may well run.",
        look=["`tepui agent list`.", "Network and power of those hosts."],
        do=[
            "Bring the hosts back: tasks that still run there are taken over, or ended if replaced.",
            "A host that never returns: `MARK_AGENT_GONE`, so that nothing waits for it.",
        ],
        fires=Fires(
            {'tepui_agents{state="unreachable", instance="a"}': "0 2x5"}, "4m", {},
            "2 agents do not answer; their apps' tasks start elsewhere.",
        ),
        quiet={'tepui_agents{state="unreachable", instance="a"}': "2 2 0x5"},
        dashboard="agent",
    ),
    Alert(
        name="TepuiCapacityNear",
        severity="warning",
        expr="max(tepui_cluster_cpus_allocated / tepui_cluster_cpus) > 0.9"
        " or max(tepui_cluster_memory_allocated_bytes / tepui_cluster_memory_bytes) > 0.9"
        " or max(tepui_cluster_disk_allocated_bytes / tepui_cluster_disk_bytes) > 0.9",
        holds="15m",
        summary="The cluster is nearly full",
        description="{{ $value | humanizePercentage }} of a resource is allocated.",
        means="There is little left to replace tasks of a lost host with.",
        look=["Dashboard *cluster*: which resource, and which role holds it."],
        do=["Add agents.", "Scale down what does not need what it reserved: *used* against *reserved*."],
        fires=Fires(
            {"tepui_cluster_cpus_allocated": "95x20", "tepui_cluster_cpus": "100x20"}, "16m", {},
            "95% of a resource is allocated.",
        ),
        quiet={"tepui_cluster_cpus_allocated": "80x20", "tepui_cluster_cpus": "100x20"},
    ),
    Alert(
        name="TepuiAppWaiting",
        severity="warning",
        expr='max by (app, reason) (tepui_app_waiting_instances) > 0'
        ' and on (app) max by (app) (min_over_time(tepui_app_instances{state="waiting"}[10m])) > 0'
        ' and on (app) max by (app) (tepui_app_instances{state="waiting"} offset 10m) > 0',
        holds="",
        summary="An app waits for resources",
        description="{{ $value }} instances of {{ $labels.app }} have waited for ten minutes:"
        " {{ $labels.reason }}.",
        means="No offer fits. The reason is what most agents' last offers lacked first, in the words"
        " of `/v2/queue`; `Delayed` is an app that fails and whose next launch is put off,"
        " `NoOffers` one that was offered nothing at all.",
        look=["`tepui explain APP`: the funnel by reason, and numbers per agent."],
        do=[
            "`Insufficient…`: add agents, or ask for less.",
            "`UnfulfilledConstraint`: no agent that is left satisfies the constraints.",
            "`UnfulfilledRole`: nobody offers resources to this role.",
            "`Delayed`: see TepuiTaskCrashLoop.",
        ],
        fires=Fires(
            {'tepui_app_waiting_instances{app="/a", reason="InsufficientMemory"}': "2x15",
             'tepui_app_instances{app="/a", state="waiting"}': "2x15"}, "11m",
            {"app": "/a", "reason": "InsufficientMemory"},
            "2 instances of /a have waited for ten minutes: InsufficientMemory.",
        ),
        quiet={'tepui_app_waiting_instances{app="/a", reason="InsufficientMemory"}': "2x15",
               'tepui_app_instances{app="/a", state="waiting"}': "2x5 0 2x15"},
        dashboard="app",
    ),
    Alert(
        name="TepuiDeploymentStuck",
        severity="warning",
        expr="max by (app) (tepui_app_deployment_age_seconds) > 1800",
        holds="",
        summary="A deployment does not end",
        description="{{ $labels.app }} has been deploying for {{ $value | humanizeDuration }}.",
        means="New instances do not get healthy or ready, or wait for resources. Old ones stay, as far"
        " as `minimumHealthCapacity` says, so the app serves.",
        look=["`tepui app show APP`, `tepui explain APP`.", "Health and readiness checks of the new version."],
        do=[
            "Mend the app and deploy again with `--force`, which takes the place of this one.",
            "`tepui deployment cancel ID` (DELETE `/v2/deployments/ID`) goes back.",
        ],
        fires=Fires(
            {'tepui_app_deployment_age_seconds{app="/a"}': "0+60x40"}, "35m", {"app": "/a"},
            "/a has been deploying for 35m 0s.",
        ),
        quiet={'tepui_app_deployment_age_seconds{app="/a"}': "0+30x40"},
        dashboard="app",
    ),
    Alert(
        name="TepuiTaskCrashLoop",
        severity="warning",
        expr="sum by (app) (increase(tepui_task_restarts_total[10m])) > 3",
        holds="",
        summary="An app's tasks end and start again",
        description="Tasks of {{ $labels.app }} were started again {{ $value | humanize }} times in"
        " ten minutes.",
        means="They end soon after their start. Each failure puts the next launch off"
        " (`backoffSeconds`, `backoffFactor`).",
        look=[
            "`tepui app show APP`: the last failure, with what the kernel counted and the last lines.",
            "`tepui logs APP --previous`.",
            "`tepui_app_exits_total` by reason.",
        ],
        do=["Mend the app, or go back to a version that ran.", "Lost hosts look the same: see TepuiAgentsUnreachable."],
        fires=Fires(
            {'tepui_task_restarts_total{app="/a"}': "0+1x15"}, "10m", {"app": "/a"},
            "Tasks of /a were started again 10 times in ten minutes.",
        ),
        quiet={'tepui_task_restarts_total{app="/a"}': "0x5 2x10"},
        dashboard="app",
    ),
    Alert(
        name="TepuiTaskOOM",
        severity="warning",
        expr=f"sum by (app) (increase({OOM}[30m])) > 0"
        " or sum by (app) (increase(tepui_task_oom_kills_total[30m])) > 0",
        holds="",
        summary="The kernel killed processes of an app for lack of memory",
        description="{{ $labels.app }} exceeded its memory within the last 30 minutes.",
        means="A task reached its memory limit: its `mem`, or less where it asked for less.",
        look=["Dashboard *app*: working set against limit.", "The task's status: it names peak and limit."],
        do=["Raise `mem`.", "Find the leak: a rising working set that ends at the limit."],
        fires=Fires(
            {OOM[:-1] + ', app="/a", state="failed"}': "0x5 1x10"}, "8m", {"app": "/a"},
            "/a exceeded its memory within the last 30 minutes.",
        ),
        quiet={OOM[:-1] + ', app="/a", state="failed"}': "1x60"},
        dashboard="app",
    ),
    Alert(
        name="TepuiCpuThrottlingHigh",
        severity="warning",
        expr="app:tepui_cpu_throttled:ratio5m > 0.25",
        holds="15m",
        summary="An app is held back by its processor quota",
        description="Tasks of {{ $labels.app }} are throttled in {{ $value | humanizePercentage }} of"
        " their periods.",
        means="They want more processor time than their quota, and wait in each such period.",
        look=["Dashboard *app*: throttling beside run-queue latency and who preempted."],
        do=["Raise `cpus`.", "Fewer threads than `cpus`: many threads use a quota up at once."],
        fires=Fires(
            {'tepui_task_cpu_throttled_periods_total{app="/a", task="1"}': "0+300x30",
             'tepui_task_cpu_periods_total{app="/a", task="1"}': "0+600x30"}, "25m", {"app": "/a"},
            "Tasks of /a are throttled in 50% of their periods.",
        ),
        quiet={'tepui_task_cpu_throttled_periods_total{app="/a", task="1"}': "0+60x30",
               'tepui_task_cpu_periods_total{app="/a", task="1"}': "0+600x30"},
        dashboard="app",
    ),
    Alert(
        name="TepuiMemoryPressureHigh",
        severity="warning",
        expr="app:tepui_memory_pressure:ratio5m > 0.1",
        holds="5m",
        summary="An app stands still for lack of memory",
        description="All of a task of {{ $labels.app }} waited for memory"
        " {{ $value | humanizePercentage }} of the time.",
        means="The kernel takes memory back from the task while it wants more: it thrashes.",
        look=["Dashboard *app*: pressure, working set against limit, major faults."],
        do=["Raise `mem`."],
        fires=Fires(
            {'tepui_task_pressure_seconds_total{app="/a", resource="memory", kind="full"}':
             "0+12x20"}, "15m", {"app": "/a"},
            "All of a task of /a waited for memory 20% of the time.",
        ),
        quiet={'tepui_task_pressure_seconds_total{app="/a", resource="memory", kind="full"}':
               "0+3x20"},
        dashboard="app",
    ),
    Alert(
        name="TepuiDiskQuotaNear",
        severity="warning",
        expr="max by (app, task) (tepui_task_disk_bytes / (tepui_task_disk_limit_bytes > 0)) > 0.9",
        holds="5m",
        summary="A task's sandbox is nearly full",
        description="{{ $labels.task }} uses {{ $value | humanizePercentage }} of its disk.",
        means="At its limit the task fails, or its writes do (`isolators/README.md` says which).",
        look=["`tepui exec APP/N -- du -x .`, or its sandbox in `/files/browse`."],
        do=["Raise `disk`.", "Have the task rotate what it writes; stdout and stderr are rotated already."],
        fires=Fires(
            {'tepui_task_disk_bytes{app="/a", task="t"}': "95x10",
             'tepui_task_disk_limit_bytes{app="/a", task="t"}': "100x10"}, "6m",
            {"app": "/a", "task": "t"}, "t uses 95% of its disk.",
        ),
        quiet={'tepui_task_disk_bytes{app="/a", task="t"}': "95x10"},
        dashboard="app",
    ),
    Alert(
        name="TepuiOfferAgeHigh",
        severity="warning",
        expr="max by (framework) (tepui_offer_age_seconds) > 300",
        holds="1m",
        summary="A framework sits on its offers",
        description="{{ $labels.framework }} has held an offer for {{ $value | humanizeDuration }}.",
        means="What is in an offer is kept from all others. Frameworks should accept or decline soon.",
        look=["Dashboard *allocator and plugins*.", "The framework's own log."],
        do=["Set `offer_timeout_seconds` of the control plane: offers are taken back then.", "Mend or restart the framework."],
        fires=Fires(
            {'tepui_offer_age_seconds{framework="f"}': "0+60x10"}, "8m", {"framework": "f"},
            "f has held an offer for 8m 0s.",
        ),
        quiet={'tepui_offer_age_seconds{framework="f"}': "0+30x10"},
        dashboard="allocator",
    ),
    Alert(
        name="TepuiPortViolation",
        severity="warning",
        expr="sum by (app, op) (increase(tepui_task_port_denied_total[10m])) > 0",
        holds="",
        summary="A task wants ports that it was not offered",
        description="Tasks of {{ $labels.app }} were refused ports"
        " {{ $value | humanize }} times ({{ $labels.op }}).",
        means="A task tried to bind, or to listen on, a port outside of its offer; the kernel refused.",
        look=["The status and error output of the task: bind answers EPERM.", "`tepui app show APP`: its last failure names the port; else the agent's log with `TEPUI_LOG=debug`."],
        do=["Have the app listen on `$PORT0`.", "Or ask for that very port: `requirePorts`, `portDefinitions`."],
        fires=Fires(
            {'tepui_task_port_denied_total{app="/a", op="bind"}': "0x5 3x10"}, "8m",
            {"app": "/a", "op": "bind"}, "Tasks of /a were refused ports 3 times (bind).",
        ),
        quiet={'tepui_task_port_denied_total{app="/a", op="bind"}': "3x15"},
        dashboard="app",
    ),
    Alert(
        name="TepuiForeignPorts",
        severity="warning",
        expr="sum by (instance) (increase(tepui_agent_foreign_ports_total[10m])) > 0",
        holds="",
        summary="Tasks listen on ports that are not theirs",
        description="On {{ $labels.instance }} tasks were seen on ports of others.",
        means="The agent saw it and the kernel did not refuse it: ports are not enforced there"
        " (`tepui_agent_port_enforcement`).",
        look=["`GET /tepui/v1/kernel` of the agent: why the kernel does not enforce."],
        do=["Run the agent as root on a host with control groups version 2.", "Mend the app: see TepuiPortViolation."],
        fires=Fires(
            {'tepui_agent_foreign_ports_total{instance="h:5051"}': "0x5 2x10"}, "8m",
            {"instance": "h:5051"}, "On h:5051 tasks were seen on ports of others.",
        ),
        quiet={'tepui_agent_foreign_ports_total{instance="h:5051"}': "2x15"},
        dashboard="agent",
    ),
    Alert(
        name="TepuiEbpfEventsLost",
        severity="info",
        expr="sum by (instance) (increase(tepui_ebpf_events_lost_total[10m])) > 0",
        holds="",
        summary="Reports of the kernel's programs found no room",
        description="{{ $labels.instance }} lost {{ $value | humanize }} reports in ten minutes.",
        means="The agent did not take reports as fast as they came. What they are about is counted all"
        " the same; only details (who was refused which port, how a process ended) are missing.",
        look=["The agent's share of the processors: is the host overcommitted?"],
        do=["`--accounting` with fewer figures.", "Reserve more of the host for the system."],
        fires=Fires(
            {'tepui_ebpf_events_lost_total{instance="h:5051"}': "0x5 7x10"}, "8m",
            {"instance": "h:5051"}, "h:5051 lost 7 reports in ten minutes.",
        ),
        quiet={'tepui_ebpf_events_lost_total{instance="h:5051"}': "7x15"},
        dashboard="agent",
    ),
    Alert(
        name="TepuiCertExpiry",
        severity="warning",
        expr="min by (instance, setting) (tepui_certificate_not_after_seconds) - time() < 14 * 86400",
        holds="",
        summary="A certificate ends soon",
        description="{{ $labels.setting }} of {{ $labels.instance }} names a certificate that is good for"
        " {{ $value | humanizeDuration }} more.",
        means="With it a daemon and the shared store trust each other. After its end no new connection is"
        " made: no control plane can lead, and agents that ask the store find nobody. Tasks go on.",
        look=[
            "`openssl x509 -noout -enddate -subject -in FILE` of the file that the setting names; of several"
            " in it the first to end counts.",
            "The certificates of the store's own servers: nobody but they themselves shows those.",
        ],
        do=[
            "Put a new one in its place. Connections made from then on use it; the figure follows the file.",
            "`systemctl restart tepui-control-plane`, one host after the other, so that none holds the old"
            " one until it ends.",
        ],
        fires=Fires(
            {'tepui_certificate_not_after_seconds{instance="h:5050", setting="store_cert_file"}':
             "86580x10"},
            "3m", {"instance": "h:5050", "setting": "store_cert_file"},
            "store_cert_file of h:5050 names a certificate that is good for 1d 0h 0m 0s more.",
        ),
        quiet={'tepui_certificate_not_after_seconds{instance="h:5050", setting="store_ca_file"}':
               "1300000x10"},
    ),
    Alert(
        name="TepuiPluginUnhealthy",
        severity="warning",
        expr="min by (instance, kind, plugin) (tepui_plugin_healthy) == 0",
        holds="",
        summary="A plugin is out of use",
        description="The {{ $labels.kind }} {{ $labels.plugin }} of {{ $labels.instance }} failed or was"
        " refused: it is not in use as it is configured.",
        means="The daemon did not take the plugin, or put it out of use when it failed. An allocator that"
        " is built in decides in its place; of an isolator, nothing is set for new tasks.",
        look=[
            "`tepui plugin list`, for an agent `--agent NAME`: the reason, and who does its work.",
            "The daemon's journal: `plugin refused`, `plugin failed and is out of use`.",
        ],
        do=[
            "Mend what the reason says: owner and mode of the file, its hash, its version, its settings.",
            "`systemctl reload tepui-control-plane` (or `tepui-agentd`) tries again.",
            "Or take it out of the configuration, and reload: who is not asked for is not missed.",
        ],
        fires=Fires(
            {'tepui_plugin_healthy{instance="h:5050", kind="allocator", plugin="p"}': "0x5",
             'tepui_plugin_healthy{instance="h:5050", kind="allocator", plugin="drf"}': "1x5"},
            "1m", {"instance": "h:5050", "kind": "allocator", "plugin": "p"},
            "The allocator p of h:5050 failed or was refused: it is not in use as it is configured.",
        ),
        quiet={'tepui_plugin_healthy{instance="h:5050", kind="allocator", plugin="p"}': "1x5"},
        dashboard="allocator",
    ),
    Alert(
        name="TepuiPluginErrors",
        severity="warning",
        expr="sum by (plugin) (increase(tepui_plugin_errors_total[10m])) > 0",
        holds="",
        summary="A plugin fails",
        description="{{ $labels.plugin }} failed {{ $value | humanize }} times in ten minutes; the"
        " built-in one decides while it is unhealthy.",
        means="A call of the plugin panicked, took too long, or answered something that is not possible.",
        look=["The daemon's journal: one line per failure.", "Dashboard *allocator and plugins*."],
        do=["Go back to the plugin's former version, or take it out of the configuration."],
        fires=Fires(
            {'tepui_plugin_errors_total{plugin="p"}': "0+1x15"}, "10m", {"plugin": "p"},
            "p failed 10 times in ten minutes; the built-in one decides while it is unhealthy.",
        ),
        quiet={'tepui_plugin_errors_total{plugin="p"}': "4x15"},
        dashboard="allocator",
    ),
    Alert(
        name="TepuiPluginSlow",
        severity="warning",
        expr="histogram_quantile(0.99, sum by (plugin, hook, le)"
        " (rate(tepui_plugin_call_seconds_bucket[5m]))) > 0.1",
        holds="5m",
        summary="A plugin takes long",
        description="{{ $labels.hook }} of {{ $labels.plugin }} takes {{ $value | humanizeDuration }}"
        " (p99).",
        means="Each call holds up whoever asked: for an allocator, every offer of the cluster.",
        look=["Dashboard *allocator and plugins*: calls by plugin and hook."],
        do=["Its time budget ends it before it does harm; tell its author."],
        fires=Fires(
            {'tepui_plugin_call_seconds_bucket{plugin="p", hook="plan", le="0.1"}': "0x20",
             'tepui_plugin_call_seconds_bucket{plugin="p", hook="plan", le="0.5"}': "0+10x20",
             'tepui_plugin_call_seconds_bucket{plugin="p", hook="plan", le="+Inf"}': "0+10x20"},
            "12m", {"plugin": "p", "hook": "plan"}, "plan of p takes 496ms (p99).",
        ),
        quiet={'tepui_plugin_call_seconds_bucket{plugin="p", hook="plan", le="0.1"}': "0+10x20",
               'tepui_plugin_call_seconds_bucket{plugin="p", hook="plan", le="+Inf"}': "0+10x20"},
        dashboard="allocator",
    ),
    Alert(
        name="TepuiShadowStopped",
        severity="warning",
        expr="max by (instance) (tepui_shadow_running) == 0",
        holds="1m",
        summary="The shadow allocator follows no more",
        description="The shadow allocator of {{ $labels.instance }} failed or fell behind: what it would"
        " decide is not compared any more.",
        means="The candidate panicked, could not be opened, or was too slow for the allocator in charge,"
        " whose offers go on as ever. Nothing is compared until the control plane is started anew.",
        look=[
            "`tepui allocator shadow`: `failed` with the reason, or `fell_behind`.",
            "The control plane's journal: `shadow allocator failed, follows no more`, `fell behind the"
            " allocator, follows no more`.",
        ],
        do=[
            "Do not put this candidate in charge; play a recording to it (`tepui allocator replay`).",
            "Take it out of the configuration, or mend it, and start the control plane anew.",
        ],
        fires=Fires(
            {'tepui_shadow_running{instance="h:5050"}': "1x5 0x5"}, "8m", {"instance": "h:5050"},
            "The shadow allocator of h:5050 failed or fell behind: what it would decide is not compared"
            " any more.",
        ),
        quiet={'tepui_shadow_running{instance="h:5050"}': "1x15"},
        dashboard="allocator",
    ),
]
