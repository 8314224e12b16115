import json

# The task: answers on its own port what it was asked to try.
TASK = r'''
import http.server, json, os, socket, sys, threading, time

OWN, FREE, CONNECTED = (int(os.environ[f"PORT{n}"]) for n in range(3))
FOREIGN, OTHER = 8081, int(os.environ.get("OTHER", "8082"))
ONE4, ONE6 = os.environ.get("ONE4", ""), os.environ.get("ONE6", "")
KINDS = {"tcp4": (socket.AF_INET, socket.SOCK_STREAM, "0.0.0.0", ONE4),
         "tcp6": (socket.AF_INET6, socket.SOCK_STREAM, "::", ONE6),
         "udp4": (socket.AF_INET, socket.SOCK_DGRAM, "0.0.0.0", ONE4),
         "udp6": (socket.AF_INET6, socket.SOCK_DGRAM, "::", ONE6),
         "tcp-mapped": (socket.AF_INET6, socket.SOCK_STREAM, "::ffff:0.0.0.0", "::ffff:" + ONE4),
         "udp-mapped": (socket.AF_INET6, socket.SOCK_DGRAM, "::ffff:0.0.0.0", "::ffff:" + ONE4)}
reached, allowed, storm, holes = [], {}, {}, []

def bind(kind, port, reuse=False):
    family, of, address, _ = KINDS[kind]
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
        for reuse, how in ((False, ""), (True, ", reuse")):
            tries[kind + " foreign" + how] = bind(kind, FOREIGN, reuse)
            tries[kind + " of another task" + how] = bind(kind, OTHER, reuse)
            tries[kind + " any" + how] = bind(kind, 0, reuse)
            tries[kind + " own" + how] = bind(kind, FREE, reuse)
    return tries

def hear(name, one, of):
    try:
        while True:
            one.accept() if of == socket.SOCK_STREAM else one.recv(100)
            reached.append(name)
    except OSError:
        pass

def open_holes():
    ports = {}
    for kind, (family, of, address, to) in KINDS.items():
        for way in ("any", "any, reuse", "unbound", "connected"):
            if way == "connected" and of == socket.SOCK_STREAM:
                continue
            one = socket.socket(family, of)
            if way.startswith("any"):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int("reuse" in way))
                one.bind((address, 0))
            elif way == "connected":
                one.connect((to, 9))
            elif of == socket.SOCK_DGRAM:
                one.sendto(b"", (to, 9))
            if of == socket.SOCK_STREAM:
                one.listen()
            name = f"{kind} {way}"
            ports[name] = one.getsockname()[1]
            holes.append(one)
            threading.Thread(target=hear, args=(name, one, of), daemon=True).start()
    return ports

# What must arrive: at the own port, by all ways, and what is connected and bound to an own port.
def dual(of, port):
    one = socket.socket(socket.AF_INET6, of)
    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    one.bind(("::", port))
    return one

def count(name, one):
    while True:
        way = f"{name} {one.recv(100).decode()}"
        allowed[way] = allowed.get(way, 0) + 1

def open_own():
    connected = dual(socket.SOCK_DGRAM, CONNECTED)
    connected.connect((ONE6, 9))
    for name, one in (("own", dual(socket.SOCK_DGRAM, OWN)), ("connected", connected)):
        threading.Thread(target=count, args=(name, one), daemon=True).start()
    return CONNECTED

def blow():
    storm.update(refused=0, own=0, wrong={}, seconds=0, over=False)
    begun = time.monotonic()
    while not storm["over"]:
        at = time.monotonic()
        for kind in list(KINDS) * 4:
            for port, right, counter in ((FOREIGN, "EPERM", "refused"), (FREE, "bound", "own")):
                answer = bind(kind, port)
                if answer == right:
                    storm[counter] += 1
                else:
                    name = f"{kind} {counter}: {answer}"
                    storm["wrong"][name] = storm["wrong"].get(name, 0) + 1
        storm["seconds"] = time.monotonic() - begun
        time.sleep(max(0, 0.016 - (time.monotonic() - at)))

class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        what = self.path.strip("/").split("/")
        if what[0] == "matrix":
            answer = matrix()
        elif what[0] == "holes":
            answer = open_holes()
        elif what[0] == "own":
            answer = open_own()
        elif what[0] == "reached":
            answer = reached
        elif what[0] == "allowed":
            answer = allowed
        elif what[0] == "begin-storm":
            threading.Thread(target=blow, daemon=True).start()
            answer = "begun"
        elif what[0] == "storm":
            answer = storm
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

class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

Server(("::", OWN), Answers).serve_forever()
'''

# Knocks at ports of a host, over TCP and UDP, by v4, v6 and the mapped form of v4; at one more from the
# port that it is connected to, whose answer it may have. Says where somebody opened.
KNOCK = r'''
import json, select, socket, sys
four, six, connected, *ports = *sys.argv[1:3], *map(int, sys.argv[3:])
WAYS = {"v4": (socket.AF_INET, four), "v6": (socket.AF_INET6, six),
        "mapped": (socket.AF_INET6, "::ffff:" + four)}
tried = {}
for port in ports:
    for way, (family, host) in WAYS.items():
        one = socket.socket(family, socket.SOCK_STREAM)
        one.setblocking(False)
        one.connect_ex((host, port))
        tried[one] = f"{way} {port}"
nine = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
nine.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
nine.bind(("::", 9))
for port in ports:
    for way, (family, host) in WAYS.items():
        one = socket.socket(family, socket.SOCK_DGRAM)
        for _ in range(3):
            one.sendto(way.encode(), (host, port))
nine.sendto(b"v6", (six, connected))
opened, left = [], dict(tried)
while left:
    ready = select.select([], list(left), [], 1)[1]
    if not ready:
        break
    for one in ready:
        if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            opened.append(left[one])
        del left[one]
print(json.dumps(sorted(opened)))
'''
AGENT = "tepui-agentd.service"
SIX = {"one": "fd00:1::1", "two": "fd00:1::2"}
# Fewer are no storm.
BINDS_A_SECOND = 1000


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
    """Knocks everywhere; what is allowed arrives by every way, and nothing else does."""
    before = ask(PORT, "allowed")
    # The own ports last: what arrives there was sent after the rest.
    ports = " ".join(str(port) for port in [CONNECTED, *HOLES.values(), PORT])
    opened = json.loads(one.succeed(f"python3 /root/knock.py {TWO} {SIX['two']} {ports}"))
    t.assertEqual(opened, sorted(f"{way} {PORT}" for way in ("v4", "v6", "mapped")))
    ways = ["own v4", "own v6", "own mapped", "connected v6"]

    def arrived(_):
        allowed = ask(PORT, "allowed")
        return all(allowed.get(way, 0) > before.get(way, 0) for way in ways)

    retry(arrived, 30)
    t.assertEqual(ask(PORT, "reached"), [])


def replace_agent(host, release):
    host.succeed(f"/payload/put {release}")
    host.succeed(f"systemctl restart {AGENT}")
    pid = host.get_unit_property(AGENT, "MainPID")
    wanted = host.succeed(f"stat -Lc %i /payload/{release}/tepui-agentd")
    t.assertEqual(host.succeed(f"stat -Lc %i /proc/{pid}/exe"), wanted)
    in_force = f"curl -sf http://{host.name}:5051/metrics | grep -x 'tepui_agent_port_enforcement 1'"
    one.wait_until_succeeds(in_force, timeout=90)


def agent_dies(host):
    pid = host.get_unit_property("tepui-agentd.service", "MainPID")
    host.succeed(f"kill -9 {pid}")
    host.wait_until_succeeds(
        f"p=$(systemctl show -P MainPID tepui-agentd.service); test $p != 0 -a $p != {pid}"
        " && systemctl is-active tepui-agentd.service",
        timeout=60,
    )


start_all()
for host in (one, two, three):
    host.succeed("/payload/put next")
one.succeed("systemctl restart tepui-control-plane.service")
one.wait_for_unit("tepui-control-plane.service")
for host in (two, three):
    host.succeed(f"systemctl restart {AGENT}")
    host.wait_for_unit(AGENT)
one.wait_until_succeeds("test $(tepui agent list | grep -cw 'two\\|three') = 2", timeout=90)
one.succeed(f"cat >/root/knock.py <<'END'\n{KNOCK}\nEND")
for host in (one, two):
    host.succeed(f"ip address add {SIX[host.name]}/64 dev eth1 nodad")
ONE, TWO = (one.succeed(f"getent ahostsv4 {name} | head -1").split()[0] for name in ("one", "two"))

with subtest("an agent whose kernel enforces ports has proved it, and says so"):
    t.assertIn("port_enforcement:kernel", one.succeed("tepui agent list"))
    two.succeed("journalctl -u tepui-agentd.service | grep 'a trial bind was refused'")

start("other", "two", ports=3)
OTHER = task("other")["ports"][0]
start("matrix", "two", {"OTHER": str(OTHER), "ONE4": ONE, "ONE6": SIX["one"]}, ports=3)
PORT = task("matrix")["ports"][0]
one.wait_until_succeeds(f"curl -sf http://two:{PORT}/reached", timeout=60)

with subtest("every bind outside the offer gets EPERM, in every family and protocol"):
    tries = ask(PORT, "matrix")
    t.assertEqual(len(tries), 48)
    t.assertEqual(judge(tries), {})

HOLES = ask(PORT, "holes")
CONNECTED = ask(PORT, "own")

with subtest("nothing reaches a port that was bound to 0, or used without a bind; the own is reached"):
    t.assertEqual(len(HOLES), 21)
    knock()

with subtest("all of it holds while the agent is dead"):
    two.succeed("systemctl stop tepui-agentd.service")
    two.fail("pgrep -x tepui-agentd")
    t.assertEqual(judge(ask(PORT, "matrix")), {})
    knock()
    two.succeed("systemctl start tepui-agentd.service")
    t.assertEqual(judge(ask(PORT, "matrix")), {})

with subtest("and while agents die, go back to the previous release and forward again, in a storm of binds"):
    ask(PORT, "begin-storm")
    retry(lambda _: ask(PORT, "storm").get("refused", 0) > 0, 30)

    def take_over(how, *what):
        """So many binds are tried in the time that it takes, and none is answered wrongly."""
        before = ask(PORT, "storm")
        how(two, *what)
        after = ask(PORT, "storm")
        t.assertEqual(after["wrong"], {})
        binds = sum(after[name] - before[name] for name in ("refused", "own"))
        seconds = after["seconds"] - before["seconds"]
        name = " ".join([how.__name__, *what])
        one.log(f"{name}: {binds} binds in {seconds:.1f} s, {binds / seconds:.0f} a second")
        t.assertGreaterEqual(
            binds / seconds, BINDS_A_SECOND, f"{name}: the task tried fewer binds than make a storm"
        )
        knock()

    for _ in range(3):
        take_over(agent_dies)
    for release in ("previous", "next"):
        take_over(replace_agent, release)
    t.assertEqual(judge(ask(PORT, "matrix")), {})
    storm = ask(PORT, "end-storm")
    t.assertEqual(storm["wrong"], {})
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

with subtest("there too, nobody has a task ended by what he sends it"):
    opens = "import socket, time\nsent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    opens += f"sent.sendto(b'', ('{ONE}', 9))\nheard = socket.socket()\nheard.listen()\n"
    opens += "print(sent.getsockname()[1], heard.getsockname()[1], flush=True)\ntime.sleep(1000)"
    start("reached", "three", command=opens)
    reached = task("reached")["id"]
    told = one.wait_until_succeeds("tepui app logs reached | grep -E '^[0-9]+ [0-9]+$'", timeout=60)
    datagrams, connections = told.split()
    one.succeed(f"echo knock | nc -u -w 1 three {datagrams}")
    one.fail(f"nc -z -w 1 three {connections}")
    for operation in ("datagram", "connection"):
        one.wait_until_succeeds(
            "curl -sf http://three:5051/metrics | grep tepui_task_port_denied_total"
            f" | grep 'op=.{operation}.' | grep -v ' 0$'",
            timeout=30,
        )
    # By now an agent that would have ended it has been told so: it hears of all in turn.
    one.succeed("tepui run --name after --command true </dev/null")
    t.assertEqual(task("reached")["id"], reached)
    one.succeed("tepui app delete /reached")

with subtest("what ended leaves nothing in the kernel"):
    one.succeed("tepui app delete /matrix", "tepui app delete /other")
    retry(lambda _: json.loads(one.succeed("curl -sf http://one:8080/v2/tasks"))["tasks"] == [], 60)
    for host in (two, three):
        metrics = f"curl -sf http://{host.name}:5051/metrics"
        one.wait_until_succeeds(f"{metrics} | grep -x 'tepui_ebpf_groups 0'", timeout=30)
        host.succeed("systemctl stop tepui-agentd.service")
        host.fail("ls /sys/fs/bpf/tepui/agent-* 2>/dev/null | grep .")
