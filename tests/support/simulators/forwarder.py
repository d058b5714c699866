"""Carries TCP connections to a machine's address and port on to the control plane that stands behind it."""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end, how in ((target, socket.SHUT_WR), (source, socket.SHUT_RD)):
        with suppress(OSError):
            end.shutdown(how)


def _carry(client: socket.socket, port: int) -> None:
    with client, socket.socket() as server:
        try:
            server.connect(("127.0.0.1", port))
        except OSError:
            return
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        _pump(client, server)
        back.join()


def main() -> None:
    """Listen until killed, or until the host's directory is gone."""
    directory, _, address, port, target = sys.argv[1:]
    listener = socket.create_server((address, int(port)), backlog=128)

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_carry, args=(client, int(target)), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print("listening", flush=True)
    while (Path(directory) / "settings.json").exists():
        time.sleep(1)


if __name__ == "__main__":
    main()
