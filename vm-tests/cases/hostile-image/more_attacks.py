"""What root of an image tries besides what every hostile task tries (attacks.py)."""

import contextlib
import errno
import glob
import os
import socket
import subprocess
import tempfile
import time

import attacks
from attacks import NO_RIGHT, SYSCALLS, Refused, attempt, libc, syscall

SYSCALLS.update({"umount2": 166, "request_key": 249, "lookup_dcookie": 212, "kcmp": 312})
# As the kernel numbers them: what a container has without asking.
USUAL = {0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 29, 31}
# Protocols that nobody needs, each a module that any user could have loaded.
ODD_FAMILIES = {"AF_X25": 9, "AF_RDS": 21, "AF_CAN": 29, "AF_TIPC": 30, "AF_ALG": 38}
SEEN_WITHIN = 60


def any_of(ways):
    """Refused only when each way is; the reasons are told."""
    reasons = []
    for name, way in ways.items():
        try:
            way()
            return
        except Refused as refused:
            reasons.append(f"{name} {refused}")
        except OSError as error:
            reasons.append(f"{name} {errno.errorcode.get(error.errno, error)}")
    raise Refused(", ".join(reasons))


def programs():
    """Processes and the programs that they are. One that has more rights than we is not to be looked
    at: in a container that is the runtime on its way into it, and a refusal."""
    for path in glob.glob("/proc/[0-9]*/exe"):
        try:
            yield path, os.path.basename(os.readlink(path))
        except PermissionError:
            raise Refused("EACCES: not even to be looked at") from None
        except OSError:
            continue


@attempt("F-71 the runtime overwritten through /proc/N/exe")
def overwrite_runtime():
    victim, end = os.environ["VICTIM_EXE"], time.monotonic() + SEEN_WITHIN
    while time.monotonic() < end:
        for path, name in programs():
            if not name.startswith(victim):
                continue
            held = os.open(path, os.O_RDONLY)
            # A program that runs cannot be written in any case: the attack waits until none does.
            while time.monotonic() < end:
                try:
                    os.close(os.open(f"/proc/self/fd/{held}", os.O_WRONLY))
                    return
                except OSError as error:
                    if error.errno != errno.ETXTBSY:
                        raise
            raise Refused("ETXTBSY")
    raise Refused("never seen")


@attempt("T-50 the host through a working directory or a descriptor")
def leaked_folder():
    places = ["/proc/self/cwd", "/proc/1/cwd", "/proc/1/root", "/proc/self/root"]
    places += glob.glob("/proc/self/fd/*") + glob.glob("/proc/1/fd/*")
    for place in places:
        for up in range(10):
            with contextlib.suppress(OSError):
                with open(f"{place}/{'../' * up}root/host-marker") as marker:
                    marker.read()
                return
    raise Refused("nothing leads there")


@attempt("T-51 what is hidden below /proc and /sys")
def hidden():
    def read(path):
        def look():
            with open(path, "rb") as file:
                if not file.read(16):
                    raise Refused("is empty")
        return look

    def listed():
        if not os.listdir("/sys/firmware"):
            raise Refused("is empty")

    files = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts"]
    any_of({**{path: read(path) for path in files}, "/sys/firmware": listed})


@attempt("T-51 what cannot be written below /proc and /sys")
def read_only():
    paths = ["/proc/sysrq-trigger", "/proc/sys/vm/drop_caches", "/proc/sys/kernel/modprobe",
             "/sys/kernel/uevent_helper", "/sys/power/state", "/proc/irq/default_smp_affinity"]
    any_of({path: lambda path=path: os.close(os.open(path, os.O_WRONLY)) for path in paths})


@attempt("T-51 a mount over what is hidden taken away")
def unmask():
    any_of({path: lambda path=path: syscall("umount2", path.encode(), 2) for path in ("/proc/kcore", "/proc/sys")})


@attempt("T-51 /proc mounted anew")
def mount_proc():
    with tempfile.TemporaryDirectory() as place:
        syscall("mount", b"proc", place.encode(), b"proc", 0, None)
        libc.umount2(place.encode(), 2)


@attempt("F-72 release_agent of a control group")
def release_agent():
    with tempfile.TemporaryDirectory() as place:
        syscall("mount", b"x", place.encode(), b"cgroup", 0, b"rdma")
        libc.umount2(place.encode(), 2)


@attempt("F-72 keys that others have")
def others_keys():
    kinds = (b"user", b"hostile", b"x", 1, -4)
    any_of({"add_key": lambda: syscall("add_key", *kinds),
            "request_key": lambda: syscall("request_key", b"user", b"hostile", None, -4)})


@attempt("F-72 a module loaded by an odd socket")
def odd_sockets():
    def ask(family):
        try:
            socket.socket(family, socket.SOCK_SEQPACKET if family in (9, 38) else socket.SOCK_RAW).close()
        except OSError as error:
            if error.errno in NO_RIGHT:
                raise
    any_of({name: lambda family=family: ask(family) for name, family in ODD_FAMILIES.items()})


@attempt("F-72 page faults handled by itself")
def userfaults():
    descriptor = syscall("userfaultfd", 0)
    os.close(descriptor)


@attempt("F-72 files by their handles")
def handles():
    syscall("open_by_handle_at", -100, b"\0" * 64, 0)


@attempt("F-72 kexec, reboot and swap")
def whole_host():
    any_of({"kexec_load": lambda: syscall("kexec_load", 0, 0, 0, 0xff),
            "reboot": lambda: syscall("reboot", 0, 0, 0), "swapon": lambda: syscall("swapon", b"/none", 0)})


@attempt("T-52 a capability beyond its set")
def capabilities():
    with open("/proc/self/status") as status:
        fields = dict(line.split(":\t") for line in status if ":\t" in line)
    beyond = {name: int(fields[name], 16) & ~sum(1 << one for one in USUAL)
              for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    if not any(beyond.values()):
        raise Refused("none")


@attempt("F-76 ARP or neighbour discovery in another's name")
def spoof():
    any_of({"ARP": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0806)).close(),
            "ND": lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58).close()})


@attempt("F-76 another's address taken")
def take_address():
    words = ["ip", "address", "add", "10.218.250.250/16", "dev", os.environ["DEVICE"]]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(done.stderr.strip())


@attempt("F-76 an abstract socket of the host")
def abstract():
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as other:
        other.connect("\0tepui-victim")


@attempt("F-76 the link-local address of metadata")
def metadata():
    with contextlib.closing(socket.socket()) as client:
        client.settimeout(5)
        try:
            client.connect(("169.254.169.254", 80))
        except TimeoutError:
            raise Refused("no answer") from None


if __name__ == "__main__":
    attacks.main()
