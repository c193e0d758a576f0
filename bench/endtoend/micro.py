"""The benchmarks of single parts: build/bench/bench_*, each line a name, a value and a unit, between tabs."""

import functools
import re
import subprocess

from .framework import Column, Section
from .measure import TOP

COLUMNS = {"value": Column("value", 1), "unit": Column("unit")}

NOTES = """Each program of bench/bench_*.c on one processor; each says at its head what an operation is."""


def measure(program, size, number):
    subprocess.run(["make", "-s", "-C", TOP, f"build/bench/{program}"], check=True, stdout=subprocess.DEVNULL)
    out = subprocess.run([TOP / "build" / "bench" / program], check=True, text=True, capture_output=True, timeout=300).stdout
    found = {}
    for name, value, unit in re.findall(r"^(\S.*?)(?:\t|  +)\s*([\d.]+)[\t ](\S+)$", out, re.MULTILINE):
        found[f"{program[6:]}: {name}"] = {"value": float(value), "unit": unit}
    if not found:
        raise AssertionError(f"{program} printed no figures")
    return found


SECTION = Section("micro", "Single parts", COLUMNS,
                  [(path.stem, functools.partial(measure, path.stem)) for path in sorted((TOP / "bench").glob("bench_*.c"))],
                  NOTES)
