"""What a hostile task tries. Prints a line for each attempt: its name, and OPEN or why it was refused.

Run as root without confinement every line says OPEN: so a refusal says something of the confinement."""

import contextlib
import ctypes
import errno
import glob
import json
import os
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

libc = ctypes.CDLL(None, use_errno=True)
SYSCALLS = {"bpf": 321, "keyctl": 250, "add_key": 248, "perf_event_open": 298, "io_uring_setup": 425,
            "init_module": 175, "kexec_load": 246, "open_by_handle_at": 304, "ptrace": 101,
            "userfaultfd": 323, "process_vm_readv": 310, "settimeofday": 164, "swapon": 167,
            "reboot": 169, "setns": 308, "pivot_root": 155, "mount": 165, "unshare": 272, "clone": 56,
            "clone3": 435}
CLONE = {"user": 0x10000000, "mount": 0x00020000, "pid": 0x20000000, "net": 0x40000000}
SIGCHLD = 17
WALL = 0x40000000
NO_RIGHT = {errno.EPERM, errno.EACCES, errno.ENOSYS}
ATTEMPTS = {}


class Refused(Exception):
    """The attempt did not get through; the text says why."""


def attempt(name):
    def keep(function):
        ATTEMPTS[name] = function
        return function
    return keep


def syscall(name, *arguments):
    """Refused only for want of rights: any other answer means that the kernel looked at it."""
    ctypes.set_errno(0)
    answer = libc.syscall(SYSCALLS[name], *arguments)
    number = ctypes.get_errno()
    if answer == -1 and number in NO_RIGHT:
        raise Refused(errno.errorcode[number])
    return answer


def in_child(function, *arguments):
    """What a child of ours meets, so that we stay as we are."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            function(*arguments)
            os.write(write, b"")
        except Refused as refused:
            os.write(write, str(refused).encode())
        except OSError as error:
            os.write(write, errno.errorcode.get(error.errno, str(error)).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        reason = answer.read()
    os.waitpid(pid, 0)
    if reason:
        raise Refused(reason)


@attempt("F-71 a descriptor beyond standard error")
def foreign_descriptor():
    # The listing itself holds one for a moment; what it names is gone when we look.
    open_now = [n for n in map(int, os.listdir("/proc/self/fd")) if n > 2]
    if not [n for n in open_now if os.path.exists(f"/proc/self/fd/{n}")]:
        raise Refused("only 0 to 2")


@attempt("F-71 ptrace of the first process")
def trace_init():
    def attach():
        syscall("ptrace", 16, 1, 0, 0)
        # Who lets go before it has stopped leaves it stopped, and the host without its first process.
        os.waitpid(1, WALL)
        syscall("ptrace", 17, 1, 0, 0)
    in_child(attach)


@attempt("F-71 memory of the agent")
def read_agent():
    pid = int(os.environ["VICTIM"])
    with open(f"/proc/{pid}/mem", "rb"):
        pass


@attempt("F-71 environment of the agent")
def read_environment():
    with open(f"/proc/{os.environ['VICTIM']}/environ", "rb") as victim:
        victim.read()


@attempt("F-71 program of the agent overwritten")
def overwrite_program():
    # Not what it runs from: a copy that the host uses in the same way.
    with open("/usr/local/bin/tepui-shim.victim", "r+b"):
        pass


@attempt("F-72 a user namespace")
def user_namespace():
    in_child(syscall, "unshare", CLONE["user"])


def child_in_new_namespace(name, *arguments):
    """clone(2) and clone3(2) go on in two processes."""
    pid = syscall(name, *arguments)
    if pid == 0:
        os._exit(0)
    if pid > 0:
        os.waitpid(pid, 0)


@attempt("F-72 a user namespace by clone")
def user_namespace_by_clone():
    in_child(child_in_new_namespace, "clone", CLONE["user"] | SIGCHLD, 0, 0, 0, 0)


@attempt("F-72 a user namespace by clone3")
def user_namespace_by_clone3():
    # flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls
    arguments = (ctypes.c_uint64 * 8)(CLONE["user"], 0, 0, 0, SIGCHLD, 0, 0, 0)
    in_child(child_in_new_namespace, "clone3", arguments, ctypes.sizeof(arguments))


@attempt("F-72 a mount namespace")
def mount_namespace():
    in_child(syscall, "unshare", CLONE["mount"])


@attempt("F-72 a network namespace")
def network_namespace():
    in_child(syscall, "unshare", CLONE["net"])


@attempt("F-72 mount")
def mount():
    with tempfile.TemporaryDirectory() as place:
        syscall("mount", b"tmpfs", place.encode(), b"tmpfs", 0, None)
        libc.umount2(place.encode(), 2)


@attempt("F-72 the first process's namespaces")
def enter_init():
    def enter():
        descriptor = os.open("/proc/1/ns/net", os.O_RDONLY)
        syscall("setns", descriptor, 0)
    in_child(enter)


@attempt("F-72 bpf")
def bpf():
    attributes = (ctypes.c_uint32 * 16)(2, 4, 4, 1)
    syscall("bpf", 0, attributes, ctypes.sizeof(attributes))


@attempt("F-72 perf events of everybody")
def perf():
    attributes = (ctypes.c_uint8 * 112)()
    attributes[4] = 112
    syscall("perf_event_open", attributes, -1, 0, -1, 0)


@attempt("F-72 kernel keys")
def keys():
    syscall("keyctl", 0, -3, 1, 0, 0)


@attempt("F-72 io_uring")
def io_uring():
    parameters = (ctypes.c_uint8 * 120)()
    syscall("io_uring_setup", 1, parameters)


@attempt("F-72 a kernel module")
def module():
    syscall("init_module", b"\0" * 64, 64, b"")


@attempt("F-72 the host's clock")
def clock():
    # An impossible time: only the right to set one is asked for.
    syscall("settimeofday", (ctypes.c_long * 2)(0, -1), None)


@attempt("F-72 the kernel's own settings")
def kernel_setting():
    with open("/proc/sys/kernel/core_pattern", "r+"):
        pass


@attempt("F-72 raw memory and disks")
def raw_devices():
    place = tempfile.mkdtemp()
    node = f"{place}/disk"
    os.mknod(node, stat.S_IFBLK | 0o600, os.makedev(7, 0))
    try:
        os.close(os.open(node, os.O_RDONLY))
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV):
            return
        raise
    finally:
        os.unlink(node)


@attempt("F-73 a setuid program")
def setuid_program():
    def become():
        program = os.environ["SETUID"]
        os.setgid(65534)
        os.setuid(65534)
        done = subprocess.run([program, "-u"], capture_output=True, text=True, check=False)
        if done.stdout.strip() != "0":
            raise Refused(f"runs as {done.stdout.strip() or done.stderr.strip()}")
    in_child(become)


@attempt("F-73 systemd over its bus")
def system_bus():
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as bus:
        bus.connect("/run/dbus/system_bus_socket")
        bus.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
        if not bus.recv(64).startswith(b"OK"):
            raise Refused("not let in")
    done = subprocess.run(
        ["busctl", "--timeout=60", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
         "org.freedesktop.systemd1.Manager", "SetEnvironment", "as", "1", "HOSTILE=1"],
        capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(done.stderr.strip())


@attempt("F-73 systemd's private socket")
def private_socket():
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as systemd:
        systemd.connect("/run/systemd/private")


def groups():
    places = [p for p in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup") if
              os.path.exists(f"{p}/cgroup.procs")]
    return places[0] if places else "/sys/fs/cgroup"


@attempt("F-74 another control group")
def other_group():
    def move():
        with open(f"{groups()}/cgroup.procs", "w") as root:
            root.write("0")
    in_child(move)


@attempt("F-74 its own limits")
def own_limits():
    own = [line.split("::", 1)[1].strip() for line in open("/proc/self/cgroup") if "::" in line]
    paths = glob.glob(f"{groups()}{own[0]}/cgroup.max.descendants")
    if not paths:
        raise Refused("not to be seen")
    with open(paths[0], "w") as limit:
        limit.write("max")


@attempt("F-75 raw packets")
def raw_packets():
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)).close()


@attempt("F-75 a raw IP socket")
def raw_ip():
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP).close()


@attempt("F-75 a vsock")
def vsock():
    try:
        socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT and os.environ.get("PLAIN"):
            return
        raise


@attempt("F-75 a port that was not offered")
def other_port():
    with contextlib.closing(socket.socket()) as server:
        server.bind(("", 8099))


@attempt("F-75 a port that was not offered, mapped into IPv6")
def other_port_mapped():
    with contextlib.closing(socket.socket(socket.AF_INET6)) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::ffff:127.0.0.1", 8098))


@attempt("F-75 the host's interfaces")
def interfaces():
    done = subprocess.run(["ip", "link", "add", "hostile0", "type", "dummy"],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(done.stderr.strip().splitlines()[-1])
    subprocess.run(["ip", "link", "del", "hostile0"], check=True)


@attempt("F-69 the agent's records")
def agents_records():
    os.listdir(os.environ.get("RECORDS", "/var/lib/tepui/agent/meta"))


def launch(name):
    """The call for a container of root, which leaves a file that only root can."""
    by = "plain" if os.environ.get("PLAIN") else "task"
    command = f"touch /run/hostile-by-{by}; sleep 1000"
    return json.dumps({"type": "LAUNCH_CONTAINER", "launch_container": {
        "container_id": {"value": f"hostile-by-{by}-{os.getpid()}-{name}"},
        "command": {"shell": True, "value": command, "user": "root"}}}).encode()


def asked(host, path, call=None):
    request = urllib.request.Request(f"http://{host}:5051{path}", call,
                                     {"content-type": "application/json"})
    try:
        return urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as answer:
        if answer.code == 403:
            raise Refused(f"403 {answer.read().decode()}") from answer
        # Any other answer means that the agent looked at it.
        return None


@attempt("a process of root by the agent, over 127.0.0.1")
def agent_over_v4():
    asked("127.0.0.1", "/api/v1", launch("v4"))


@attempt("a process of root by the agent, over ::1")
def agent_over_v6():
    asked("[::1]", "/slave(1)/api/v1", launch("v6"))


@attempt("a process of root by the agent, over the mapped address")
def agent_over_mapped():
    asked("[::ffff:127.0.0.1]", "/api/v1", launch("mapped"))


@attempt("a process of root by the agent, over the host's own address")
def agent_over_own_address():
    asked(os.environ["ADDRESS"], "/api/v1", launch("own"))


@attempt("a process of root by the agent, by a client that is gone at once")
def agent_by_nobody():
    body = launch("gone")
    for _ in range(50):
        with contextlib.closing(socket.create_connection(("127.0.0.1", 5051))) as client:
            # With a linger of no time the close leaves no socket behind.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(f"POST /api/v1 HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json"
                           f"\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
    if not os.environ.get("PLAIN"):
        raise Refused("nobody answers; the case looks what came of it")


@attempt("a session beside itself as root by the agent")
def agent_session():
    runs = [one["container_id"] for one in json.load(asked("127.0.0.1", "/containers"))]
    for run in runs or ["none"]:
        call = {"type": "LAUNCH_NESTED_CONTAINER_SESSION", "launch_nested_container_session": {
            "container_id": {"value": "s", "parent": {"value": run}},
            "command": {"shell": True, "value": "id -u", "user": "root"}}}
        asked("127.0.0.1", "/api/v1", json.dumps(call).encode())


@attempt("sandboxes of others by the agent")
def agent_files():
    asked("127.0.0.1", "/files/debug")


@attempt("the host's passwords")
def passwords():
    with open("/etc/shadow"):
        pass


@attempt("T-52 inheritable capabilities")
def inheritable():
    fields = dict(line.split(":\t") for line in open("/proc/self/status") if ":\t" in line)
    if int(fields["CapInh"], 16) == 0:
        raise Refused("none")


def main():
    only = sys.argv[1:]
    for name, function in ATTEMPTS.items():
        if only and name not in only:
            continue
        try:
            function()
            print(f"{name}: OPEN", flush=True)
        except Refused as refused:
            print(f"{name}: {refused}", flush=True)
        except OSError as error:
            print(f"{name}: {errno.errorcode.get(error.errno, error)}", flush=True)


if __name__ == "__main__":
    main()
