"""QEMU's command line, and the template: a booted machine whose memory every clone begins with."""

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .lab import command
from .net import mac
from .progress import TestFailure, nested, retry
from .qmp import Qmp
from .shell import Shell

MEMORY_MB = 512
PAYLOAD_MB = 384
"""The guest of the template remembers the size of its disks, so it is the same for all."""
BOOT_SECONDS = 300

KERNEL_LINE = (
    "console=ttyS0 quiet loglevel=3 panic=-1 root=/dev/vda mitigations=off nokaslr no_timer_check "
    "tsc=reliable random.trust_cpu=on cryptomgr.notests audit=0 apparmor=0 selinux=0 "
    "rcupdate.rcu_expedited=1 nowatchdog noreplace-smp 8250.nr_uarts=1 i8042.noaux i8042.nomux "
    "i8042.nopnp i8042.dumbkbd"
)


def _kvm_works() -> bool:
    """Asks QEMU itself: the device may be there and refuse what a machine needs."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    words = "-M pc -accel kvm -cpu max -m 64 -nodefaults -display none -S -qmp stdio"
    done = subprocess.run(
        ["qemu-system-x86_64", *words.split()],
        input='{"execute":"qmp_capabilities"}{"execute":"quit"}', text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode == 0


@functools.cache
def accelerator() -> str:
    """kvm where it works, else tcg; TEPUI_VM_ACCEL overrules."""
    return os.environ.get("TEPUI_VM_ACCEL") or ("kvm" if _kvm_works() else "tcg")


def command_line(
    folder: Path, image: Path, disk: Path, payload: Path, *, netdev: str, number: int
) -> list[str]:
    """What template, clones and cold machines have in common. Device addresses are part of a
    snapshot; so are MAC and console, whose values a clone changes later."""
    accel = "tcg,thread=multi,tb-size=128" if accelerator() == "tcg" else accelerator()
    line = [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-cpu", "max", "-smp", "1", "-m", str(MEMORY_MB), "-accel", accel,
        "-kernel", f"{image}/vmlinux", "-initrd", f"{image}/initrd.cpio",
        "-serial", f"file:{folder}/console.log",
        "-device", "virtio-serial-pci,addr=5",
        "-chardev", f"socket,id=shell,path={folder}/shell", "-device", "virtconsole,chardev=shell",
        "-device", "virtio-rng-pci,addr=6",
        "-netdev", netdev,
        "-device", f"virtio-net-pci,id=vnic,netdev=vlan,mac={mac(number)},addr=7",
        "-qmp", f"unix:{folder}/qmp,server=on,wait=off",
    ]  # fmt: skip
    disks = [
        ("base", 4, f"readonly=on,file={image}/base.erofs"),
        ("state", 8, f"cache=unsafe,file={disk}"),
        ("payload", 9, f"readonly=on,file={payload}"),
    ]
    for name, address, options in disks:
        line += ["-drive", f"if=none,id={name},format=raw,{options}"]
        line += ["-device", f"virtio-blk-pci,drive={name},addr={address}"]
    return line


def memory(template: Path, *, shared: bool) -> list[str]:
    """The template's memory: the template writes it, clones map it copy-on-write."""
    share = "on" if shared else "off"
    file = f"mem-path={template}/ram.img,share={share}"
    backend = f"memory-backend-file,id=m,size={MEMORY_MB}M,{file}"
    return ["-M", "pc,hpet=off,memory-backend=m", "-object", backend]


def ignore_shared_memory(qmp: Qmp) -> None:
    """Leaves the memory out of the migration: its file is the snapshot."""
    capability = {"capability": "x-ignore-shared", "state": True}
    qmp("migrate-set-capabilities", capabilities=[capability])


def _make(image: Path, template: Path, folder: Path) -> None:
    disk, payload = template / "state.img", template / "payload.img"
    command("cp", "--sparse=always", f"{image}/blank.img", str(disk))
    command("truncate", "-s", f"{PAYLOAD_MB}M", str(payload))
    shell = Shell(folder / "shell")
    line = command_line(folder, image, disk, payload, netdev="hubport,id=vlan,hubid=0", number=255)
    line += [*memory(template, shared=True), "-append", KERNEL_LINE]
    with open(folder / "qemu.log", "wb") as errors:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *line], stdin=subprocess.DEVNULL, stdout=errors,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        shell.accept()
        shell.wait_for_greeting(BOOT_SECONDS)
        # The address-less interface gets its name here; clones only fill it in.
        status, output = shell.run(
            "systemctl is-system-running --wait; ip link set lo up; "
            "ip link set eth0 down name eth1; sync",
            BOOT_SECONDS,
        )
        if status != 0:
            raise TestFailure(f"the template did not boot well: {output}")
        qmp = Qmp(folder / "qmp")
        qmp("stop")
        ignore_shared_memory(qmp)
        qmp("migrate", uri=f"exec:cat > {template}/state.bin")
        retry(lambda _: qmp("query-migrate").get("status") == "completed", 60)
    finally:
        process.kill()
        process.wait()
        shell.close()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def ensure_template(image: Path) -> Path:
    """The folder of the template of this image, this QEMU and this command line."""
    version = command("qemu-system-x86_64", "--version").stdout
    nowhere = Path("/nowhere")
    line = command_line(nowhere, nowhere, nowhere, nowhere, netdev="", number=0)
    text = "\n".join([version, KERNEL_LINE, *line, Path(__file__).read_text()])
    template = image / f"template-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    with _locked(image / "template.lock"):
        if not (template / "complete").exists():
            with nested("making the snapshot that virtual hosts begin with (once per image)"):
                shutil.rmtree(template, ignore_errors=True)
                template.mkdir()
                with tempfile.TemporaryDirectory(prefix="tepui-template-") as folder:
                    _make(image, template, Path(folder))
                (template / "complete").touch()
    return template
