"""A network of real servers on one machine, made of network namespaces.

    client     10.90.114.82    fd90::114:82
    online     10.90.111.142   fd90::111:142
    target     10.90.109.143   fd90::109:143
    assistant  10.90.110.143   fd90::110:143

Each host is a namespace whose only interface, eth0, leads to a bridge in a
further namespace, the switch. Several labs can be up at the same time: the
namespaces of each carry its prefix, and no interface is ever created outside.

    from labnet import Lab

    with Lab() as lab:
        lab.route_to_assistant("client")
        redis = lab.redis("online")
        lab.host("client").check_output(["redis-cli", "-h", lab.host("online").ip4, "ping"])
        lab.loss("target", "to", 0.01)              # 1 % of what goes towards the target
        lab.delay("target", 5000, jitter=500)       # 5 ms each way
        print(lab.loss_counters(), lab.relay("target").counters())

Lab       add_host, host, route_to_assistant, loss, loss_off, loss_counters,
          delay, faults, relay, delay_off, offload, redis, nginx, postgresql, memcached, mosquitto,
          directory
Host      run, check_output, sh, popen, argv, inside, nstat, listening, capture
Redis     cli, monitor, digest, calls        Nginx   status, requests, root
PostgreSQL  sql, bench_tables             Memcached  ask, stats        Mosquitto  lines
Capture   stop, fields, path

On leaving the `with` block, by whatever way, everything is gone again; a
watchdog process sees to it when the owner itself is killed.
"""

from .capture import Capture
from .host import Host
from .lab import Lab
from .links import LossCount, Relay
from .netns import LabError
from .servers import Memcached, Mosquitto, Nginx, PostgreSQL, Redis, Server

__all__ = ["Capture", "Host", "Lab", "LabError", "LossCount", "Memcached", "Mosquitto", "Nginx", "PostgreSQL",
           "Redis", "Relay", "Server"]
