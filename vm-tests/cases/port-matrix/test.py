import json
import time

# The task: answers on its own port what it was asked to try.
TASK = r'''
import http.server, json, os, socket, sys, threading, time

OWN, FOREIGN, OTHER = int(os.environ["PORT0"]), 8081, int(os.environ.get("OTHER", "8082"))
KINDS = {"tcp4": (socket.AF_INET, socket.SOCK_STREAM, "0.0.0.0"),
         "tcp6": (socket.AF_INET6, socket.SOCK_STREAM, "::"),
         "udp4": (socket.AF_INET, socket.SOCK_DGRAM, "0.0.0.0"),
         "udp6": (socket.AF_INET6, socket.SOCK_DGRAM, "::"),
         "tcp-mapped": (socket.AF_INET6, socket.SOCK_STREAM, "::ffff:0.0.0.0"),
         "udp-mapped": (socket.AF_INET6, socket.SOCK_DGRAM, "::ffff:0.0.0.0")}
reached, storm, holes = [], {}, []

def bind(kind, port, reuse=False):
    family, of, address = KINDS[kind]
    one = socket.socket(family, of)
    try:
        if reuse:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind((address, port))
        return "bound"
    except OSError as error:
        return "EPERM" if error.errno == 1 else error.strerror
    finally:
        one.close()

def matrix():
    tries = {}
    for kind in KINDS:
        tries[kind + " foreign"] = bind(kind, FOREIGN)
        tries[kind + " foreign, reuse"] = bind(kind, FOREIGN, True)
        tries[kind + " of another task, reuse"] = bind(kind, OTHER, True)
        tries[kind + " any"] = bind(kind, 0)
        # The own TCP port is in use by this very server.
        if kind.startswith("udp"):
            tries[kind + " own"] = bind(kind, OWN)
    return tries

def hear(name, one, of):
    try:
        while True:
            one.accept() if of == socket.SOCK_STREAM else one.recvfrom(100)
            reached.append(name)
    except OSError:
        pass

def open_holes():
    ports = {}
    for kind, (family, of, address) in KINDS.items():
        for way in ("any", "unbound"):
            one = socket.socket(family, of)
            if way == "any":
                one.bind((address, 0))
            elif of == socket.SOCK_DGRAM:
                to = socket.gethostbyname("one")
                one.sendto(b"", (to if family == socket.AF_INET else "::ffff:" + to, 9))
            if of == socket.SOCK_STREAM:
                one.listen()
            name = f"{kind} {way}"
            ports[name] = one.getsockname()[1]
            holes.append(one)
            threading.Thread(target=hear, args=(name, one, of), daemon=True).start()
    return ports

def blow():
    storm.update(bound=0, refused=0, own=0, lost=0, over=False)
    while not storm["over"]:
        begun = time.monotonic()
        for kind in KINDS:
            answer = bind(kind, FOREIGN)
            storm["refused" if answer == "EPERM" else "bound"] += 1
        storm["own" if bind("udp4", OWN) == "bound" else "lost"] += 1
        time.sleep(max(0, 0.007 - (time.monotonic() - begun)))

class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        what = self.path.strip("/").split("/")
        if what[0] == "matrix":
            answer = matrix()
        elif what[0] == "holes":
            answer = open_holes()
        elif what[0] == "reached":
            answer = reached
        elif what[0] == "begin-storm":
            threading.Thread(target=blow, daemon=True).start()
            answer = "begun"
        else:
            storm["over"] = True
            answer = storm
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("", OWN), Answers).serve_forever()
'''

# Knocks at every port of `holes`, over TCP and UDP, v4 and the mapped form of it.
KNOCK = r'''
import socket, sys
host, ports = sys.argv[1], sys.argv[2:]
for port in map(int, ports):
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.settimeout(0.2)
    try:
        one.connect((host, port))
        print("connected to", port)
    except OSError:
        pass
    one.close()
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(3):
        one.sendto(b"knock", (host, port))
'''


def start(name, host, env=None, ports=1, command=None):
    definition = {
        "id": f"/{name}",
        "args": ["python3", "-c", command or TASK],
        "cpus": 0.1,
        "mem": 48,
        "env": env or {},
        "portDefinitions": [{"port": 0}] * ports,
        "constraints": [["hostname", "LIKE", host]],
    }
    document = json.dumps(definition).replace("'", "'\\''")
    one.succeed(f"echo '{document}' >/root/{name}.json")
    one.succeed(f"tepui app create -d /root/{name}.json")


def task(name):
    """The task of an app once it runs."""
    found = []

    def runs(_):
        tasks = json.loads(one.succeed(f"curl -sf http://one:8080/v2/apps/{name}/tasks"))["tasks"]
        found[:] = [one for one in tasks if one["state"] == "TASK_RUNNING"]
        return len(found) == 1

    retry(runs, 90)
    return found[0]


def ask(port, what):
    return json.loads(one.succeed(f"curl -sf --max-time 60 http://two:{port}/{what}"))


def judge(tries):
    """Every try that did not end as it must."""
    expected = {"foreign": "EPERM", "any": "bound", "own": "bound"}
    wrong = {}
    for name, answer in tries.items():
        case = name.split(" ", 1)[1]
        if answer != expected.get(case.split(",")[0], "EPERM"):
            wrong[name] = answer
    return wrong


def knock():
    ports = " ".join(str(port) for port in HOLES.values())
    return one.succeed(f"python3 /root/knock.py two {ports}")


def agent_dies(host):
    pid = host.get_unit_property("tepui-agentd.service", "MainPID")
    host.succeed(f"kill -9 {pid}")
    host.wait_until_succeeds(
        f"p=$(systemctl show -P MainPID tepui-agentd.service); test $p != 0 -a $p != {pid}"
        " && systemctl is-active tepui-agentd.service",
        timeout=60,
    )


start_all()
one.wait_for_unit("tepui-control-plane.service")
for host in (two, three):
    host.wait_for_unit("tepui-agentd.service")
one.wait_until_succeeds("test $(tepui agent list | grep -cw 'two\\|three') = 2", timeout=90)
one.succeed(f"cat >/root/knock.py <<'END'\n{KNOCK}\nEND")

with subtest("an agent whose kernel enforces ports has proved it, and says so"):
    t.assertIn("port_enforcement:kernel", one.succeed("tepui agent list"))
    two.succeed("journalctl -u tepui-agentd.service | grep 'a trial bind was refused'")

start("other", "two")
OTHER = task("other")["ports"][0]
start("matrix", "two", {"OTHER": str(OTHER)})
PORT = task("matrix")["ports"][0]
one.wait_until_succeeds(f"curl -sf http://two:{PORT}/reached", timeout=60)

with subtest("every bind outside the offer gets EPERM, in every family and protocol"):
    tries = ask(PORT, "matrix")
    t.assertEqual(len(tries), 27)
    t.assertEqual(judge(tries), {})

HOLES = ask(PORT, "holes")

with subtest("nothing reaches a port that was bound to 0, or listened on without a bind"):
    t.assertEqual(len(HOLES), 12)
    t.assertEqual(knock(), "")
    t.assertEqual(ask(PORT, "reached"), [])

with subtest("all of it holds while the agent is dead"):
    two.succeed("systemctl stop tepui-agentd.service")
    two.fail("pgrep -x tepui-agentd")
    t.assertEqual(judge(ask(PORT, "matrix")), {})
    t.assertEqual(knock(), "")
    t.assertEqual(ask(PORT, "reached"), [])
    two.succeed("systemctl start tepui-agentd.service")
    t.assertEqual(judge(ask(PORT, "matrix")), {})

with subtest("and while agents die and take over in a storm of binds"):
    ask(PORT, "begin-storm")
    begun = time.monotonic()
    takeovers = 0
    while takeovers < 3 or time.monotonic() - begun < 8:
        agent_dies(two)
        takeovers += 1
        t.assertEqual(knock(), "")
    storm = ask(PORT, "end-storm")
    seconds = time.monotonic() - begun
    binds = storm["refused"] + storm["bound"] + storm["own"] + storm["lost"]
    one.log(f"{takeovers} agents took over, {binds / seconds:.0f} binds a second: {storm}")
    t.assertGreater(storm["refused"], 1000)
    t.assertEqual((storm["bound"], storm["lost"]), (0, 0))
    t.assertGreater(storm["own"], 100)
    t.assertEqual(ask(PORT, "reached"), [])

with subtest("a task that fails says which port it was refused"):
    binds = "import socket, sys\nfor _ in range(3):\n"
    binds += " try: socket.socket().bind(('', 8081))\n except PermissionError: pass\nsys.exit(4)"
    start("refused", "two", command=binds)
    words = r"denied bind tcp \S+:8081 \(3 times\); offered 31"
    one.wait_until_succeeds(
        "curl -sf http://one:8080/v2/apps/refused | grep -E 'exited with status 4; " + words + "'",
        timeout=60,
    )
    one.succeed("tepui app delete /refused")

with subtest("a task that somebody kills says who did"):
    start("killed", "two", command="import time; time.sleep(1000)")
    task("killed")
    find = "systemctl list-units --plain --no-legend 'tepui-task-killed*' | awk '{print $1}'"
    pid = two.get_unit_property(two.succeed(find).strip(), "MainPID")
    two.succeed(f"bash -c 'kill -9 {pid}'")
    one.wait_until_succeeds(
        "curl -sf http://one:8080/v2/apps/killed"
        " | grep -E 'terminated with signal Killed.*signal came from process [0-9]+ .bash. of the host'",
        timeout=60,
    )
    one.succeed("tepui app delete /killed")

with subtest("a host that ends tasks for foreign ports ends them, and says why"):
    binds = "import socket, time\n"
    binds += "try: socket.socket().bind(('', 8081))\nexcept PermissionError: pass\ntime.sleep(1000)"
    start("ended", "three", command=binds)
    one.wait_until_succeeds(
        "curl -sf http://one:8080/v2/apps/ended"
        " | grep 'ended because it asked for a port that it was not given; denied bind tcp [^ ]*:8081'",
        timeout=60,
    )
    one.succeed("tepui app delete /ended")

with subtest("what ended leaves nothing in the kernel"):
    one.succeed("tepui app delete /matrix", "tepui app delete /other")
    retry(lambda _: json.loads(one.succeed("curl -sf http://one:8080/v2/tasks"))["tasks"] == [], 60)
    for host in (two, three):
        metrics = f"curl -sf http://{host.name}:5051/metrics"
        one.wait_until_succeeds(f"{metrics} | grep -x 'tepui_ebpf_groups 0'", timeout=30)
        host.succeed("systemctl stop tepui-agentd.service")
        host.fail("ls /sys/fs/bpf/tepui/agent-* 2>/dev/null | grep .")
