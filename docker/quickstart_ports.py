"""Says who holds a port. quickstart_ports.py NAME=PORT...

Exits 1 if any is taken. Needs nothing but Python and /proc.
"""

import os
import sys

LISTEN = "0A"
LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
ANY = {"0" * 8, "0" * 32}


def listening(port: int) -> set[str]:
    """Inodes of the sockets that listen there, on loopback or on all addresses."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not os.path.exists(table):
            continue
        with open(table) as lines:
            next(lines)
            for line in lines:
                fields = line.split()
                address, _, number = fields[1].partition(":")
                if fields[3] == LISTEN and int(number, 16) == port and address in LOOPBACK | ANY:
                    found.add(fields[9])
    return found


def holder(inodes: set[str]) -> str:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                target = os.readlink(f"/proc/{pid}/fd/{fd}")
                if target.startswith("socket:[") and target[8:-1] in inodes:
                    with open(f"/proc/{pid}/cmdline", "rb") as f:
                        command = f.read().replace(bytes(1), b" ").decode("utf-8", "replace")
                    return f"pid {pid}: {command.strip()}"
        except OSError:
            continue
    return "a process of another user or container"


def main() -> int:
    taken = 0
    for argument in sys.argv[1:]:
        name, _, number = argument.partition("=")
        inodes = listening(int(number))
        if inodes:
            print(f"quickstart: port {number} ({name}) is taken by {holder(inodes)}", file=sys.stderr)
            taken = 1
    if taken:
        print("quickstart: end it, or choose others: --ports DATA,API,ENGINE,REDIS", file=sys.stderr)
    return taken


if __name__ == "__main__":
    sys.exit(main())
