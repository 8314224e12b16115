"""Takes the ELF kernel out of a bzImage: QEMU boots it without a decompression in the guest."""

import lzma
import pathlib
import subprocess
import sys
from collections.abc import Iterator

LZ4_LEGACY = b"\x02\x21\x4c\x18"
XZ = b"\xfd7zXZ\x00"
ZSTD = b"\x28\xb5\x2f\xfd"


def candidates(image: bytes) -> Iterator[bytes]:
    """Everything in the image that can be decompressed."""
    for magic, command in ((LZ4_LEGACY, ["lz4", "-dc"]), (ZSTD, ["zstd", "-dc"])):
        at = image.find(magic)
        while at >= 0:
            # What follows the payload makes the tool complain; its output is judged instead.
            tool = subprocess.run(command, input=image[at:], capture_output=True, check=False)
            yield tool.stdout
            at = image.find(magic, at + 1)
    at = image.find(XZ)
    if at >= 0:
        yield lzma.LZMADecompressor().decompress(image[at:])


def main() -> None:
    """vmlinux.py BZIMAGE VMLINUX; the bzImage itself is good enough where nothing is found."""
    source, goal = map(pathlib.Path, sys.argv[1:])
    image = source.read_bytes()
    for kernel in candidates(image):
        if kernel.startswith(b"\x7fELF"):
            goal.write_bytes(kernel)
            return
    print("vm-tests: no ELF kernel found in the bzImage, which boots more slowly", file=sys.stderr)
    goal.write_bytes(image)


main()
