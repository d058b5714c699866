"""Run a program with few ports: ``unshare --net python few_ports.py <ports> <argv…>``.

The network is that of a private name space with nothing but loopback, so nobody else is short of ports.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

_SIOCSIFFLAGS = 0x8914  # netdevice(7)
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_FIRST = 40_000

if __name__ == "__main__":
    count, argv = int(sys.argv[1]), sys.argv[2:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP | _IFF_RUNNING))
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(f"{_FIRST} {_FIRST + max(count, 1) - 1}")
    if count == 0:  # a range cannot be empty, but its only port can be taken
        taken = socket.create_server(("127.0.0.1", _FIRST))
        os.set_inheritable(taken.detach(), True)
    os.execvp(argv[0], argv)
