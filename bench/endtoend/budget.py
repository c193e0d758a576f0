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


def table(states):
    """The budget in Markdown; "-" where the section has not been measured. Nanoseconds of a redis request."""
    wire, server, whole = (f"tcpcopy, {name}" for name in ("discarded on the wire", "discarding server", "replicating"))
    captured = _median(states, "online", "bare ring reader", "captured")
    lines = ["| part | ns a request | how it is measured |", "|---|---|---|"]
    for name, value, how in (
            ("a bare ring reader", _median(states, "online", "bare ring reader", "cpu"),
             "CPU of `bench/tap`, which does nothing with the packets"),
            ("capture, parse, look-up, queue", _median(states, "online", wire, "cpu"),
             "CPU of tcpcopy while the target drops every copy unseen"),
            ("rewrite, inject, the target's acknowledgments", _difference(states, "online", server, wire, "cpu"),
             "more of it with a server that reads and never answers"),
            ("answers: channel, turns, window, timers", _difference(states, "online", whole, server, "cpu"),
             "more of it with a redis that answers"),
            ("intercept: capture, route, channel", _median(states, "work", "redis set/get, 50 connections", "intercept_us"),
             "CPU of intercept, redis set/get, 50 connections")):
        lines.append(f"| {name} | {'-' if value is None else f'{value * 1000:.0f}'} | {how} |")
    if captured:
        lines.append(f"\nA request is {captured:.2f} segments at the capture, the client's acknowledgments included.")
    return "\n".join(lines) + "\n"
