start_all()
for host in machines:
    host.wait_for_unit("multi-user.target")

with subtest("hosts are different hosts that know each other"):
    t.assertEqual(one.succeed("hostname").strip(), "one")
    for question in (
        "cat /etc/machine-id",
        "cat /proc/sys/kernel/random/boot_id",
        "cat /proc/sys/kernel/random/uuid",
        "ip -o link show eth1 | grep -o 'ether [0-9a-f:]*'",
    ):
        t.assertNotEqual(one.succeed(question), two.succeed(question))
    one.succeed("ping -c1 -W5 two")
    t.assertIn("192.168.1.2/24", two.succeed("ip addr show dev eth1"))

with subtest("commands have a status, an output and an end"):
    t.assertEqual(one.execute("echo out; exit 3"), (3, "out\n"))
    t.assertEqual(one.execute("sleep 60", timeout=1)[0], 124)
    one.fail("false | true")
    one.succeed("cat", "read -r line || true")

with subtest("units are waited for, and failed ones noticed"):
    one.succeed("systemd-run -u web --collect python3 -m http.server 8000")
    one.wait_for_unit("web.service")
    one.wait_for_open_port(8000)
    two.wait_until_succeeds("curl -sf http://one:8000/", timeout=30)
    one.stop_job("web.service")
    one.wait_for_closed_port(8000)
    one.execute("systemd-run -u broken sh -c 'exit 7'")
    with t.assertRaisesRegex(Exception, 'reached state "failed"'):
        one.wait_for_unit("broken.service")
    t.assertEqual(one.get_unit_property("broken.service", "ExecMainStatus"), "7")

with subtest("a blocked host hears nothing until it is unblocked"):
    two.block()
    one.fail("ping -c1 -W1 two")
    two.unblock()
    one.wait_until_succeeds("ping -c1 -W1 two", timeout=30)

with subtest("the console and the journal are read"):
    one.succeed("echo the end is near >/dev/console")
    one.wait_for_console_text("the end is [a-z]+", timeout=30)
    one.succeed("systemd-run -u said --wait echo spoken words")
    one.wait_until_succeeds("journalctl -u said.service | grep 'spoken words'", timeout=30)

with subtest("a polling condition ends what goes on after it broke"):
    two.succeed("touch /run/alive")

    @polling_condition(seconds_interval=0)
    def alive():
        two.succeed("test -e /run/alive")

    alive.wait(timeout=10)
    with alive:
        one.succeed("true")
    with t.assertRaisesRegex(Exception, "alive"):
        with alive:
            two.succeed("rm /run/alive")
            one.succeed("true")

with subtest("a crash is another boot of the same host"):
    identity, boot = (one.succeed(f"cat {path}") for path in
                      ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"))
    one.succeed("echo kept >/var/lib/kept; sync", "echo lost >/run/lost")
    one.crash()
    two.fail("ping -c1 -W1 one")
    one.start()
    one.wait_for_unit("multi-user.target")
    t.assertEqual(one.succeed("cat /etc/machine-id"), identity)
    t.assertNotEqual(one.succeed("cat /proc/sys/kernel/random/boot_id"), boot)
    t.assertEqual(one.succeed("cat /var/lib/kept"), "kept\n")
    one.fail("test -e /run/lost")
    two.wait_until_succeeds("ping -c1 -W1 one", timeout=30)

with subtest("a host shuts down in good order"):
    two.shutdown()
    two.start()
    two.wait_for_unit("multi-user.target")
    two.shutdown()
    one.shutdown()
    join_all()
