"""Servers whose counters are cheap to read, and load for them."""

import contextlib
import json
import re
import resource
import socket
import struct
import subprocess

from .measure import TOP, ending
from labnet.netns import LabError
from labnet.servers import Server

TOOLS = TOP / "build" / "bench"
REDIS_PORT, HTTP_PORT = 6379, 80
DATA = ("set", "get", "append", "ping")
STAMP = struct.Struct("=QIIIHxx")       # struct stamp of bench/tap.c


def reuse_ports(*hosts):
    """Many short connections: the stock settings would run out of ports."""
    for host in hosts:
        host.sysctl(net__ipv4__tcp_tw_reuse=1, net__ipv4__ip_local_port_range="10000 65000")


class RedisPair:
    """A redis on the online host and on the target, asked by a socket that no capture sees."""

    port = REDIS_PORT

    def __init__(self, lab):
        self.servers, self.sockets = [], []
        for name in ("online", "target"):
            path = str(lab.directory / f"{name}.sock")
            self.servers.append(lab.redis(name, args=["--client-query-buffer-limit", "200mb", "--unixsocket", path]))
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(path)
            connection.settimeout(20)
            self.sockets.append(connection.makefile("rwb"))

    def counts(self):
        """Commands executed so far: (online, target)."""
        return tuple(map(self._executed, self.sockets))

    @staticmethod
    def _executed(connection):
        connection.write(b"INFO commandstats\r\n")
        connection.flush()
        length = int(connection.readline()[1:])
        text = connection.read(length + 2).decode()
        return sum(int(n) for name, n in re.findall(r"cmdstat_(\w+):calls=(\d+)", text) if name in DATA)

    def pids(self):
        return [server.pid for server in self.servers]

    def equal(self):
        return self.servers[0].digest() == self.servers[1].digest()


WEB_CONF = """
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile {files};
pid {directory}/nginx.pid;
error_log {log};
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    default_type text/plain;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {port} backlog=4096;
        root {directory};
        location / {{
            {mirror}
        }}
        location = /mirror {{
            internal;
            proxy_pass http://{upstream}$request_uri;
        }}
        location /upload {{
            # nginx reads a body to its end before it asks the upstream, which is not given it
            proxy_pass http://unix:{directory}/done.sock;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }}
    }}
    server {{
        listen unix:{directory}/done.sock;
        return 204;
    }}
    server {{
        listen unix:{directory}/status.sock;
        stub_status;
    }}
}}
"""


class Web(Server):
    """nginx with one worker, without an access log; /hello is a file of 15 bytes, which has no index to be
    redirected to (a redirected request is mirrored twice). With `mirror_to`, as nginx's manual has it:
    one location with `mirror`, one that is internal with `proxy_pass`.
    """

    kind = "web"

    def __init__(self, host, port=HTTP_PORT, mirror_to=None):
        super().__init__(host, port)
        self.mirror_to = mirror_to
        self.asked = 0

    def prepare(self):
        (self.directory / "hello").write_text("it is answering")
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        (self.directory / "nginx.conf").write_text(WEB_CONF.format(
            files=files, connections=min(files, 16384), directory=self.directory, log=self.log, port=self.port,
            mirror="mirror /mirror;" if self.mirror_to else "", upstream=self.mirror_to or "127.0.0.1:9"))

    def command(self):
        return ["nginx", "-p", self.directory, "-e", self.log, "-c", self.directory / "nginx.conf"]

    def requests(self):
        """Requests so far, by its own counter."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self.directory / "status.sock"))
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b""
            while piece := connection.recv(4096):
                answer += piece
        self.asked += 1
        return int(answer.split(b"\r\n\r\n", 1)[1].splitlines()[2].split()[2]) - self.asked


class WebPair:
    port = HTTP_PORT

    def __init__(self, lab, mirror=False):
        upstream = f"{lab.host('target').ip4}:{HTTP_PORT}" if mirror else None
        self.servers = [Web(lab.host("online"), mirror_to=upstream).start(), Web(lab.host("target")).start()]

    def counts(self):
        """Requests so far, less the inner ones of /upload: (online, target)."""
        return tuple(server.requests() for server in self.servers)

    def pids(self):
        return [server.pid for server in self.servers]

    def equal(self):
        return None


class LoadServer(Server):
    """`load sink` or `load answer`."""

    kind = "load"

    def __init__(self, host, mode, port=REDIS_PORT, processes=1):
        super().__init__(host, port)
        self.mode = mode
        self.processes = processes

    def command(self):
        return [TOOLS / "load", self.mode, self.port, self.processes]


class Sender:
    """`load send` in the client, as many processes as are needed: its connections are open when it is made."""

    MOST = 15000        # connections of a process, for the limit of open files

    def __init__(self, lab, connections, rate, seconds, text, sources=(), port=REDIS_PORT):
        count = -(-connections // self.MOST)
        self.processes = []
        for number in range(count):
            share = (connections + number) // count
            self.processes.append(lab.host("client").popen(
                [TOOLS / "load", "send", lab.host("online").ip4, port, share, rate / count, seconds, text, *sources],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
            if self.processes[-1].stdout.readline().strip() != "ready":
                raise LabError(f"load: {self.processes[-1].stderr.read()}")

    def run(self):
        """Send; what was sent, as a dict."""
        for process in self.processes:
            process.stdin.write("\n")
            process.stdin.flush()
        results = [json.loads(process.stdout.readline()) for process in self.processes]
        return {name: (max if name == "seconds" else sum)(result[name] for result in results) for name in results[0]}

    def close(self):
        for process in self.processes:
            process.stdin.close()
        for process in self.processes:
            process.wait(timeout=60)


def ask_paced(lab, clients, rate, seconds, mode):
    """`load http` in the client: a Popen; finished(it) has the result."""
    return lab.host("client").popen([TOOLS / "load", "http", lab.host("online").ip4, HTTP_PORT, clients, rate, seconds,
                                     "/hello", mode], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finished(process, timeout=60):
    out, err = process.communicate(timeout=timeout)
    if process.returncode:
        raise LabError(f"load: {err}")
    return json.loads(out)


def redis_benchmark(lab, *args, timeout=120):
    """Run it in the client; requests a second, of all its tests together."""
    out = lab.host("client").check_output(
        ["redis-benchmark", "-h", lab.host("online").ip4, "--csv", "-r", "100000", *args], timeout=timeout)
    rates = [float(line.split('","')[1]) for line in out.splitlines()[1:]]
    return len(rates) / sum(1 / rate for rate in rates)


MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


def wrk(lab, seconds, close=False, connections=100):
    """Run it in the client; {"rps", "p50", "p99" (ms), "errors"}."""
    out = lab.host("client").check_output(
        ["wrk", "-t", 1, "-c", connections, "-d", f"{seconds}s", "--latency", *(["-H", "Connection: close"] if close else []),
         f"http://{lab.host('online').ip4}/hello"])
    times = {share: float(n) * MILLISECONDS[unit]
             for share, n, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s|m)\b", out)}
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    return {"rps": float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]), "p50": times["50"], "p99": times["99"],
            "errors": sum(map(int, errors.groups())) if errors else 0}


class Tap:
    """bench/tap on an interface of a host: the bare reader of a ring, or, with stamps, the time of every request."""

    def __init__(self, host, interface, port, stamps=False):
        self.path = host.lab.new_path(f"{host.name}.stamps") if stamps else None
        self.process = host.popen([TOOLS / "tap", interface, port, *([self.path] if stamps else [])],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if self.process.stdout.readline().strip() != "ready":
            raise LabError(f"tap: {self.process.stderr.read()}")

    def stop(self):
        """{"packets", "drops", "stamps"}"""
        self.process.terminate()
        return json.loads(self.process.communicate(timeout=20)[0])

    def times(self):
        """{(client's address, port, sequence number): ns} of the first packet with each; after stop()."""
        found = {}
        for ns, address, seq, _, port in STAMP.iter_unpack(self.path.read_bytes()):
            found.setdefault((address, port, seq), ns)
        return found


@contextlib.contextmanager
def tapped(host, interface, port):
    tap = Tap(host, interface, port)
    with ending(tap.process):
        yield tap
