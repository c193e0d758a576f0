"""What one request costs, part by part, from differences between sections that have been measured."""

import statistics

from .framework import rows


def _median(states, section, row, column):
    values = rows(states[section]).get(row, {}).get(column) if section in states else None
    return statistics.median(values) if values else None


def _difference(states, section, more, less, column):
    """The median of the differences within one round."""
    if section not in states:
        return None
    found = rows(states[section])
    pairs = zip(found.get(more, {}).get(column, []), found.get(less, {}).get(column, []))
    differences = [a - b for a, b in pairs]
    return statistics.median(differences) if differences else None


def _number(value, scale=1):
    return "-" if value is None else f"{value * scale:.0f}"


def _parts(states):
    """Of the packet library, the flow table and the engine, beside what the same work can be done in."""
    def micro(name):
        return _median(states, "micro", name, "value")

    library = [micro("micro: packet.parse.ipv4.40"), micro("sessions: lookup.batch.1000000"),
               micro("micro: packet.build-partial.ipv4.40")]
    together = None if None in library else sum(library)
    lines = ["| operation | ns | floor ns |", "|---|---|---|"]
    for name, value, floor in (
            ("parse", library[0], "-"), ("look-up among a million sessions, in batches", library[1], "-"),
            ("headers of the copy", library[2], "-"), ("the three together", together, "90-105"),
            ("a request through the engine, 10,000 sessions", micro("sessions: engine.cycle-8-batch.10000"), "-"),
            ("the same, a million sessions", micro("sessions: engine.cycle-8-batch.1000000"), "-"),
            ("a record for the channel, written", micro("micro: channel.encode-response"), "-"),
            ("a record from the channel, read", micro("micro: channel.decode-response"), "-")):
        lines.append(f"| {name} | {_number(value)} | {floor} |")
    return lines


def table(states):
    """The budget in Markdown; "-" where the section has not been measured."""
    wire, server, whole = (f"tcpcopy, {name}" for name in ("discarded on the wire", "discarding server", "replicating"))
    captured = _median(states, "online", "bare ring reader", "captured")
    lines = ["| part, of a redis request | ns a request | how it is measured |", "|---|---|---|"]
    for name, value, how in (
            ("a bare ring reader", _median(states, "online", "bare ring reader", "cpu"),
             "CPU of `bench/tap`, which does nothing with the packets"),
            ("capture, parse, look-up, queue", _median(states, "online", wire, "cpu"),
             "CPU of tcpcopy while the target drops every copy unseen"),
            ("headers, inject, the target's acknowledgments", _difference(states, "online", server, wire, "cpu"),
             "more of it with a server that reads and never answers"),
            ("answers: channel, turns, window, timers", _difference(states, "online", whole, server, "cpu"),
             "more of it with a redis that answers"),
            ("intercept: capture, route, channel", _median(states, "work", "redis set/get, 50 connections", "intercept_us"),
             "CPU of intercept, redis set/get, 50 connections")):
        lines.append(f"| {name} | {_number(value, 1000)} | {how} |")
    if captured:
        lines.append(f"\nA request is {captured:.2f} segments at the capture, the client's acknowledgments included.")
    return "\n".join([*lines, "", *_parts(states)]) + "\n"
