#!/usr/bin/env python3
"""Dashboards, rules and runbook: up to date, understood by promtool, and only about what exists.

What exists says metrics.txt, and vm-tests/cases/monitoring holds that against a running cluster."""

import json
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
MONITORING = HERE.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(MONITORING))

from alerts import ALERTS, RECORDINGS  # noqa: E402
from dashboards import DASHBOARDS  # noqa: E402

OTHERS = {"up", "ALERTS"}
"""Series of Prometheus itself."""


def run(*words: str) -> str:
    """What a command says; the test fails when it does."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(words)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def catalogue() -> dict[str, str]:
    """Types of all metrics, by name."""
    lines = (MONITORING / "metrics.txt").read_text().splitlines()
    entries = [line.split() for line in lines if line and not line.startswith("#")]
    return {entry[0]: entry[1] for entry in entries}


def series() -> set[str]:
    """Names of all series that there can be."""
    names = OTHERS | {one.name for one in RECORDINGS}
    for name, kind in catalogue().items():
        parts = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        names |= {name + part for part in parts}
    return names


def named(expr: str) -> set[str]:
    """Names of the series in an expression."""
    bare = re.sub(r'"[^"]*"', '""', expr)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\boffset \w+|(?<![\w:])\d[\w.]*", " ", bare)
    words = re.finditer(r"[A-Za-z_:][\w:]*(?!\w)(\s*\()?", bare)
    keywords = {"and", "or", "unless", "bool", "by", "on"}
    return {word[0] for word in words if not word[1]} - keywords


def grafana(expr: str) -> str:
    """An expression with Grafana's words filled in."""
    filled = re.sub(r"\$__(rate_interval|range|interval)", "5m", expr)
    return re.sub(r"\$(app|instance)\b", "x", filled)


def panels() -> list[tuple[str, str]]:
    """Every query of every panel, with where it is."""
    return [
        (f"{page.uid}: {panel.title}", query)
        for page in DASHBOARDS
        for _, row in page.rows
        for panel in row
        for query, _ in panel.queries
    ]


class Monitoring(unittest.TestCase):
    """Sentences about what is shipped."""

    def test_written_files_are_what_the_sources_say(self) -> None:
        run(str(MONITORING / "generate"), "--check")

    def test_rules_for_another_place_differ_in_their_links_alone(self) -> None:
        url = "https://wiki.example.org/tepui/runbook"
        told = run(str(MONITORING / "generate"), "--rules-for", url)
        here = (MONITORING / "rules/tepui.yml").read_text()
        self.assertEqual(told, here.replace('"runbook.md#', f'"{url}#'))
        self.assertIn(f'"{url}#tepuinoleader"', told)

    def test_promtool_understands_the_rules_and_each_alert_fires_when_it_should(self) -> None:
        run("promtool", "check", "rules", str(MONITORING / "rules/tepui.yml"))
        run("promtool", "test", "rules", str(HERE / "tepui.test.yml"))

    def test_promtool_understands_the_queries_of_all_panels(self) -> None:
        rules = [
            {"record": f"panel:{at}", "expr": grafana(expr)}
            for at, (_, expr) in enumerate(panels())
        ]
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            json.dump({"groups": [{"name": "panels", "rules": rules}]}, file)
            file.flush()
            run("promtool", "check", "rules", "--lint=none", file.name)

    def test_every_metric_that_is_named_exists(self) -> None:
        there = series()
        queries = panels() + [(one.name, one.expr) for one in [*RECORDINGS, *ALERTS]]
        queries += [(page.uid, one) for page in DASHBOARDS for one in page.variables.values()]
        for where, expr in queries:
            self.assertEqual(named(grafana(expr)) - there, set(), where)

    def test_every_alert_leads_to_its_chapter_and_to_a_page_that_is_there(self) -> None:
        chapters = re.findall(r"^## (\w+)$", (MONITORING / "runbook.md").read_text(), re.M)
        self.assertEqual(chapters, [alert.name for alert in ALERTS])
        pages = {page.uid for page in DASHBOARDS}
        for alert in ALERTS:
            self.assertIn(f"tepui-{alert.dashboard}", pages, alert.name)
            self.assertTrue(alert.look and alert.do, alert.name)

    def test_dashboards_are_what_grafana_loads(self) -> None:
        files = sorted((MONITORING / "dashboards").iterdir())
        loaded = [json.loads(file.read_text()) for file in files]
        self.assertEqual({page["uid"] for page in loaded}, {page.uid for page in DASHBOARDS})
        for page in loaded:
            self.assertTrue(page["title"] and page["schemaVersion"] >= 36)
            ids = [panel["id"] for panel in page["panels"]]
            self.assertEqual(len(ids), len(set(ids)), page["uid"])
            cells = [cell for panel in page["panels"] for cell in cells_of(panel["gridPos"])]
            self.assertEqual(len(cells), len(set(cells)), f"{page['uid']}: panels lie on each other")
            for panel in page["panels"]:
                self.assertIn(panel["type"], {"row", "timeseries", "stat", "table"})
                if panel["type"] != "row":
                    self.assertTrue(all(target["expr"] for target in panel["targets"]))
            texts = json.dumps(page)
            links = set(re.findall(r"/d/([\w-]+)", texts))
            self.assertEqual(links - {other.uid for other in DASHBOARDS}, set(), page["uid"])


def cells_of(place: dict[str, int]) -> list[tuple[int, int]]:
    """The cells of the grid that a panel takes."""
    xs = range(place["x"], place["x"] + place["w"])
    ys = range(place["y"], place["y"] + place["h"])
    return [(x, y) for x in xs for y in ys]


if __name__ == "__main__":
    unittest.main()
