"""Makes nodes of the host's devices and opens them; prints for each what came of both."""

import contextlib
import errno
import os
import stat
import sys


def disk():
    """The first disk that the kernel has."""
    with open("/proc/partitions") as partitions:
        major, minor, *_ = partitions.read().split("\n")[2].split()
    return int(major), int(minor)


DEVICES = {
    "null": (stat.S_IFCHR, (1, 3), os.O_RDWR),
    "disk": (stat.S_IFBLK, disk(), os.O_RDONLY),
    "disk for writing": (stat.S_IFBLK, disk(), os.O_RDWR),
    "fuse": (stat.S_IFCHR, (10, 229), os.O_RDWR),
    "kmsg": (stat.S_IFCHR, (1, 11), os.O_WRONLY),
}


def outcome(function, *arguments):
    try:
        answer = function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    if isinstance(answer, int):
        os.close(answer)
    return "yes"


def main():
    for name, (kind, number, flags) in DEVICES.items():
        path = f"/dev/hostile-{os.getpid()}"
        made = outcome(os.mknod, path, kind | 0o600, os.makedev(*number))
        opened = outcome(os.open, path, flags | os.O_NONBLOCK)
        with contextlib.suppress(OSError):
            os.unlink(path)
        print(f"{name}: made {made} opened {opened}")
    for path in sys.argv[1:]:
        print(f"{path}: opened {outcome(os.open, path, os.O_RDONLY)}")


if __name__ == "__main__":
    main()
