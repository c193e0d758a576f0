"""Real servers in a lab's hosts.

A further kind of server is a subclass of Server that says how it is started
(`command`, in a directory of its own that `prepare` may fill) and that adds
what a test asks of it. start() returns when its port answers.
"""

import http.client
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import time

from .netns import LabError


class Server:
    """A server process in `host`, listening on `port`; its files are in `directory`."""

    kind = "server"

    def __init__(self, host, port):
        self.host = host
        self.port = port
        self.directory = host.lab.new_path(f"{host.name}-{self.kind}")
        self.directory.mkdir()
        self.log = self.directory / f"{self.kind}.log"
        self.process = None

    def prepare(self):
        """Write what the server needs before it starts."""

    def command(self):
        raise NotImplementedError

    def start(self):
        if self.host.listening(self.port):
            raise LabError(f"{self.host.name}: port {self.port} is in use already")
        self.prepare()
        with open(self.log, "a") as log:
            # a session of its own: the terminal's Ctrl-C is not for it
            self.process = self.host.popen(self.command(), stdout=log, stderr=log,
                                           cwd=self.directory, start_new_session=True)
        if not self.host.wait_listening(self.port, lambda: self.process.poll() is None):
            raise LabError(f"{self.host.name}: {self.kind} does not listen on port {self.port}: "
                           f"{self.log.read_text()}")
        return self

    def stop(self):
        """End the server as its operator would; its files stay until the lab goes."""
        self.process.terminate()
        self.process.wait(timeout=20)

    def kill(self):
        """End it as a crash would."""
        self.process.kill()
        self.process.wait(timeout=20)

    @property
    def pid(self):
        return self.process.pid


class Redis(Server):
    """redis-server, on all addresses, keeping nothing on disk; DEBUG works from its own host."""

    kind = "redis"

    def __init__(self, host, port=6379, args=()):
        super().__init__(host, port)
        self.args = args

    def command(self):
        return ["redis-server", "--port", self.port, "--bind", "*", "-::*",
                "--protected-mode", "no", "--enable-debug-command", "local",
                "--save", "", "--appendonly", "no",
                "--dir", self.directory, "--logfile", self.log, *self.args]

    def cli(self, *args, **kwargs):
        """What redis-cli prints, run on the server's own host."""
        return self.host.check_output(["redis-cli", "-p", self.port, *args], **kwargs).strip()

    def monitor(self, **kwargs):
        """`redis-cli monitor`: a Popen whose stdout has one line a command; it is listening."""
        monitor = self.host.popen(["redis-cli", "-p", self.port, "monitor"],
                                  stdout=subprocess.PIPE, bufsize=1, **kwargs)
        if monitor.stdout.readline().strip() != "OK":
            raise LabError(f"{self.host.name}: redis-cli monitor does not start")
        return monitor

    def digest(self):
        """A checksum over all the server holds."""
        return self.cli("debug", "digest")

    def calls(self):
        """How often each command was executed: {"set": 3, ...}."""
        calls = {}
        for line in self.cli("info", "commandstats").splitlines():
            if line.startswith("cmdstat_"):
                name, numbers = line[len("cmdstat_"):].split(":", 1)
                calls[name] = int(numbers.split(",")[0].split("=")[1])
        return calls


NGINX_CONF = """
daemon off;
user root;
worker_processes {workers};
worker_rlimit_nofile {files};
pid {directory}/nginx.pid;
error_log {log};
events {{ worker_connections {connections}; }}
http {{
    log_format lab '$remote_addr $remote_port "$request" $status $request_length $bytes_sent';
    access_log {access};
    default_type text/plain;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    client_max_body_size 0;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {port} backlog=4096{options};
        listen [::]:{port} backlog=4096{options};
        root {root};
        location = /status {{ stub_status; access_log off; }}
        # nginx reads a body to its end before it asks the upstream, which is not given it
        location /upload {{
            proxy_pass http://unix:{directory}/done.sock;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }}
    }}
    server {{
        listen unix:{directory}/done.sock;
        access_log off;
        return 204;
    }}
}}
"""


class Nginx(Server):
    """nginx with keep-alive: / answers 15 bytes, /status its counters, and /upload takes
    a body of any length and method, reads all of it, and answers 204.

    Files put into `root` are served. With `access_log`, `access` has one line a
    request: client, port, "request", status, request bytes, bytes sent. `options` are more words for listen: "http2".
    """

    kind = "nginx"

    def __init__(self, host, port=80, workers=1, access_log=True, options=""):
        super().__init__(host, port)
        self.workers = workers
        self.options = options
        self.root = self.directory / "root"
        self.access = self.directory / "access.log" if access_log else None

    def prepare(self):
        self.root.mkdir(exist_ok=True)
        (self.root / "index.html").write_text("it is answering")
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        (self.directory / "nginx.conf").write_text(NGINX_CONF.format(
            workers=self.workers, files=files, connections=min(files, 16384),
            directory=self.directory, log=self.log, port=self.port, root=self.root,
            options=self.options and f" {self.options}",
            access=f"{self.access} lab" if self.access else "off"))

    def command(self):
        return ["nginx", "-p", self.directory, "-e", self.log,
                "-c", os.path.join(self.directory, "nginx.conf")]

    def status(self):
        """The stub_status counters by name; asking adds one connection and one request."""
        with self.host.inside():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            connection.connect()
        connection.request("GET", "/status", headers={"Connection": "close"})
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        accepts, handled, requests = map(int, lines[2].split())
        return {"active": int(lines[0].split()[-1]), "accepts": accepts, "handled": handled,
                "requests": requests}

    def requests(self):
        """The lines of the access log so far."""
        return self.access.read_text().splitlines() if self.access.exists() else []


class PostgreSQL(Server):
    """PostgreSQL, trusting everybody, without TLS, in no hurry to write to the disk; `settings` are further ones."""

    kind = "postgresql"

    def __init__(self, host, port=5432, settings=None):
        super().__init__(host, port)
        self.settings = settings or {}
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"),
                       key=lambda path: int(path.parent.name))
        if not found:
            raise LabError("PostgreSQL is not installed")
        self.bin = found[-1]
        self.data = self.directory / "data"

    def _as_owner(self, *argv):
        """It refuses to run as root. Its System V memory goes with its namespace of them."""
        return ["unshare", "--ipc", "setpriv", "--reuid", "postgres", "--regid", "postgres",
                "--clear-groups", "env", "LC_ALL=C", *argv]

    def prepare(self):
        self.host.lab.directory.chmod(0o711)    # its user passes through, and sees nothing
        shutil.chown(self.directory, "postgres", "postgres")
        self.host.check_output(self._as_owner(
            self.bin / "initdb", "-D", self.data, "-A", "trust", "-U", "postgres",
            "-E", "UTF8", "-N"),
            cwd=self.directory)
        with open(self.data / "pg_hba.conf", "a") as hba:
            hba.write("host all all 10.90.0.0/16 trust\nhost all all fd90::/64 trust\n")

    def command(self):
        settings = {"listen_addresses": "*", "unix_socket_directories": self.directory,
                    "fsync": "off", "shared_buffers": "32MB", "autovacuum": "off", **self.settings}
        return self._as_owner(self.bin / "postgres", "-D", self.data, "-p", self.port,
                              *(word for name, value in settings.items()
                                for word in ("-c", f"{name}={value}")))

    def start(self):
        super().start()
        deadline = time.monotonic() + 20
        ask = [self.bin / "pg_isready", "-h", self.directory, "-p", self.port]
        while self.host.run(ask).returncode:
            if time.monotonic() > deadline:
                raise LabError(f"{self.host.name}: PostgreSQL does not start: "
                               f"{self.log.read_text()}")
            time.sleep(0.05)
        return self

    def stop(self):
        self.process.send_signal(signal.SIGINT)     # by SIGTERM it would wait for its clients
        self.process.wait(timeout=20)

    def sql(self, text):
        """The rows of a query, "|" between columns; asked through its local socket."""
        return self.host.check_output([
            self.bin / "psql", "-h", self.directory, "-p", self.port, "-U", "postgres",
            "-X", "-A", "-t", "-q", "-c", text]).splitlines()

    def bench_tables(self, scale=1):
        """The tables of pgbench, fresh."""
        self.host.check_output([
            self.bin / "pgbench", "-h", self.directory, "-p", self.port, "-U", "postgres",
            "-i", "-q", "-s", scale, "postgres"])


class Memcached(Server):
    """memcached with one thread and room for 256 MB."""

    kind = "memcached"

    def __init__(self, host, port=11211):
        super().__init__(host, port)

    def command(self):
        return ["memcached", "-u", "root", "-p", self.port, "-U", "0", "-l", "0.0.0.0,::",
                "-m", "256", "-t", "1", "-c", "4096", "-I", "8m"]

    def ask(self, text, end=b"END\r\n"):
        """What it answers to a command of its text protocol, up to `end`; asked on its host."""
        with self.host.inside():
            connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        with connection:
            connection.sendall(text.encode() + b"\r\n")
            answer = b""
            while not answer.endswith(end):
                piece = connection.recv(1 << 16)
                if not piece:
                    break
                answer += piece
        return answer

    def stats(self):
        return {words[1]: words[2] for line in self.ask("stats").decode().splitlines()
                if (words := line.split(" "))[0] == "STAT"}


MOSQUITTO_CONF = """
user root
listener {port}
allow_anonymous true
persistence false
set_tcp_nodelay true
log_dest file {log}
log_type all
"""


class Mosquitto(Server):
    """mosquitto, an MQTT broker, for everybody; its log has a line for each packet."""

    kind = "mosquitto"

    def __init__(self, host, port=1883):
        super().__init__(host, port)

    def prepare(self):
        (self.directory / "mosquitto.conf").write_text(MOSQUITTO_CONF.format(port=self.port, log=self.log))

    def command(self):
        return ["mosquitto", "-c", self.directory / "mosquitto.conf"]

    def lines(self, words):
        """The lines of the log so far that begin with these words, without their time."""
        return [line for line in (entry.partition(": ")[2] for entry in self.log.read_text().splitlines())
                if line.startswith(words)]
