"""What was measured, for readers: results.json, results.md, chart.svg, and the tables in a document."""

import json
import os
import pathlib
import platform
import re
import subprocess

from . import budget
from .chart import draw
from .framework import load_state, note, rows, said, summary
from .measure import BIN, TOP

VERSIONS = {
    "redis": ["redis-server", "--version"],
    "nginx": ["nginx", "-v"],
    "wrk": ["wrk", "-v"],
    "tcpreplay": ["tcpreplay", "--version"],
    "tshark": ["tshark", "--version"],
    "python": ["python3", "--version"],
}
MARKER = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end of results -->)", re.DOTALL)


def programs_to_make():
    """What make has to bring up to date: the programs, unless others are to be measured."""
    return [] if "TCPCOPY_BIN_DIR" in os.environ else ["all"]


def _first_line(argv):
    try:
        done = subprocess.run(argv, text=True, capture_output=True, timeout=20)
    except FileNotFoundError:
        return "not installed"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0][:100] if lines else "unknown"


def _cpu_model():
    found = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def machine():
    memory = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])
    facts = {"processor": f"{_cpu_model()}, {os.cpu_count()} cores",
             "memory": f"{memory / 1048576:.0f} GB",
             "kernel": f"{platform.release()} {platform.machine()}",
             "load before": pathlib.Path("/proc/loadavg").read_text().split()[0],
             "tcpcopy": _first_line([str(BIN / "tcpcopy"), "-v"])}
    if "TCPCOPY_BIN_DIR" not in os.environ:
        made = dict(re.findall(r"^(CC|CFLAGS) = (.*)$", (TOP / "config.mk").read_text(), re.MULTILINE))
        facts["compiler"] = f"{_first_line([*made['CC'].split(), '--version'])}, {made['CFLAGS']}"
    commit = _first_line(["git", "-C", str(TOP), "rev-parse", "--short", "HEAD"])
    if re.fullmatch(r"[0-9a-f]+", commit):
        facts["commit"] = commit
    return {**facts, **{name: _first_line(argv) for name, argv in VERSIONS.items()}}


def cell(values, digits):
    """The median, and the least and the greatest if there are several."""
    numbers = summary(values)
    if numbers is None:
        return ", ".join(sorted({str(value) for value in values if value}))
    middle, least, most = (f"{number:.{digits}f}" for number in numbers)
    return middle if len(values) == 1 else f"{middle} ({least} to {most})"


def table(section, state):
    """The section's table in Markdown, with what could not be measured and why."""
    found = rows(state)
    columns = [name for name in section.columns if any(figures.get(name) for figures in found.values())]
    lines = ["| | runs | " + " | ".join(section.columns[name].title for name in columns) + " |",
             "|---" * (len(columns) + 2) + "|"]
    for row, figures in found.items():
        runs = max(map(len, figures.values()))
        cells = [cell(figures[name], section.columns[name].digits) if name in figures else "-" for name in columns]
        lines.append(f"| {row} | {runs} | " + " | ".join(cells) + " |")
    if not found:
        lines = ["Nothing measured."]
    lines.append("")
    for what, words in (("skipped", "Not measured"), ("error", "Failed")):
        for step, reasons in said(state, what).items():
            lines.append(f"{words}, {len(reasons)} of {len(state['rounds'])} rounds: {step}: "
                         f"{'; '.join(sorted(set(reasons)))}.\n")
    where = state["machine"]
    size = "" if state["size"] == 1 else f" Only {state['size']:g} of the work: not to be relied on."
    lines.append(f"Median (least to greatest). {state['started']}, {where['processor']}, kernel {where['kernel']}, "
                 f"load of the machine before {where['load before']}, {where['tcpcopy']}"
                 f"{', commit ' + where['commit'] if 'commit' in where else ''}.{size}")
    return "\n".join(lines) + "\n"


def into_document(document, tables):
    """Replace what is between the markers of each section that has been measured."""
    text = document.read_text(encoding="utf-8")
    changed = MARKER.sub(lambda m: m[1] + (tables[m[2]] if m[2] in tables else m[0][len(m[1]):-len(m[3])]) + m[3], text)
    if changed != text:
        document.write_text(changed, encoding="utf-8")


def write(sections, directory, document=None):
    """Write everything that the files of the sections in `directory` say. 0, or 1 if a step failed."""
    states = {section.name: state for section in sections if (state := load_state(directory, section))}
    results, text, failed = {}, ["# Results\n"], 0
    tables = {}
    for section in sections:
        if section.name not in states:
            continue
        state = states[section.name]
        found = rows(state)
        failed += sum(map(len, said(state, "error").values()))
        results[section.name] = {
            "title": section.title, "started": state["started"], "size": state["size"], "machine": state["machine"],
            "columns": {name: column.title for name, column in section.columns.items()},
            "rows": {row: {name: dict(zip(("median", "least", "greatest"), numbers), values=values)
                           if (numbers := summary(values)) else {"values": values}
                           for name, values in figures.items()} for row, figures in found.items()},
            "skipped": said(state, "skipped"), "failed": said(state, "error")}
        tables[section.name] = table(section, state)
        text += [f"## {section.title}\n", tables[section.name], " ".join(section.notes.split()) + "\n"]
    if not states:
        note(f"bench: nothing measured in {directory}")
        return 1
    tables["budget"] = budget.table(states)
    newest = max(states.values(), key=lambda state: state["started"])["machine"]
    text[1:1] = ["".join(f"- {name}: {value}\n" for name, value in newest.items())]
    (directory / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (directory / "results.md").write_text("\n".join(text))
    draw(results, directory / "chart.svg")
    if document and document.exists():
        into_document(document, tables)
    return 1 if failed else 0
