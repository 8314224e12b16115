SCRIPTS = "control-plane/daemon/tests"
MEASURE = (
    "python3 launchers.py --bin /usr/local/bin --launchers process,systemd,oci,oci-units"
    " --image 127.0.0.1:5000/web:1 --folder /persist 2>&1"
)

start_all()
one.wait_for_unit("multi-user.target")
for name in ("harness.py", "scheduler.py", "holdings.py", "peers.py", "launchers.py"):
    one.copy_from_host(f"{SCRIPTS}/{name}", f"/root/{name}")
one.succeed("systemd-run --unit registry /payload/bin/docker-registry serve /payload/registry.yml")
one.wait_for_open_port(5000, timeout=60)
# Where the kernel's parameters are read-only, the host's own network has its still to be set.
one.succeed("for p in /proc/sys /proc/sys/net; do mount -o remount,bind,rw $p 2>/dev/null || true; done")
status, output = one.execute(f"cd /root && {MEASURE}", timeout=3500)
print(output)
t.assertEqual(status, 0, "a goal was missed")
