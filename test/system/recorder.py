"""A server that writes down what each connection read and how it ended: recorder.py PORT LOG [--abort].

One JSON line a connection when it ends: client, bytes (latin-1), end ("eof" or the error). It answers every read with
as many bytes. With --abort it resets a connection that has been silent for a second.
"""

import json
import socket
import struct
import sys
import threading

port, log = int(sys.argv[1]), open(sys.argv[2], "a", buffering=1, encoding="ascii")
abort = sys.argv[3:] == ["--abort"]
lock = threading.Lock()


def serve(connection, client):
    got, end = b"", "eof"
    connection.settimeout(1 if abort else None)
    try:
        while True:
            more = connection.recv(65536)
            if not more:
                break
            got += more
            connection.sendall(b"x" * len(more))
    except TimeoutError:
        end = "silence"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
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
