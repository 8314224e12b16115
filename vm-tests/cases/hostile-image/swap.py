"""Exchanges the folder `shared` beside the link `link` for ever, as fast as it can: FOLDER."""

import ctypes
import os
import sys

EXCHANGE, HERE = 2, -100


def main():
    os.chdir(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    while True:
        libc.renameat2(HERE, b"shared", HERE, b"link", EXCHANGE)


if __name__ == "__main__":
    main()
