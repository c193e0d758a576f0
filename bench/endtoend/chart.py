"""The chart: one panel for each section of which a picture says more than its table. Thin lines: the spread."""

import math

from .framework import note


def _bars(axes, results, columns, title, unit, stacked=False, log=False):
    """Rows of a section as horizontal bars, a colour for each column (name -> label)."""
    found = {row: figures for row, figures in results["rows"].items() if any(name in figures for name in columns)}
    names = list(found)[::-1]
    left = [0.0] * len(names)
    height = 0.7 if stacked else 0.7 / len(columns)
    for position, (column, label) in enumerate(columns.items()):
        values = [found[name].get(column, {}).get("median", 0) for name in names]
        at = [i if stacked else i + (len(columns) - 1 - 2 * position) * height / 2 for i in range(len(names))]
        spread = None if stacked else [[abs(found[name].get(column, {}).get(end, 0) - value)
                                        for name, value in zip(names, values)] for end in ("least", "greatest")]
        axes.barh(at, values, height, left=left if stacked else None, label=label, xerr=spread, ecolor="0.4")
        if stacked:
            left = [a + b for a, b in zip(left, values)]
    axes.set_yticks(range(len(names)), names)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(unit)
    if log:
        axes.set_xscale("log")
        least = min(figures[name]["median"] for figures in found.values() for name in columns
                    if figures.get(name, {}).get("median", 0) > 0)
        axes.set_xlim(left=10 ** math.floor(math.log10(least)))
    if len(columns) > 1:
        axes.legend(fontsize=8)


PANELS = [
    ("work", {"tcpcopy_us": "tcpcopy", "intercept_us": "intercept"}, "CPU per replicated request", "us", {"stacked": True}),
    ("delay", {"p50": "p50", "p99": "p99", "p999": "p99.9"}, "capture to sending, from outside", "us", {"log": True}),
    ("online", {"ratio": "to nothing"}, "throughput of the online server beside...", "ratio", {}),
    ("mirror", {"rps": "requests/s"}, "HTTP: online requests/s", "1/s", {}),
    ("stall", {"p50": "p50", "p99": "p99", "most": "most"}, "clients' latency, target stopped for 3 s", "ms", {"log": True}),
    ("workers", {"rps": "requests/s"}, "replicated requests/s by workers", "1/s", {}),
]


def draw(results, path):
    """Write the panels of the sections in `results` (results.json) as SVG."""
    try:
        import matplotlib
        matplotlib.use("svg")
        from matplotlib import pyplot
    except ImportError:
        note("bench: no chart: python3-matplotlib is missing (lab/install-packages bench)")
        return
    panels = [panel for panel in PANELS if results.get(panel[0], {}).get("rows")]
    if not panels:
        return
    # the same figures give the same file, and its text is text
    matplotlib.rcParams.update({"svg.hashsalt": "tcpcopy", "svg.fonttype": "none"})
    heights = [1 + 0.3 * len(results[panel[0]]["rows"]) for panel in panels]
    figure, axes = pyplot.subplots(len(panels), 1, figsize=(9, sum(heights) + len(panels)), squeeze=False,
                                   gridspec_kw={"height_ratios": heights})
    for (section, columns, title, unit, how), where in zip(panels, axes[:, 0]):
        _bars(where, results[section], columns, title, unit, **how)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
