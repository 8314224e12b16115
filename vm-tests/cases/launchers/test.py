SCRIPTS = "control-plane/daemon/tests"

start_all()
one.wait_for_unit("multi-user.target")
for name in ("harness.py", "scheduler.py", "launchers.py"):
    one.copy_from_host(f"{SCRIPTS}/{name}", f"/root/{name}")
status, output = one.execute(
    "cd /root && python3 launchers.py --bin /usr/local/bin --launchers process,systemd 2>&1", timeout=1400
)
print(output)
t.assertEqual(status, 0, "a goal was missed")
