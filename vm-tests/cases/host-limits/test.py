EAT = "python3 -c 'x = bytearray(100 << 20)'"
FORKS = "sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 30 & done'"
BUSY = "timeout 4 sh -c 'while :; do :; done'"

start_all()
one.wait_for_unit("multi-user.target")

with subtest("memory"):
    one.succeed(f"systemd-run --wait -p MemoryMax=200M {EAT}")
    one.fail(f"systemd-run -u eater --wait -p MemoryMax=40M -p MemorySwapMax=0 {EAT}")
    t.assertEqual(one.get_unit_property("eater.service", "Result"), "oom-kill")

with subtest("processes"):
    one.fail(f"systemd-run -u forker --wait -p TasksMax=4 {FORKS}")
    t.assertGreater(int(one.succeed("journalctl -u forker.service | grep -ci 'cannot fork'")), 0)

with subtest("cpu"):
    one.execute(f"systemd-run -u busy -p RemainAfterExit=yes -p CPUQuota=20% {BUSY}")
    retry(lambda _: one.get_unit_property("busy.service", "SubState") != "running", 60)
    used = int(one.get_unit_property("busy.service", "CPUUsageNSec")) / 1e9
    t.assertLess(used, 1.2)
    t.assertGreater(used, 0.4)
