"""The names that scripts may use: those of the NixOS test driver that this driver has too."""

SYMBOLS = frozenset({
    "start_all", "join_all", "subtest", "retry", "polling_condition", "machines", "machine", "t",
})  # fmt: skip

MACHINE = frozenset({
    "block", "connect", "copy_from_host", "copy_from_machine", "crash", "execute", "fail",
    "get_console_log", "get_unit_info", "get_unit_property", "log", "name", "nested", "reboot",
    "require_unit_state", "send_monitor_command", "shutdown", "sleep", "start", "start_job",
    "stop_job", "succeed", "systemctl", "unblock", "wait_for_closed_port", "wait_for_console_text",
    "wait_for_file", "wait_for_open_port", "wait_for_open_unix_socket", "wait_for_shutdown",
    "wait_for_unit", "wait_until_fails", "wait_until_succeeds",
})  # fmt: skip

PARTITION = frozenset({"partition", "heal"})
"""Only for cases that say so: the NixOS test driver cuts hosts off from all others or from none."""

MODULES = frozenset({"json", "re", "shlex", "time"})
"""Of the standard library; nothing of ours is there when NixOS runs a script."""
