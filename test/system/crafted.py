"""A client that makes its TCP segments itself: crafted.py FROM TO PORT SPORT CASE.

Runs in a host of the lab that drops the resets which its kernel would send for these connections. A case is a
function that is given a Talk, connected if it calls it `t`; what it sends is right unless it says otherwise.
"""

import socket
import struct
import sys
import time

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
SYN_OPTIONS = b"\2\4\5\xb4\1\1\4\2\1\3\3\7"


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class Talk:
    family, raw_header = socket.AF_INET, True

    def __init__(self, source, to, port, sport):
        self.source, self.to = (socket.inet_pton(self.family, a) for a in (source, to))
        self.to_text, self.port, self.sport = to, port, sport
        self.out = socket.socket(self.family, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.wire = socket.socket(self.family, socket.SOCK_RAW, socket.IPPROTO_TCP)
        self.wire.settimeout(60)
        self.wire.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)     # SO_RCVBUFFORCE: it hears all of the host's TCP
        self.nxt = 1000 + sport * 65536 % 2 ** 31
        self.clock, self.echo, self.ack = 5000, 0, 0

    def knock(self, data=b"", options=b""):
        """The SYN, and what the SYN-ACK tells."""
        self.send(data, SYN, options=SYN_OPTIONS + options)
        flags, seq, options = self.answer()
        assert flags & SYN
        self.ack = (seq + 1) % 2 ** 32
        self.echo = struct.unpack("!I", options[options.index(b"\x08\x0a") + 2:][:4])[0]
        self.nxt += 1

    def connect(self):
        self.knock()
        self.send(b"", ACK)
        self.pause()

    def hear(self):
        """The next segment of the server. A raw socket has the header of IPv4, and not that of IPv6."""
        while True:
            packet = self.wire.recv(65536)
            tcp = packet[(packet[0] & 15) * 4:] if self.raw_header else packet
            if tcp[:4] == struct.pack("!HH", self.port, self.sport):
                return tcp

    def answer(self):
        """Flags, sequence number and options of it."""
        tcp = self.hear()
        return tcp[13], struct.unpack("!I", tcp[4:8])[0], tcp[20:(tcp[12] >> 4) * 4]

    def heard(self):
        """Follow what the server has sent."""
        self.wire.setblocking(False)
        try:
            while True:
                tcp = self.hear()
                data = len(tcp) - (tcp[12] >> 4) * 4
                end = (struct.unpack("!I", tcp[4:8])[0] + data + (tcp[13] & FIN)) % 2 ** 32
                if not tcp[13] & RST and (end - self.ack) % 2 ** 32 < 2 ** 31:
                    self.ack = end
        except BlockingIOError:
            pass
        self.wire.setblocking(True)

    @staticmethod
    def pause(seconds=0.05):
        time.sleep(seconds)

    def tcp(self, data, flags, at, ack, ts, options, timestamps, check):
        """The segment; its checksum is changed by @check."""
        self.clock += 1
        if timestamps:
            options += b"\1\1\x08\x0a" + struct.pack("!II", (self.clock + ts) % 2 ** 32, self.echo)
        options += b"\0" * (-len(options) % 4)
        tcp = struct.pack("!HHIIBBHHH", self.sport, self.port, (self.nxt + at) % 2 ** 32,
                          (self.ack + ack) % 2 ** 32 if flags & ACK else 0, (20 + len(options)) // 4 << 4, flags, 502, 0,
                          0) + options + data
        check ^= checksum(self.source + self.to + struct.pack("!II", len(tcp), 6) + tcp)
        return tcp[:16] + struct.pack("!H", check) + tcp[18:]

    def packet(self, tcp, ip_options=b""):
        return struct.pack("!BBHHHBBH4s4s", 0x45 + len(ip_options) // 4, 0, 20 + len(ip_options) + len(tcp), 7, 0x4000, 64,
                           6, 0, self.source, self.to) + ip_options + tcp

    def send(self, data, flags=ACK | PSH, at=0, ack=0, ts=0, options=b"", timestamps=True, advance=False, check=0, **around):
        """@at: distance from the next byte in order; @ack: from what is right; @ts: from the clock; @around: see packet()."""
        self.out.sendto(self.packet(self.tcp(data, flags, at, ack, ts, options, timestamps, check), **around),
                        (self.to_text, 0))
        if advance:
            self.nxt += len(data) + (flags & FIN)

    def good(self, data, flags=ACK | PSH):
        self.heard()
        self.send(data, flags, advance=True)
        self.pause()


class Talk6(Talk):
    family, raw_header = socket.AF_INET6, False

    def packet(self, tcp, extensions=()):
        """With extension headers in front of TCP: [(kind, what follows the length byte)]."""
        kinds = [kind for kind, _ in extensions] + [6]
        body = b"".join(bytes((kinds[n + 1], (len(what) + 2) // 8 - 1)) + what for n, (_, what) in enumerate(extensions))
        return (struct.pack("!IHBB", 6 << 28, len(body + tcp), kinds[0], 65) + self.source + self.to + body + tcp)


def overlap_fills_the_hole(t):
    t.send(b"BBBB", at=2)
    t.pause()
    t.send(b"CCCC")
    t.nxt += 6


def larger_over_queued(t):
    t.send(b"BB", at=3)
    t.pause()
    t.send(b"CCCCCC", at=2)
    t.pause()
    t.good(b"AA")
    t.nxt += 6


def beyond_the_window(t):
    t.send(b"EVILEVIL", at=16 << 20)
    t.pause(0.3)
    t.good(b"good")


def old_timestamp(t):
    t.send(b"EEEE", ts=-100)
    t.pause(0.3)
    t.good(b"GGGG")


def ack_of_the_unsent(t):
    t.send(b"EEEE", ack=10 ** 8)
    t.pause(0.3)
    t.good(b"GGGG")


def ack_too_old(t):
    t.send(b"EEEE", ack=-10 ** 8)
    t.pause(0.3)
    t.good(b"GGGG")


def fin_without_ack(t):
    t.send(b"EEEE", FIN)
    t.pause(0.3)
    t.good(b"GGGG")


def data_without_ack(t):
    t.send(b"EEEE", PSH)
    t.pause(0.3)
    t.good(b"GGGG")


def fin_beyond_the_window(t):
    t.send(b"", FIN | ACK, at=16 << 20)
    t.pause(0.3)
    t.good(b"GGGG")


def fin_ahead(t):
    t.send(b"", FIN | ACK, at=4)
    t.pause(0.3)
    t.good(b"GGGG")
    t.nxt += 1


def md5_not_agreed(t):
    t.send(b"EEEE", options=b"\x13\x12" + b"\0" * 16, timestamps=False)
    t.pause(0.3)
    t.good(b"GGGG")


def source_route(t):
    t.send(b"EEEE", ip_options=b"\x83\x07\x04" + t.to + b"\0")
    t.pause(0.3)
    t.good(b"GGGG")


def ip_option_short(t):
    """The server's IP looks at what it knows: a timestamp, and no room for one."""
    t.send(b"EEEE", ip_options=b"\x44\x02\x05\x00")
    t.pause(0.3)
    t.good(b"GGGG")


def ip_option_long(t):
    t.send(b"EEEE", ip_options=b"\x1e\x0c\x04\x00")
    t.pause(0.3)
    t.good(b"GGGG")


def ip_option_nowhere(t):
    """A route is recorded before the option's first byte."""
    t.send(b"EEEE", ip_options=b"\x07\x07\x02" + t.to + b"\0")
    t.pause(0.3)
    t.good(b"GGGG")


def ip_option_taken(t):
    t.send(b"GGGG", ip_options=b"\x07\x07\x04" + t.to + b"\0", advance=True)
    t.pause(0.3)


def ip_option_unknown(t):
    t.send(b"GGGG", ip_options=b"\x1e\x04\x04\x00", advance=True)
    t.pause(0.3)


def ip_option_router_alert(t):
    t.send(b"GGGG", ip_options=b"\x94\x04\x00\x00", advance=True)
    t.pause(0.3)


def checksum_wrong(t):
    t.send(b"EEEE", check=1)
    t.pause(0.3)
    t.good(b"GGGG")


def reset_ahead(t):
    t.send(b"", RST, at=1000)
    t.pause(0.3)
    t.good(b"GGGG")


def reset_behind(t):
    t.send(b"", RST, at=-1)
    t.pause(0.3)
    t.good(b"GGGG")


def reset_exact(t):
    t.send(b"", RST)
    t.pause(0.3)


def syn_inside(t):
    t.send(b"", SYN, at=-123456)
    t.pause(0.3)
    t.good(b"GGGG")


def syn_ack_inside(t):
    t.send(b"", SYN | ACK)
    t.pause(0.3)
    t.good(b"GGGG")


def malformed_option(t):
    t.send(b"EEEE", options=b"\xfd\x28\1\1", timestamps=False)
    t.nxt += 4
    t.pause(0.3)
    t.good(b"GGGG")


def far_away(t):
    for at in (2 ** 30, 2 ** 31, -2 ** 30):
        t.send(b"EEEE", at=at)
    t.pause(0.3)
    t.good(b"GGGG")


def overlap_with_delivered(t):
    t.good(b"AAAA")
    t.send(b"ZZZZBB", at=-4)
    t.nxt += 2
    t.pause()


def again_at_its_place(t):
    t.send(b"BB", at=2)
    t.send(b"CC", at=2)
    t.pause()
    t.good(b"AA")
    t.nxt += 2


def data_behind_the_fin(t):
    t.good(b"AAAA", ACK | FIN)
    t.send(b"EEEE")
    t.pause(0.3)


def handshake_wrong_ack(c):
    """Data whose ack is beyond the server's ISN, before the handshake is complete."""
    c.knock()
    for ack in (1, 4, 1000, 100000, 2 ** 29):
        c.send(b"EEEE", ack=ack)
    c.send(b"", ACK)
    c.pause()
    c.good(b"GGGG")


def handshake_wrong_ack_slow(c):
    c.knock()
    c.send(b"EEEE", ack=4)
    c.pause(0.05)
    c.send(b"GGGG", advance=True)
    c.pause(0.3)


def handshake_many_wrong_acks(c):
    c.knock()
    for ack in range(1, 20):
        c.send(b"EEEE", ack=ack)
    c.good(b"GGGG")


def handshake_beyond_window(c):
    """The right ack, but no place for what it brings: it completes nothing."""
    c.knock()
    c.send(b"", ACK, at=1 << 20)
    c.pause(0.3)
    c.good(b"GGGG")


def handshake_seq_below(c):
    c.knock()
    c.send(b"EEEE", ACK, at=-4)
    c.pause(0.3)
    c.good(b"GGGG")


def handshake_old_timestamp(c):
    c.knock()
    c.send(b"EEEE", ts=-100)
    c.pause(0.3)
    c.good(b"GGGG")


def handshake_false_echo(c):
    c.knock()
    c.echo += 100000
    c.send(b"EEEE")
    c.echo -= 100000
    c.pause(0.3)
    c.good(b"GGGG")


def handshake_source_route(c):
    c.knock()
    c.send(b"EEEE", ip_options=b"\x83\x07\x04" + c.to + b"\0")
    c.pause(0.3)
    c.good(b"GGGG")


def syn_data(c):
    """The server knows no Fast Open."""
    c.knock(b"EEEE")
    c.send(b"", ACK)
    c.good(b"GGGGGG")


def syn_data_then_nothing(c):
    c.knock(b"EEEE")
    c.send(b"", ACK)
    c.pause(0.3)


def syn_twice(c):
    """Another ISN, while the first is in the queue."""
    c.knock()
    c.send(b"", SYN, at=-5000, options=SYN_OPTIONS)
    c.pause()
    c.good(b"GGGG")


def syn_reset_ahead(c):
    c.knock()
    c.send(b"", RST, at=1000)
    c.pause()
    c.good(b"GGGG")


def data_first(c):
    c.knock()
    c.send(b"GG", at=2)
    c.pause()
    c.send(b"AA")
    c.nxt += 4
    c.pause()


def fin_first(c):
    c.knock()
    c.send(b"GGGG", ACK | FIN, advance=True)
    c.pause(0.3)


def behind_headers(talk, data, headers):
    """Then what is good in any case. By the names of its parameters it is no case itself."""
    talk.send(data, extensions=headers)
    talk.pause(0.3)
    talk.good(b"GGGG")


def dst_option_discarded(x):
    behind_headers(x, b"EEEE", [(60, b"\x5e\x04\0\0\0\0")])


def hop_option_discarded(x):
    behind_headers(x, b"EEEE", [(0, b"\x9e\x04\0\0\0\0")])


def hop_option_long(x):
    behind_headers(x, b"EEEE", [(0, b"\x1e\x40\0\0\0\0")])


def dst_padding_long(x):
    """Linux takes no more than seven bytes of it."""
    behind_headers(x, b"EEEE", [(60, b"\1\x0c" + b"\0" * 12)])


def dst_padding_not_zero(x):
    behind_headers(x, b"EEEE", [(60, b"\1\x04\0\0\1\0")])


def routing_over(x):
    behind_headers(x, b"GGGG", [(43, b"\x04\0\0\0\0\0")])


def routing_to_go(x):
    behind_headers(x, b"EEEE", [(43, b"\0\1\0\0\0\0")])


def hop_option_second(x):
    """Behind another header it is none."""
    behind_headers(x, b"EEEE", [(60, b"\1\x04\0\0\0\0"), (0, b"\1\x04\0\0\0\0")])


def parked(talk):
    """Memory: what lies behind a byte that never comes, as far as the largest window reaches."""
    for n in range(2200):
        talk.send(b"." * 1400, at=1 + 1400 * n)
        if n % 20 == 19:
            talk.pause(0.005)
    talk.pause(600)     # until it is ended


def crumbs(talk):
    """Work: every other byte, and none at the front."""
    for n in range(60_000):
        talk.send(b".", at=1 + 2 * n, timestamps=False)


def _cases(name):
    return [f for f in list(globals().values()) if getattr(f, "__code__", None) and
            f.__code__.co_varnames[:1] == (name,)]


CASES = _cases("t")         # of an established connection
HANDSHAKES = _cases("c")    # these begin before
CASES4 = [f for f in CASES + HANDSHAKES if "ip_options" in str(f.__code__.co_consts)]
CASES6 = _cases("x")        # and these need IPv6

if __name__ == "__main__":
    source, to, port, sport, case = sys.argv[1:]
    talk = (Talk6 if ":" in to else Talk)(source, to, int(port), int(sport))
    if globals()[case] in HANDSHAKES:
        globals()[case](talk)
    else:
        talk.connect()
        talk.good(b"first.")
        globals()[case](talk)
    talk.pause(0.3)
    talk.good(b".last", ACK | PSH | FIN)
    talk.pause(0.3)
    talk.heard()
    talk.send(b"", ACK)
