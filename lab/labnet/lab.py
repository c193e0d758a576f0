"""The lab itself: raising it, taking it down, its hosts and what is done to their links."""

import itertools
import json
import os
import pathlib
import tempfile

from . import links, netns
from .host import Host
from .netns import LabError, namespaces, sweep, tool
from .servers import Memcached, Mosquitto, Nginx, PostgreSQL, Redis
from .watched import PACKAGE_ROOT, Watchdog

HOSTS = {
    "client": "10.90.114.82",
    "online": "10.90.111.142",
    "target": "10.90.109.143",
    "assistant": "10.90.110.143",
}
SWITCH = "switch"
BRIDGE = "br0"


def ipv6_twin(ip4):
    """fd90::114:82 for 10.90.114.82."""
    return "fd90::" + ":".join(ip4.split(".")[2:])


def lab_directory(prefix):
    return pathlib.Path(tempfile.gettempdir()) / f"{prefix}.lab"


def labs():
    """The prefixes of all labs that are up."""
    try:
        names = os.listdir(netns.NETNS_DIR)
    except FileNotFoundError:
        return []
    return sorted(name[:-len(SWITCH) - 1] for name in names if name.endswith("-" + SWITCH))


class Lab:
    """A lab; see the package for a tour. Use it as `with Lab() as lab:`.

    `prefix` names it (lower-case letters and digits); by default a free name
    made from the process id. up() and down() are for a lab that is to outlive
    the process; it is then reached with Lab.attach(prefix). `without` names
    hosts that are not made.
    """

    def __init__(self, prefix=None, without=()):
        if prefix is not None and not netns.PREFIX_PATTERN.fullmatch(prefix):
            raise LabError(f"prefix {prefix!r}: lower-case letters and digits, a letter first, "
                           "32 at most")
        self.prefix = prefix
        self.without = without
        self.directory = None
        self.hosts = {}
        self.children = []          # every Popen of the hosts, to be reaped at the end
        self._loss = {}
        self._relays = {}
        self._watchdog = None

    # -- up and down

    def __enter__(self):
        return self.up(watched=True)

    def __exit__(self, *exc):
        self.down()

    def up(self, watched=False):
        """Raise the lab. If `watched`, it goes when this process does."""
        if os.geteuid():
            raise LabError("a lab needs root (network namespaces): use sudo")
        self._claim()
        try:
            if watched:
                self._watchdog = Watchdog(self.prefix, self.directory)
            self._build()
        except BaseException:
            self.down()
            raise
        return self

    @classmethod
    def attach(cls, prefix):
        """A lab that is up already and that this process is not to take down on leaving."""
        lab = cls(prefix)
        lab.directory = lab_directory(prefix)
        try:
            state = json.loads((lab.directory / "state.json").read_text())
        except FileNotFoundError:
            up = ", ".join(labs()) or "none"
            raise LabError(f"no lab {prefix!r} is up (up now: {up})")
        for name, (ip4, ip6) in state["hosts"].items():
            lab.hosts[name] = Host(lab, name, ip4, ip6)
        lab._switch = Host(lab, SWITCH, None, None)
        lab._loss = {tuple(key.split()): rule for key, rule in state["loss"].items()}
        lab._relays = {name: links.Relay(name, lab.directory / f"{name}-relay.log", pid)
                       for name, pid in state["relays"].items()}
        return lab

    def down(self):
        """Remove everything; harmless when there is nothing (left)."""
        if self.directory is None:
            return
        sweep(self.prefix, self.directory)
        for child in self.children:
            child.wait(timeout=20)
        self.children.clear()
        self.hosts.clear()
        self.directory = None
        if self._watchdog:
            self._watchdog.end()
            self._watchdog = None

    def _claim(self):
        wanted = [self.prefix] if self.prefix else (
            f"lab{os.getpid()}" + (f"x{n}" if n else "") for n in itertools.count())
        for prefix in wanted:
            directory = lab_directory(prefix)
            if namespaces(prefix):
                continue
            try:
                directory.mkdir(mode=0o700)     # atomic: of two that try, one gets the name
            except FileExistsError:
                continue
            self.prefix, self.directory = prefix, directory
            return
        raise LabError(f"a lab {self.prefix!r} is up already, or {lab_directory(self.prefix)} "
                       f"is left of one: `lab/lab down --prefix {self.prefix}` removes it")

    def plumbing_fds(self):
        """What commands that build the lab inherit: while one runs, the watchdog waits for it."""
        return self._watchdog.fds if self._watchdog else ()

    def _build(self):
        self._switch = Host(self, SWITCH, None, None)
        self._add_namespace(self._switch)
        # no addresses and no IPv6 of its own: the switch adds nothing to the traffic
        self._switch.sysctl(net__ipv6__conf__all__disable_ipv6=1,
                            net__ipv6__conf__default__disable_ipv6=1, net__ipv4__ip_forward=0)
        # nor does it hand frames to the rules for IP packets, as a kernel with br_netfilter would
        if pathlib.Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
            self._switch.sysctl(**{f"net__bridge__bridge-nf-call-{what}": 0
                                   for what in ("iptables", "ip6tables", "arptables")})
        # multicast snooping would need a querier for IPv6 neighbour discovery to get through
        self._switch.ip_batch([f"link add {BRIDGE} type bridge forward_delay 0 stp_state 0 "
                               "mcast_snooping 0", f"link set {BRIDGE} up", "link set lo up"])
        for name, ip4 in HOSTS.items():
            if name not in self.without:
                self.add_host(name, ip4)

    def _add_namespace(self, host):
        tool(["ip", "netns", "add", host.netns], pass_fds=self.plumbing_fds())

    # -- hosts

    def host(self, name):
        try:
            return self.hosts[name]
        except KeyError:
            raise LabError(f"no host {name!r}; there are {', '.join(self.hosts)}") from None

    def add_host(self, name, ip4, ip6=None):
        """A further host on the same bridge, in 10.90.0.0/16 and fd90::/64."""
        if not netns.HOST_PATTERN.fullmatch(name) or name == SWITCH or name in self.hosts:
            raise LabError(f"host {name!r}: a new name of lower-case letters and digits, "
                           "10 at most")
        host = Host(self, name, ip4, ip6 or ipv6_twin(ip4))
        self._add_namespace(host)
        # rp_filter stays what the machine has, as it would on a server that nobody prepared
        host.sysctl(net__ipv4__ip_forward=0, net__ipv6__conf__all__forwarding=0,
                    **{f"net__ipv{version}__conf__{scope}__accept_redirects": 0
                       for version in (4, 6) for scope in ("all", "default")},
                    net__ipv4__conf__all__send_redirects=0,
                    net__ipv4__conf__default__send_redirects=0,
                    net__ipv6__conf__all__disable_ipv6=0, net__ipv6__conf__default__disable_ipv6=0,
                    net__ipv6__conf__default__accept_dad=0, net__ipv6__conf__default__accept_ra=0)
        self._switch.ip_batch([f"link add {name} type veth peer name eth0 netns {host.netns}",
                               f"link set {name} master {BRIDGE} up"])
        host.ip_batch(["link set lo up", "link set eth0 up", f"addr add {host.ip4}/16 dev eth0",
                       f"addr add {host.ip6}/64 dev eth0 nodad"])
        self.hosts[name] = host
        self._save()
        return host

    def route_to_assistant(self, *clients, target="target", assistant="assistant"):
        """What the target sends to these clients goes to the assistant, in IPv4 and IPv6."""
        via = self.host(assistant)
        for client in map(self.host, clients):
            self.host(target).ip_batch([f"route replace {client.ip4} via {via.ip4}",
                                        f"route replace {client.ip6} via {via.ip6}"])

    def offload(self, name, on):
        """Switch segmentation, receive coalescing and checksum offload on or off.

        Both ends of the host's cable are set: the far end decides whether
        super-packets are cut before they reach the host.
        """
        features = [word for feature in ("rx", "tx", "tso", "gso", "gro")
                    for word in (feature, "on" if on else "off")]
        self.host(name).check_output(["ethtool", "-K", "eth0", *features])
        for device in [name] + ([f"{name}.h", f"{name}.r"] if name in self._relays else []):
            self._switch.check_output(["ethtool", "-K", device, *features])

    # -- faults

    def loss(self, name, direction, rate=0.0, every=0, match=""):
        """Lose packets on a host's link, in `direction` "to" or "from" it.

        A random fraction `rate` (0 to 1) of them, or each `every`-th; only what
        the nft expression `match` selects ("tcp dport 6379"). Counted, and
        replacing the rule that this link and direction had. Rate 0 only counts.
        """
        self.host(name)
        if direction not in links.DIRECTIONS:
            raise LabError(f"direction {direction!r}: 'to' or 'from' the host")
        if not 0 <= rate <= 1 or every < 0:
            raise LabError(f"loss of {rate}, every {every}: a fraction from 0 to 1, or a count")
        self._load_loss({**self._loss, (name, direction): {"rate": rate, "every": every,
                                                           "match": match}})

    def loss_off(self, name=None):
        """No more losses on this host's link, or on any; what was counted stays."""
        self._load_loss({key: rule for key, rule in self._loss.items()
                         if name not in (None, key[0])})

    def loss_counters(self):
        """{(host, direction): LossCount(seen, dropped)} of the packets that loss rules met."""
        return links.loss_counts(self._switch.check_output(["nft", "-j", "list", "counters"]))

    def _load_loss(self, rules):
        self._switch.check_output(["nft", "-f", "-"], input=links.loss_ruleset(rules))
        self._loss = rules
        self._save()

    def delay(self, name, usec, direction="both", seed=1, **faults):
        """Delay what passes a host's link by `usec`; further faults as in faults()."""
        faults["delay"] = usec
        return self.faults(name, from_=faults if direction in ("from", "both") else {},
                           to=faults if direction in ("to", "both") else {}, seed=seed)

    def faults(self, name, from_=None, to=None, seed=1):
        """Put the relay into a host's link, with faults for each direction.

        A fault is one of delay, jitter, gap (microseconds), loss, dup, reorder
        (fractions), rate (bits per second), limit (bytes queued). What the link
        had before is replaced; packets on their way are lost then. Returns the
        Relay.
        """
        self.host(name)
        program = links.build_relay(PACKAGE_ROOT / "relay.c", self.directory)
        if name in self._relays:
            self._relays.pop(name).stop()
        else:
            # the port that the bridge knows keeps its name; the host's end gets another
            self._switch.ip_batch([
                f"link set {name} nomaster down", f"link set {name} name {name}.h",
                f"link add {name} type veth peer name {name}.r",
                f"link set {name} master {BRIDGE} up", f"link set {name}.r up",
                f"link set {name}.h up"])
        relay = links.Relay.start(self._switch, program, name,
                                  self.directory / f"{name}-relay.log", from_ or {}, to or {}, seed)
        self._relays[name] = relay
        self._save()
        return relay

    def relay(self, name):
        """The Relay on this host's link, or None."""
        return self._relays.get(name)

    def delay_off(self, name):
        """Take the relay out of a host's link; return its last counters, None if there was none."""
        if name not in self._relays:
            return None
        counters = self._relays.pop(name).stop()
        self._switch.ip_batch([
            f"link delete {name}", f"link set {name}.h down", f"link set {name}.h name {name}",
            f"link set {name} master {BRIDGE} up"])
        self._save()
        return counters

    # -- servers and files

    def redis(self, name, port=6379, args=()):
        """A running Redis server on this host."""
        return Redis(self.host(name), port, args).start()

    def nginx(self, name, port=80, **kwargs):
        """A running Nginx server on this host."""
        return Nginx(self.host(name), port, **kwargs).start()

    def postgresql(self, name, port=5432, **kwargs):
        """A running PostgreSQL server on this host."""
        return PostgreSQL(self.host(name), port, **kwargs).start()

    def memcached(self, name, port=11211):
        """A running Memcached server on this host."""
        return Memcached(self.host(name), port).start()

    def mosquitto(self, name, port=1883):
        """A running Mosquitto server on this host."""
        return Mosquitto(self.host(name), port).start()

    def new_path(self, name):
        """A path of this name in the lab's directory, numbered if it is taken."""
        stem, dot, suffix = name.partition(".")
        for n in itertools.count(1):
            path = self.directory / (name if n == 1 else f"{stem}-{n}{dot}{suffix}")
            if not path.exists():
                return path

    def _save(self):
        """What attach() has to know, replaced in one step."""
        state = {"hosts": {host.name: (host.ip4, host.ip6) for host in self.hosts.values()},
                 "loss": {" ".join(key): rule for key, rule in self._loss.items()},
                 "relays": {name: relay.pid for name, relay in self._relays.items()}}
        unfinished = self.directory / f"state.{os.getpid()}"
        unfinished.write_text(json.dumps(state, indent=1))
        os.rename(unfinished, self.directory / "state.json")
