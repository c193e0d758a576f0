"""A server that writes down what each connection read and how it ended: recorder.py PORT LOG [SECONDS].

One JSON line a connection when it ends: client, bytes (latin-1), end ("eof" or the error). It answers every read with
as many bytes, and ends a connection that has been silent for SECONDS (by default never).
"""

import json
import socket
import sys
import threading

port, log = int(sys.argv[1]), open(sys.argv[2], "a", buffering=1, encoding="ascii")
silence = float(sys.argv[3]) if len(sys.argv) > 3 else None
lock = threading.Lock()


def serve(connection, client):
    got, end = b"", "eof"
    connection.settimeout(silence)
    try:
        while True:
            more = connection.recv(65536)
            if not more:
                break
            got += more
            connection.sendall(b"x" * len(more))
    except TimeoutError:
        end = "silence"
    except OSError as error:
        end = type(error).__name__
    connection.close()
    with lock:
        log.write(json.dumps({"client": f"{client[0].replace('::ffff:', '')}:{client[1]}",
                              "bytes": got.decode("latin-1"), "end": end}) + "\n")


listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096)
while True:
    accepted = listener.accept()
    threading.Thread(target=serve, args=accepted, daemon=True).start()
