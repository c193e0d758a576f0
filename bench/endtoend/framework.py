"""Sections, and what they have measured.

A section has columns and steps. A step is one measurement of some seconds; it makes its own lab, so that
nothing of the step before is left, and returns {row: {column: value}}. What is to be compared as a ratio is
measured within one step. A round is every step once; rounds are repeated, so that what changes on the machine
in the course of minutes meets all rows alike.

After each step the file of the section is written anew, whole. A run that was interrupted goes on where it
was with --resume. A step that fails is recorded as an error of its round and shown in the table; the next one
is measured all the same.
"""

import json
import os
import statistics
import sys
import time
import traceback


class Skip(Exception):
    """Why a step cannot be measured here."""


class Column:
    """A figure: its title with the unit, and the digits to show behind the point."""

    def __init__(self, title, digits=1):
        self.title = title
        self.digits = digits


class Section:
    """One table. `steps` is a list of (name, function(size, number)): a `size` of 1 is the full work of a
    step, `number` that of the round, from 0. `rounds` multiplies the rounds that are asked for.
    """

    def __init__(self, name, title, columns, steps, notes, rounds=1):
        self.name = name
        self.title = title
        self.columns = columns
        self.steps = steps
        self.notes = notes
        self.rounds = rounds


def state_path(directory, section):
    return directory / f"{section.name}.json"


def load_state(directory, section):
    try:
        return json.loads(state_path(directory, section).read_text())
    except FileNotFoundError:
        return None


def save_state(directory, section, state):
    path = state_path(directory, section)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps(state, indent=1) + "\n")
    os.rename(unfinished, path)


def fresh_state(section, machine):
    return {"section": section.name, "title": section.title, "machine": machine,
            "started": time.strftime("%Y-%m-%d %H:%M"), "rounds": []}


def note(text):
    print(text, file=sys.stderr, flush=True)


def run_section(section, directory, rounds, size, machine, resume, keep):
    """Measure what is missing of `rounds` rounds; returns the state."""
    state = (load_state(directory, section) if resume else None) or fresh_state(section, machine)
    state["size"] = size
    for number in range(rounds * section.rounds):
        if number == len(state["rounds"]):
            state["rounds"].append({})
        done = state["rounds"][number]
        for name, measure in section.steps:
            if not keep(name) or name in done and "error" not in done[name]:
                continue
            began = time.monotonic()
            try:
                done[name] = {"rows": measure(size, number)}
            except Skip as why:
                done[name] = {"skipped": str(why)}
            except Exception as error:
                note(traceback.format_exc())
                done[name] = {"error": (str(error).splitlines() or [type(error).__name__])[0][:300]}
            note(f"{section.name} {number + 1}/{rounds * section.rounds} {name}: "
                 f"{next(iter(done[name]))}, {time.monotonic() - began:.0f} s")
            save_state(directory, section, state)
    return state


def rows(state):
    """{row: {column: [a value for each round]}} in the order of their first appearance."""
    found = {}
    for each in state["rounds"]:
        for result in each.values():
            for row, figures in result.get("rows", {}).items():
                for column, value in figures.items():
                    if value is not None:
                        found.setdefault(row, {}).setdefault(column, []).append(value)
    return found


def said(state, what):
    """{step: [words, ...]} of the rounds in which a step was skipped ("skipped") or failed ("error")."""
    found = {}
    for each in state["rounds"]:
        for name, result in each.items():
            if what in result:
                found.setdefault(name, []).append(result[what])
    return found


def summary(values):
    """(median, least, greatest) of numbers; of text, the different ones."""
    if any(isinstance(value, str) for value in values):
        return None
    return statistics.median(values), min(values), max(values)
