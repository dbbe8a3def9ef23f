"""A service of a few lines: HTTP on $PORT. `python3 app.py [FAIL_AFTER]`

Answers 200 to everything; from FAIL_AFTER seconds on 500, while the process itself stays alive:
what only a check can see. Ends at once on SIGTERM, which is what Python does unless told otherwise.
"""

import os
import signal
import socket
import sys
import time

HEALTHY = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"
BROKEN = b"HTTP/1.1 500 Broken\r\nContent-Length: 7\r\nConnection: close\r\n\r\nbroken\n"
PATIENCE = 1.0  # seconds for a client to say what it wants


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C by hand: no traceback
    breaks_at = time.monotonic() + (float(sys.argv[1]) if len(sys.argv) > 1 else float("inf"))
    address = ("127.0.0.1", int(os.environ["PORT"]))
    with socket.create_server(address) as listener:
        while True:
            client, _ = listener.accept()
            with client:
                answer(client, HEALTHY if time.monotonic() < breaks_at else BROKEN)


def answer(client: socket.socket, response: bytes) -> None:
    client.settimeout(PATIENCE)
    try:
        client.recv(4096)
        client.sendall(response)
    except OSError:
        pass  # the client has gone


main()
