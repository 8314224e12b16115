"""Checks scripts before anything boots: a name or method outside the shared API would pass here and
fail under the NixOS test driver."""

import ast
import builtins
import unittest

from .api import MACHINE, MODULES, SYMBOLS

FORBIDDEN = {"open", "exec", "eval", "input", "__import__", "globals", "exit", "quit"}
"""Builtins that reach past the hosts to the machine that runs the script."""


def lint(
    source: str,
    hosts: list[str],
    where: str = "test.py",
    extensions: frozenset[str] = frozenset(),
) -> list[str]:
    """What is wrong, one line each; extensions are names allowed beyond the shared API."""
    try:
        tree = ast.parse(source, where)
    except SyntaxError as error:
        return [f"{where}:{error.lineno}: {error.msg}"]
    checker = _Checker(where, hosts, extensions)
    checker.collect(tree)
    checker.visit(tree)
    return checker.problems


def symbol(host: str) -> str:
    """The name under which a script sees a host."""
    return "".join(letter if letter.isalnum() else "_" for letter in host)


class _Checker(ast.NodeVisitor):
    def __init__(self, where: str, hosts: list[str], extensions: frozenset[str]) -> None:
        self._where = where
        self._hosts = {symbol(host) for host in hosts}
        if len(hosts) == 1:
            self._hosts.add("machine")
        self._known = set(dir(builtins)) - FORBIDDEN | SYMBOLS - {"machine"}
        self._known |= self._hosts | extensions
        self.problems: list[str] = []

    def _complain(self, node: ast.expr | ast.stmt, text: str) -> None:
        self.problems.append(f"{self._where}:{node.lineno}: {text}")

    def collect(self, tree: ast.AST) -> None:
        """Learns the names that the script makes, and which of them are hosts."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self._known.add(node.id)
            elif isinstance(node, ast.arg):
                self._known.add(node.arg)
            elif isinstance(node, ast.FunctionDef | ast.ExceptHandler):
                self._known |= {node.name or ""}
        for node in ast.walk(tree):
            if isinstance(node, ast.For | ast.comprehension) and isinstance(node.target, ast.Name):
                if self._is_hosts(node.iter):
                    self._hosts.add(node.target.id)
            elif isinstance(node, ast.Assign) and self._is_host(node.value):
                self._hosts |= {goal.id for goal in node.targets if isinstance(goal, ast.Name)}

    def _is_host(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id in self._hosts

    def _is_hosts(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Name):
            return node.id == "machines"
        listed = node.elts if isinstance(node, ast.Tuple | ast.List) else []
        return bool(listed) and all(self._is_host(one) for one in listed)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id not in self._known:
            self._complain(node, f"{node.id} is not in the shared API")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if self._is_host(node.value) and node.attr not in MACHINE:
            self._complain(node, f"hosts have no {node.attr} in the shared API")
        if isinstance(node.value, ast.Name):
            if node.value.id == "t" and not hasattr(unittest.TestCase, node.attr):
                self._complain(node, f"t has no {node.attr}")
            if (node.value.id, node.attr) == ("time", "sleep"):
                self._complain(node, "no sleeps: wait for what should happen, with a deadline")
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name not in MODULES or alias.asname:
                self._complain(node, f"only these modules are there: {', '.join(sorted(MODULES))}")
            self._known.add(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._complain(node, "write `import module`: scripts are plain")
