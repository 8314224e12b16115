"""Gives a folder another project, and has what is made in it get none; prints what came of reading its
project and of each."""

import errno
import fcntl
import os
import struct
import sys

GET, SET = 0x801C581F, 0x401C5820
GET_FLAGS, SET_FLAGS = 0x80086601, 0x40086602


def attempt(word, function):
    try:
        function()
        print(word)
    except OSError as error:
        print(errno.errorcode[error.errno])


def main():
    folder = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
    state = bytearray(28)

    def read():
        fcntl.ioctl(folder, GET, state)

    def leave():
        flags, *rest = struct.unpack("=5I8s", bytes(state))
        rest[2] = 9
        fcntl.ioctl(folder, SET, struct.pack("=5I8s", flags, *rest))

    def shed():
        flags = bytearray(8)
        fcntl.ioctl(folder, GET_FLAGS, flags)
        fcntl.ioctl(folder, SET_FLAGS, bytes(flags))

    attempt("read", read)
    attempt("left", leave)
    attempt("shed", shed)


if __name__ == "__main__":
    main()
