#!/usr/bin/python3
"""A server that judges the order of turns: turns_server.py PORT LOG [ANSWER-FACTOR [DELAY-MS [REQUESTS]]]

A request is a line, `<number> <bytes of answer>`, padded as the client likes. The answer has that many
bytes, times ANSWER-FACTOR, and goes out DELAY-MS after the request came, in pieces of at most 16 KB. Before
each piece the server looks whether the connection's next bytes have come already: a client that waits for
answers cannot have sent any. A connection that has had REQUESTS of them is closed behind the last answer.

LOG has one line of JSON for each connection that has ended: the client, its numbers in order, the SHA-256 of
all it sent, and `early`: [number, bytes answered, bytes of the whole answer] of each request before which
something of the next one had come.
"""

import hashlib
import itertools
import json
import select
import socket
import sys
import threading
import time

PIECE = 16384


class Talk:
    def __init__(self, connection, client):
        self.connection = connection
        self.report = {"client": f"{client[0]}:{client[1]}", "numbers": [], "early": []}
        self.digest = hashlib.sha256()
        self.pending = b""
        self.poll = select.poll()
        self.poll.register(connection, select.POLLIN)

    def line(self):
        """The next request; None at the end."""
        while b"\n" not in self.pending:
            piece = self.connection.recv(1 << 16)
            if not piece:
                return None
            self.digest.update(piece)
            self.pending += piece
        line, _, self.pending = self.pending.partition(b"\n")
        return line

    def answer(self, number, size):
        sent = 0
        while sent < size:
            if self.pending or self.poll.poll(0):
                self.report["early"].append([number, sent, size])
                break
            piece = min(PIECE, size - sent)
            self.connection.sendall(b"." * (piece - 1) + (b"\n" if sent + piece == size else b"."))
            sent += piece
        if sent < size:
            self.connection.sendall(b"." * (size - sent - 1) + b"\n")

    def run(self, factor, delay, requests):
        try:
            while len(self.report["numbers"]) != requests and (line := self.line()) is not None:
                number, size = map(int, line.split()[:2])
                self.report["numbers"].append(number)
                time.sleep(delay)
                self.answer(number, max(1, int(size * factor)))
        except ConnectionError as error:
            self.report["error"] = str(error)
        self.connection.close()
        self.report["sha256"] = self.digest.hexdigest()
        return self.report


def main():
    port, path, factor, delay, requests = (sys.argv[1:] + ["1", "0", "0"][len(sys.argv) - 3:])[:5]
    lock = threading.Lock()
    log = open(path, "a", buffering=1)

    def serve(connection, client, began):
        report = Talk(connection, client).run(float(factor), float(delay) / 1000, int(requests) or None)
        report["began"] = began
        with lock:
            log.write(json.dumps(report) + "\n")

    listener = socket.create_server(("0.0.0.0", int(port)), backlog=1024)
    for began in itertools.count():
        connection, client = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(connection, client, began), daemon=True).start()


if __name__ == "__main__":
    main()
