"""The four dashboards as data: what generate writes to dashboards/ for Grafana."""

from dataclasses import dataclass, field
from typing import Any

RATE = "$__rate_interval"


@dataclass(frozen=True)
class Panel:
    """One panel: each query is an expression and its legend."""

    title: str
    unit: str
    queries: list[tuple[str, str]]
    about: str = ""
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    links: list[tuple[str, str]] = field(default_factory=list)
    """Titles and addresses of where a series leads to."""


@dataclass(frozen=True)
class Dashboard:
    """One page: rows of panels, and what one can choose."""

    uid: str
    title: str
    about: str
    variables: dict[str, str]
    """Names, and the series whose label of that name is chosen from."""
    rows: list[tuple[str, list[Panel]]]


def quantiles(name: str, by: str = "", select: str = "") -> list[tuple[str, str]]:
    """Half and 99 of 100 of a histogram."""
    labels = f"{by}, le" if by else "le"
    legend = f"{{{{{by}}}}} " if by else ""
    rate = f"sum by ({labels}) (rate({name}_bucket{select}[{RATE}]))"
    return [
        (f"histogram_quantile({q}, {rate})", f"{legend}p{round(float(q) * 100)}")
        for q in ("0.5", "0.99")
    ]


TO_APP = ("App", "/d/tepui-app?var-app=${__field.labels.app}")
TO_AGENT = ("Agent", "/d/tepui-agent?var-instance=${__field.labels.instance}")
TO_LOGS = (
    "Logs of the task",
    "http://${__field.labels.instance}/files/browse?path=/framework/${__field.labels.framework}"
    "/executor/${__field.labels.task}/latest",
)


def resource(title: str, unit: str, name: str) -> Panel:
    """What there is of a resource, what is reserved, what is used or offered."""
    part = (lambda p: f"{name[:-6]}_{p}_bytes") if name.endswith("_bytes") else (lambda p: f"{name}_{p}")
    return Panel(
        title, unit,
        [(f"max({name})", "there is"), (f"max({part('allocated')})", "reserved"),
         (f"max({part('offered')})", "offered")],
        "Reserved is what tasks asked for. What they use is on the agents' page.",
    )  # fmt: skip


CLUSTER = Dashboard(
    "tepui-cluster", "Tepui / Cluster",
    "Who leads, what there is, what waits.",
    {},
    [
        ("Health", [
            Panel("Leader", "short", [("max(tepui_leader)", "leads")], "1 while somebody leads.", "stat", 3),
            Panel("Term", "none", [("max(tepui_term)", "term")], "Rises with each new leader.", "stat", 3),
            Panel("Agents", "short", [('max(tepui_agents{state="active"})', "active")], "", "stat", 3),
            Panel("Unreachable agents", "short", [('max(tepui_agents{state="unreachable"})', "unreachable")], "", "stat", 3),
            Panel("Running tasks", "short", [('max(tepui_tasks{state="running"})', "running")], "", "stat", 3),
            Panel("Apps", "short", [("max(tepui_apps)", "apps")], "", "stat", 3),
            Panel("Deployments", "short", [("max(tepui_deployments)", "under way")], "", "stat", 3),
            Panel("Alerts", "short", [('count(ALERTS{alertname=~"Tepui.*", alertstate="firing"}) or vector(0)', "firing")], "", "stat", 3),
        ]),
        ("Capacity", [
            resource("Processors", "short", "tepui_cluster_cpus"),
            resource("Memory", "bytes", "tepui_cluster_memory_bytes"),
            resource("Disk", "bytes", "tepui_cluster_disk_bytes"),
            Panel("Memory used of reserved", "percentunit",
                  [("sum(tepui_task_memory_used_bytes) / max(tepui_cluster_memory_allocated_bytes)", "used")],
                  "How much of what tasks reserved they use."),
            Panel("Processors used of reserved", "percentunit",
                  [(f"sum(rate(tepui_task_cpu_seconds_total[{RATE}])) / max(tepui_cluster_cpus_allocated)", "used")]),
            Panel("Shares of roles", "percentunit",
                  [("max by (role) (tepui_role_dominant_share_ratio)", "{{role}}")],
                  "The largest part of any resource that a role holds or is offered."),
        ]),
        ("What waits", [
            Panel("Apps that wait, by reason", "short",
                  [("max by (reason) (tepui_queue_apps)", "{{reason}}")],
                  "The words are those of /v2/queue and of tepui explain.", stacked=True),
            Panel("Waiting instances", "short",
                  [("max by (app, reason) (tepui_app_waiting_instances)", "{{app}}: {{reason}}")],
                  links=[TO_APP]),
            Panel("Tasks by state", "short", [("max by (state) (tepui_tasks{job=\"tepui-control-plane\"})", "{{state}}")],
                  stacked=True),
        ]),
        ("Launches", [
            Panel("From accepted offer to RUNNING", "s", quantiles("tepui_placement_latency_seconds")),
            Panel("Stages of a launch", "s", quantiles("tepui_launch_stage_seconds", "stage"),
                  "On agents: prepare is sandbox, artifacts, image and network; start is the process."),
            Panel("Ends of tasks", "short",
                  [("sum by (state, reason) (increase(tepui_task_exits_total[$__range]))", "{{state}}: {{reason}}")]),
        ]),
        ("Control plane", [
            Panel("Changes of leader", "short",
                  [("max(increase(tepui_leader_changes_total[$__range]))", "changes")]),
            Panel("Failover", "s", quantiles("tepui_failover_seconds"),
                  "From the last sign of life of one leader to the first write of the next."),
            Panel("Commits to the store", "s", quantiles("tepui_log_commit_seconds")),
            Panel("Requests, slowest in 100", "s",
                  [("route:tepui_http_request_duration_seconds:p99_5m", "{{route}}")]),
            Panel("Requests by status", "reqps",
                  [(f"sum by (code) (rate(tepui_http_request_duration_seconds_count[{RATE}]))", "{{code}}")], stacked=True),
            Panel("Memory of the daemons", "bytes",
                  [('process_resident_memory_bytes{job=~"tepui-control-plane|tepui-agent"}', "{{job}} {{instance}}")],
                  links=[TO_AGENT]),
        ]),
    ],
)  # fmt: skip


def of_app(name: str) -> str:
    """A series of the chosen app's tasks."""
    return f'{name}{{app="$app"}}'


def per_task(name: str) -> str:
    """The rate of a counter of each task."""
    return f"sum by (task, instance, framework) (rate({of_app(name)}[{RATE}]))"


TASK_LINKS = [TO_AGENT, TO_LOGS]
APP = Dashboard(
    "tepui-app", "Tepui / App",
    "One app: its instances, how they end, what they use and what holds them back.",
    {"app": "tepui_app_instances_wanted"},
    [
        ("Instances", [
            Panel("Wanted and there", "short",
                  [(f'max({of_app("tepui_app_instances_wanted")})', "wanted"),
                   ('max by (state) (tepui_app_instances{app="$app"})', "{{state}}")], width=9),
            Panel("Running of wanted", "percentunit",
                  [('avg_over_time((max(tepui_app_instances{app="$app",state="running"})'
                    ' / (max(tepui_app_instances_wanted{app="$app"}) > 0))[$__range:])', "share")],
                  about="The mean over the time that is shown, to hold against what was promised.",
                  kind="stat", width=3),
            Panel("Health", "short",
                  [(f'max({of_app("tepui_app_instances_healthy")})', "healthy"),
                   (f'max({of_app("tepui_app_instances_unhealthy")})', "unhealthy")], width=6),
            Panel("Deployment under way for", "s",
                  [(f'max({of_app("tepui_app_deployment_age_seconds")}) or vector(0)', "age")], kind="stat", width=3),
            Panel("Launched again", "short",
                  [(f'max(increase({of_app("tepui_task_restarts_total")}[$__range]))', "restarts")], kind="stat", width=3),
            Panel("Ends by reason", "short",
                  [('sum by (state, reason) (increase(tepui_app_exits_total{app="$app"}[$__rate_interval]))',
                    "{{state}}: {{reason}}")], width=12),
            Panel("Waits for", "short",
                  [('max by (reason) (tepui_app_waiting_instances{app="$app"})', "{{reason}}")], width=12),
        ]),
        ("Processor", [
            Panel("Used", "short",
                  [(per_task("tepui_task_cpu_seconds_total"), "{{task}}"),
                   (f'max({of_app("tepui_task_cpu_limit_cores")})', "asked for")], links=TASK_LINKS),
            Panel("Throttled periods", "percentunit",
                  [('app:tepui_cpu_throttled:ratio5m{app="$app"}', "throttled")]),
            Panel("Wait for a processor", "s", quantiles("tepui_task_runqueue_latency_seconds", select='{app="$app"}'),
                  "Alone it does not say whose fault it is: see who ran instead."),
            Panel("Who ran instead", "short",
                  [(f'sum by (by) (rate({of_app("tepui_task_preempted_total")}[{RATE}]))', "{{by}}")]),
            Panel("Pressure", "percentunit",
                  [(f'max by (resource, kind) (rate({of_app("tepui_task_pressure_seconds_total")}[{RATE}]))',
                    "{{resource}} {{kind}}")], width=16),
        ]),
        ("Memory and disk", [
            Panel("Working set", "bytes",
                  [(of_app("tepui_task_memory_working_set_bytes"), "{{task}}"),
                   (f'max({of_app("tepui_task_memory_limit_bytes")})', "asked for")], links=TASK_LINKS),
            Panel("Memory by kind", "bytes",
                  [(f'sum by (kind) ({of_app("tepui_task_memory_bytes")})', "{{kind}}")], stacked=True),
            Panel("Major faults", "short", [(per_task("tepui_task_major_faults_total"), "{{task}}")], links=TASK_LINKS),
            Panel("Killed for lack of memory", "short",
                  [(f'sum(increase({of_app("tepui_task_oom_kills_total")}[$__range]))', "processes")], kind="stat"),
            Panel("Sandbox", "bytes",
                  [(of_app("tepui_task_disk_bytes"), "{{task}}"),
                   (f'max({of_app("tepui_task_disk_limit_bytes")})', "asked for")], links=TASK_LINKS),
            Panel("Block devices", "Bps",
                  [(f'sum by (op) (rate({of_app("tepui_task_io_bytes_total")}[{RATE}]))', "{{op}}")]),
        ]),
        ("Network", [
            Panel("Traffic", "Bps",
                  [(f'sum by (direction, proto) (rate({of_app("tepui_task_network_bytes_total")}[{RATE}]))',
                    "{{direction}} {{proto}}")]),
            Panel("Drops and segments sent again", "short",
                  [(f'sum by (direction) (rate({of_app("tepui_task_network_drops_total")}[{RATE}]))', "dropped, {{direction}}"),
                   (f'sum(rate({of_app("tepui_task_network_tcp_retransmits_total")}[{RATE}]))', "sent again")]),
            Panel("Round trips", "s", quantiles("tepui_task_network_tcp_rtt_seconds", select='{app="$app"}')),
            Panel("Open connections", "short",
                  [(f'sum by (state) ({of_app("tepui_task_network_connections")})', "{{state}}")]),
            Panel("Refused ports", "short",
                  [(f'sum by (op, instance) (increase({of_app("tepui_task_port_denied_total")}[$__range]))', "{{op}} on {{instance}}")],
                  links=[TO_AGENT]),
        ]),
        ("Tasks", [
            Panel("Where they run", "none",
                  [(of_app("tepui_task_info"), "")], kind="table", width=24, links=TASK_LINKS),
        ]),
    ],
)  # fmt: skip


def here(name: str) -> str:
    """A series of the chosen agent."""
    return f'{name}{{instance="$instance"}}'


def packed(title: str, unit: str, name: str) -> Panel:
    """What an agent has of a resource and what is held."""
    held = f"{name[:-6]}_allocated_bytes" if name.endswith("_bytes") else f"{name}_allocated"
    return Panel(title, unit, [(here(name), "there is"), (here(held), "reserved")])


AGENT = Dashboard(
    "tepui-agent", "Tepui / Agent",
    "One agent: how full it is, what it lacks, what its own measuring costs.",
    {"instance": "tepui_agent_registered"},
    [
        ("State", [
            Panel("Registered", "short", [(here("tepui_agent_registered"), "registered")], kind="stat", width=4),
            Panel("Ports enforced by the kernel", "short",
                  [(here("tepui_agent_port_enforcement"), "enforced")], kind="stat", width=4),
            Panel("Up for", "s", [(here("tepui_uptime_seconds"), "up")], kind="stat", width=4),
            Panel("Failed launches", "short",
                  [(f'increase({here("tepui_agent_launch_errors_total")}[$__range])', "failed")], kind="stat", width=4),
            Panel("Sandboxes to be removed", "short",
                  [(here("tepui_agent_sandboxes_pending_removal"), "sandboxes")], kind="stat", width=4),
            Panel("Ports of others", "short",
                  [(f'increase({here("tepui_agent_foreign_ports_total")}[$__range])', "seen")], kind="stat", width=4),
        ]),
        ("Packing", [
            packed("Processors", "short", "tepui_agent_cpus"),
            packed("Memory", "bytes", "tepui_agent_memory_bytes"),
            packed("Disk", "bytes", "tepui_agent_disk_bytes"),
            Panel("Processors used", "short",
                  [(f'topk(10, sum by (app, task, framework, instance) (rate({here("tepui_task_cpu_seconds_total")}[{RATE}])))', "{{app}} {{task}}")],
                  links=[TO_APP, TO_LOGS]),
            Panel("Memory used", "bytes",
                  [(f'topk(10, {here("tepui_task_memory_used_bytes")})', "{{app}} {{task}}")], links=[TO_APP, TO_LOGS]),
            Panel("Sandboxes", "bytes",
                  [(f'topk(10, {here("tepui_task_disk_bytes")})', "{{app}} {{task}}")], links=[TO_APP, TO_LOGS]),
        ]),
        ("Pressure", [
            Panel("Of the host", "percentunit",
                  [(f'rate({here("tepui_agent_pressure_seconds_total")}[{RATE}])', "{{resource}} {{kind}}")], width=12),
            Panel("Of tasks, the worst", "percentunit",
                  [(f'topk(10, rate(tepui_task_pressure_seconds_total{{instance="$instance", kind="some"}}[{RATE}]))',
                    "{{resource}} {{app}} {{task}}")], width=12, links=[TO_APP, TO_LOGS]),
        ]),
        ("Tasks", [
            Panel("By state", "short", [(here("tepui_tasks"), "{{state}}")], stacked=True),
            Panel("Ended", "short",
                  [(f'increase({here("tepui_tasks_ended_total")}[{RATE}])', "{{state}}")]),
            Panel("Stages of a launch", "s", quantiles("tepui_launch_stage_seconds", "stage", '{instance="$instance"}')),
        ]),
        ("Images", [
            Panel("Store", "bytes", [(here("tepui_agent_image_store_bytes"), "layers")]),
            Panel("Pulls", "short",
                  [(f'increase({here("tepui_agent_image_pulls_total")}[{RATE}])', "{{outcome}}")]),
            Panel("Downloaded", "Bps",
                  [(f'rate({here("tepui_agent_image_downloaded_bytes_total")}[{RATE}])', "layers")]),
        ]),
        ("What measuring costs", [
            Panel("Processor time of eBPF programs", "percentunit",
                  [(f'sum by (program) (rate({here("tepui_ebpf_program_run_seconds_total")}[{RATE}]))', "{{program}}")],
                  "Of one processor; 1 is all of it.", stacked=True),
            Panel("Reports lost", "short",
                  [(f'increase({here("tepui_ebpf_events_lost_total")}[$__range])', "lost")]),
            Panel("Records in eBPF maps", "short",
                  [(here("tepui_ebpf_map_entries"), "{{map}}")],
                  "One for each task's group; a map has room for 16384. That of denials has one more, for strangers."),
            Panel("The daemon", "percentunit",
                  [(f'rate({here("process_cpu_seconds_total")}[{RATE}])', "processor")]),
        ]),
    ],
)  # fmt: skip

ALLOCATOR = Dashboard(
    "tepui-allocator", "Tepui / Allocator and plugins",
    "Who is offered what, how fast, and what becomes of it; plugins and what they cost.",
    {},
    [
        ("Rounds", [
            Panel("A round takes", "s", quantiles("tepui_allocation_cycle_seconds")),
            Panel("A round waits", "s", quantiles("tepui_allocation_wait_seconds"),
                  "From what caused it to its start."),
            Panel("Rounds", "ops", [(f"sum(rate(tepui_allocation_cycle_seconds_count[{RATE}]))", "rounds")]),
        ]),
        ("Offers", [
            Panel("Outstanding", "short",
                  [("max by (framework) (tepui_offers_outstanding)", "{{framework}}")], stacked=True),
            Panel("Age of the oldest", "s",
                  [("max by (framework) (tepui_offer_age_seconds)", "{{framework}}")]),
            Panel("What became of them", "ops",
                  [(f"sum by (end) (rate(tepui_offers_total[{RATE}]))", "{{end}}")]),
            Panel("Declined by apps, for", "ops",
                  [(f"sum by (reason) (rate(tepui_offers_declined_total[{RATE}]))", "{{reason}}")],
                  "NotNeeded: no app wanted one.", stacked=True, width=12),
            Panel("Shares of roles", "percentunit",
                  [("max by (role) (tepui_role_dominant_share_ratio)", "{{role}}")], width=12),
        ]),
        ("Plugins", [
            Panel("Calls", "s",
                  [(f"histogram_quantile(0.99, sum by (plugin, hook, le) (rate(tepui_plugin_call_seconds_bucket[{RATE}])))",
                    "{{plugin}} {{hook}} p99")]),
            Panel("Errors", "short",
                  [(f"sum by (plugin) (increase(tepui_plugin_errors_total[{RATE}]))", "{{plugin}}")]),
            Panel("Healthy", "short",
                  [("min by (kind, plugin) (tepui_plugin_healthy)", "{{kind}} {{plugin}}")],
                  "0: it failed or was refused. tepui plugin list says why, and who does its work."),
        ]),
        ("Shadow", [
            Panel("Its rounds", "ops",
                  [(f"sum by (decision) (rate(tepui_shadow_rounds_total[{RATE}]))", "{{decision}}")],
                  "Whether it decides as the allocator in force. tepui allocator shadow shows where not."),
            Panel("Proposals", "ops",
                  [(f"sum by (by) (rate(tepui_shadow_proposals_total[{RATE}]))", "{{by}}")],
                  "Of both, and of one only."),
            Panel("A round of it takes", "s", quantiles("tepui_shadow_round_seconds")),
            Panel("Follows", "short", [("max by (instance) (tepui_shadow_running)", "{{instance}}")],
                  "0: it failed or fell behind."),
        ]),
    ],
)  # fmt: skip

DASHBOARDS = [CLUSTER, APP, AGENT, ALLOCATOR]


def grafana(page: Dashboard) -> dict[str, Any]:
    """A dashboard as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in page.rows:
        place = {"x": 0, "y": y, "w": 24, "h": 1}
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "gridPos": place,
                       "collapsed": False, "panels": []})  # fmt: skip
        y += 1
        x = height = 0
        for panel in row:
            if x + panel.width > 24:
                x, y, height = 0, y + height, 0
            own = 4 if panel.kind == "stat" else 8
            height = max(height, own)
            place = {"x": x, "y": y, "w": panel.width, "h": own}
            panels.append(grafana_panel(panel, len(panels) + 1, place))
            x += panel.width
        y += height
    others = [other for other in DASHBOARDS if other.uid != page.uid]
    return {
        "uid": page.uid, "title": page.title, "description": page.about, "tags": ["tepui"],
        "schemaVersion": 38, "version": 1, "editable": False, "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"}, "refresh": "30s", "graphTooltip": 1,
        "templating": {"list": [datasource(), *(variable(*one) for one in page.variables.items())]},
        "links": [
            {"type": "link", "title": other.title.removeprefix("Tepui / "), "url": f"/d/{other.uid}",
             "keepTime": True, "icon": "dashboard"} for other in others
        ],
        "annotations": {"list": []},
        "panels": panels,
    }  # fmt: skip


def datasource() -> dict[str, Any]:
    """Which Prometheus."""
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus",
            "current": {"text": "Tepui", "value": "tepui"}, "hide": 0}  # fmt: skip


def variable(name: str, series: str) -> dict[str, Any]:
    """A label's value to choose."""
    query = f"label_values({series}, {name})"
    return {
        "name": name, "type": "query", "label": name, "datasource": SOURCE, "refresh": 2, "sort": 1,
        "query": {"query": query, "refId": name}, "definition": query, "multi": False,
        "includeAll": False, "hide": 0,
    }  # fmt: skip


SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def grafana_panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    """A panel as Grafana reads it."""
    targets = [
        {"refId": chr(ord("A") + at), "expr": expr, "legendFormat": legend, "datasource": SOURCE,
         "instant": panel.kind != "timeseries", "range": panel.kind == "timeseries",
         "format": "table" if panel.kind == "table" else "time_series"}
        for at, (expr, legend) in enumerate(panel.queries)
    ]  # fmt: skip
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.links:
        defaults["links"] = [{"title": title, "url": url} for title, url in panel.links]
    if panel.kind == "timeseries":
        mode = {"mode": "normal" if panel.stacked else "none", "group": "A"}
        defaults["custom"] = {"lineWidth": 1, "fillOpacity": 20 if panel.stacked else 0, "stacking": mode,
                              "showPoints": "never"}  # fmt: skip
    return {
        "id": number, "type": panel.kind, "title": panel.title, "description": panel.about,
        "gridPos": place, "datasource": SOURCE, "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": OPTIONS[panel.kind],
    }  # fmt: skip


OPTIONS: dict[str, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value", "graphMode": "area", "textMode": "value",
    },
    "table": {"showHeader": True},
}  # fmt: skip
