#!/usr/bin/python3
"""doc/SESSION.md, doc/PROTOCOL.md, doc/ARCHITECTURE.md, the manuals and the pages of the folders say what the sources
say: names, numbers and tables, in both directions.

Pure text, apart from --help of the two programs (TCPCOPY_BIN_DIR, or the top of the tree).
"""
import os
import pathlib
import re
import subprocess

import pytest

from conftest import BIN, PATIENCE, TOP

ENGINE = sorted((TOP / "src/session").glob("*.[ch]"))
SESSION = (TOP / "doc/SESSION.md").read_text(encoding="utf-8")
SESSION_TEXT = " ".join(SESSION.split())  # however its lines are broken
PROTOCOL = (TOP / "doc/PROTOCOL.md").read_text(encoding="utf-8")

UNITS = {"": 1, "us": 10 ** 3, "ms": 10 ** 6, "s": 10 ** 9, "bytes": 1, "KB": 1 << 10, "MB": 1 << 20}


def source(path):
    """A source file without its comments."""
    text = (TOP / "src" / path).read_text(encoding="utf-8")
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.DOTALL).replace("\\\n", " ")


def tables(text):
    """Every table as (names of the columns, rows), the cells without their backticks."""
    found = []
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        rows = [[cell.strip().strip("`") for cell in line.strip()[1:-1].split("|")] for line in block.splitlines()]
        found.append((rows[0], rows[2:]))
    return found


def table(text, first):
    """The rows of the one table whose first column is called @first."""
    (rows,) = [rows for head, rows in tables(text) if head[0] == first]
    assert rows
    return rows


def names(text, first):
    return [row[0] for row in table(text, first)]


def value(words):
    """A number of the document, times in ns: "200 ms", "2^30", "1220". None where it is none."""
    m = re.fullmatch(r"(\d+)(?:\^(\d+))? ?([a-zA-Z]*)", words)
    if not m or m[3] not in UNITS:
        return None
    return int(m[1]) ** int(m[2] or 1) * UNITS[m[3]]


def evaluated(expression):
    """A #define's value, times in ns; None where it is not a plain number."""
    plain = re.sub(r"NS_PER_(US|MS|SEC)", lambda m: {"US": "10**3", "MS": "10**6", "SEC": "10**9"}[m[1]], expression)
    plain = re.sub(r"\b(0x[0-9a-fA-F]+|\d+)[uUlL]+\b", r"\1", plain)
    if not re.fullmatch(r"[\d\sxa-fA-F()*+<-]+", plain):
        return None
    return eval(plain)  # pylint: disable=eval-used


def constants(paths):
    found = {}
    for path in paths:
        for name, expression in re.findall(r"^#define (\w+)[ \t]+(\S.*)$", source(path), re.MULTILINE):
            number = evaluated(expression.strip())
            if number is not None:
                assert found.get(name, number) == number, f"{name} is defined twice"
                found[name] = number
    return found


def x_table(name):
    """The arguments of every X() of a table of session.h, without quotes."""
    body = re.search(rf"#define {name}\(X\)((?:\s*X\([^\n]*)+)", source("session/session.h"))[1]
    rows = re.findall(r'X\((\w+)((?:,\s*"[^"]*")*)\)', body)
    assert rows and len(rows) == body.count("X(")
    return [(first, *re.findall(r'"([^"]*)"', rest)) for first, rest in rows]


# --- doc/SESSION.md -------------------------------------------------------------------------------------------------

ENGINE_CONSTANTS = constants(f"session/{path.name}" for path in ENGINE)


def test_session_calls():
    """The two tables of calls are what session.h has: every engine_*() that takes the time, every op."""
    header = source("session/session.h")
    events = set(re.findall(r"^void (engine_\w+)\([^;]*?(?:now|until)\)", header, re.MULTILINE))
    events |= {"engine_channel_down", "engine_flushed"}
    ops = set(re.findall(r"\(\*(\w+)\)\(void \*arg", header))
    assert len(events) > 8 and len(ops) > 5
    assert set(re.findall(r"engine_\w+(?=\(\))", str(table(SESSION, "what happens")))) - {"engine_next"} == events
    assert set(re.findall(r"ops->(\w+)", str(table(SESSION, "what is wanted")))) == ops


def test_session_events():
    assert names(SESSION, "event") == [row[0] for row in x_table("SESSION_EVENTS")]


def test_session_events_are_recorded_where_the_page_says():
    recorded = {}
    for path in ENGINE:
        function = None
        for line in source(f"session/{path.name}").splitlines():
            head = re.match(r"[a-z].*?\b(\w+)\(", line)
            if head:
                function = head[1]
            for event in re.findall(r"session_event\(.*?\bEV_(\w+)\)", line):
                recorded.setdefault(event, set()).add(f"{function}()")
    described = {row[0]: set(re.findall(r"\w+\(\)", row[4])) for row in table(SESSION, "event")}
    assert described == recorded


def test_session_events_come_in_an_order():
    """What the page says to come before an event is an event, and stands above it."""
    seen = set()
    for event, _, before, never_after, _ in table(SESSION, "event"):
        assert set(filter(None, before.split(", "))) <= seen
        assert never_after in {"", *names(SESSION, "event")}
        seen.add(event)


def test_session_outcomes():
    assert names(SESSION, "outcome") == [row[1] for row in x_table("SESSION_OUTCOMES")]


def test_session_outcomes_of_which_the_target_hears():
    """The RST column is session_end()'s rule."""
    rule = re.search(r"target_knows = (.*?);", source("session/life.c"), re.DOTALL)[1]
    silent = set(re.findall(r"o != OUTCOME_(\w+)", rule))
    assert silent
    told = {row[0]: row[2] for row in table(SESSION, "outcome")}
    for enum, name, _ in x_table("SESSION_OUTCOMES"):
        assert told[name] == ("no" if enum in silent else "yes"), name


def test_session_timers():
    body = re.search(r"enum session_timer \{(.*?)\}", source("session/state_impl.h"), re.DOTALL)[1]
    timers = re.findall(r"TIMER_(\w+)", body)
    assert timers.pop() == "COUNT"
    assert names(SESSION, "timer") == timers
    eight = {8: "eight", 7: "seven", 9: "nine", 10: "ten"}[len(timers)]
    assert f"has {eight} timers" in SESSION_TEXT


def test_session_constants():
    described = {row[0]: value(row[1]) for row in table(SESSION, "constant")}
    assert described == ENGINE_CONSTANTS


def test_session_constants_in_the_text():
    """`NAME` is one of the sources, and `NAME` (value) has its value."""
    prose = re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+|LINGER)`(?: \(([^)]*)\))?", SESSION_TEXT)
    assert len(prose) > 10
    for name, words in prose:
        assert name in ENGINE_CONSTANTS, name
        if words:
            assert value(words) == ENGINE_CONSTANTS[name], f"{name} ({words})"


def test_session_defaults():
    config = constants(["tcpcopy/config/config.c"])
    assert value(re.search(r"capture \+ `--hold` \(([^)]*)\)", SESSION_TEXT)[1]) == config["DEFAULT_HOLD"]


def test_session_counters():
    """The four ways out of a turn are all there are, and every counter that is named exists."""
    counters = [row[0] for row in x_table("ENGINE_COUNTERS")]
    assert sorted(names(SESSION, "counter")) == sorted(c for c in counters if c.startswith("released_"))
    named = re.findall(r"`([a-z]+_[a-z_]+)`", SESSION)
    assert set(named) - {"live_bytes"} <= set(counters)


def test_session_account():
    """The equations are those that engine_check() asserts."""
    checked = set()
    for body in re.findall(r"assert\(([^;]*?==[^;]*?)\);", source("session/check.c")):
        if re.search(r"n->\w+(_bytes|_opened|_joined)", body):
            checked.add(re.sub(r"\s+", " ", re.sub(r"\b[en]->", "", body)))
    checked.discard("bytes == live_bytes")
    section = SESSION.split("## The account")[1].split("\n## ")[0]
    assert {line.strip() for line in section.splitlines() if "==" in line} == checked


def test_session_options():
    """Options that the page names exist."""
    described = (TOP / "man/tcpcopy.8").read_text(encoding="utf-8")
    for option in set(re.findall(r"`-(-?[a-zA-Z][\w-]*)", SESSION)):
        assert f"Fl {option}" in described, option


# --- doc/PROTOCOL.md ------------------------------------------------------------------------------------------------

CHANNEL = constants(["channel/message.h", "channel/message.c"])


def test_protocol_messages():
    body = re.search(r"enum message_type \{(.*?)\}", source("channel/message.h"), re.DOTALL)[1]
    defined = {name: int(number) for name, number in re.findall(r"MSG_(\w+) = (\d+)", body)}
    assert len(defined) == body.count("MSG_")
    assert {row[1]: int(row[0]) for row in table(PROTOCOL, "type")} == defined
    headed = re.findall(r"([A-Z]+) \((\d+)\)", "\n".join(re.findall(r"^### (.*)", PROTOCOL, re.MULTILINE)))
    assert {name: int(number) for name, number in headed} == defined


def test_protocol_lengths():
    body = {row[1]: row[3] for row in table(PROTOCOL, "type")}
    assert body["HELLO"] == f"{CHANNEL['HELLO_LEN']} or more"
    assert body["RESPONSE"] == f"{CHANNEL['RESPONSE_LEN']} + 8 for each SACK block + first"
    limits = {row[0]: row[1] for row in table(PROTOCOL, "what")}
    assert value(limits["frame, header included"]) == CHANNEL["MESSAGE_MAX_LEN"]
    assert f"at most {CHANNEL['MESSAGE_MAX_LEN'] - CHANNEL['MESSAGE_HEADER_LEN']} |" in PROTOCOL
    assert f"a header of {CHANNEL['MESSAGE_HEADER_LEN']} bytes" in PROTOCOL
    blocks = constants(["packet/segment.h"])["TCP_MAX_SACK_BLOCKS"]
    assert f"SACK blocks, at most {blocks} |" in PROTOCOL


def test_protocol_fields_fill_their_messages():
    """Offsets and sizes of each table of fields follow on each other, and sum up to the length of the body."""
    body = {row[1]: row[3] for row in table(PROTOCOL, "type")}
    for section in PROTOCOL.split("\n### ")[1:]:
        name = section.split(" ")[0]
        if name == "BYE":
            continue
        ((head, rows),) = [t for t in tables(section.split("\n## ")[0]) if t[0][0] == "offset"]
        assert head[:3] == ["offset", "bytes", "field"]
        at = 0
        for offset, size, *_ in rows:
            assert int(offset) == at, (name, offset)
            if not size.isdigit():
                break
            at += int(size)
        assert at == int(body[name].split(" ")[0]), name


def test_protocol_numbers():
    assert f"(port {CHANNEL['CHANNEL_PORT']} by default)" in PROTOCOL
    assert PROTOCOL.startswith(f"# The channel protocol, version {CHANNEL['CHANNEL_VERSION_MAX']}\n")
    (magic,) = re.findall(r"magic \| 0x([0-9a-f]+)", PROTOCOL)
    assert int(magic, 16) == CHANNEL["HELLO_MAGIC"]
    early = constants(["intercept/watch/early.h"])
    limits = {row[0]: row[1] for row in table(PROTOCOL, "what")}
    most, patience = limits["early responses"].split(", ")[:2]
    assert (value(most), value(patience)) == (early["EARLY_MAX"], early["EARLY_NS"])


# --- doc/THREATS.md -------------------------------------------------------------------------------------------------

THREATS = (TOP / "doc/THREATS.md").read_text(encoding="utf-8")


def proofs():
    """What can be named as a test: files, patterns of scripts, fuzzers, and functions of the system tests."""
    files = {path.name for folder in ("unit", "system") for path in (TOP / "test" / folder).iterdir()}
    files |= {path.stem for path in (TOP / "fuzz").glob("fuzz_*.c")} | {"make oracle"}
    for path in (TOP / "test/system").glob("test_*.py"):
        files |= set(re.findall(r"^def (\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE))
    return files


def test_threats_name_their_tests():
    """Each row of each table says what shows it, and that is there; and so is each file of the sources that it names."""
    there, rows = proofs(), 0
    sources = {path.name for path in (TOP / "src").rglob("*.[ch]")}
    head = None
    for line in THREATS.splitlines():
        cells = [cell.strip() for cell in line[1:-1].split("|")] if line.startswith("|") else None
        if not cells or not head:
            head = cells
            assert not head or head[-1] == "shown by", head
            continue
        named = [name for name in re.findall(r"`([^`]+)`", cells[-1]) if not name.startswith("/")]
        missing = [name for name in named if name not in there and
                   not (name.endswith(".script") and list((TOP / "test/script").glob(name)))]
        assert (named or set(cells[-1]) == {"-"}) and not missing, (cells[0], missing)
        rows += bool(named)
        by = [file for file in re.findall(r"([\w/]+\.[ch])`", cells[-2]) if head[-2] == "by"]
        assert not [file for file in by if file.rpartition("/")[2] not in sources], (cells[0], by)
    assert rows > 50


# --- doc/SERVICES.md ------------------------------------------------------------------------------------------------

SERVICES = (TOP / "doc/SERVICES.md").read_text(encoding="utf-8")


def test_services_name_their_tests():
    """Each row has a result, what to do where it does not simply work, and a test, or says that none was run and what was
    seen last. What is behind --all is marked so, and nothing else."""
    there, rare = proofs(), (TOP / "test/system/test_services_rare.py").read_text(encoding="utf-8")
    ((head, rows),) = [found for found in tables(SERVICES) if found[0][0] == "service"]
    assert head == ["service", "use", "result", "what to do", "said", "shown by", "version"] and len(rows) > 30
    for row in rows:
        service, use, result, remedy, said, shown, version = row
        words = re.findall(r"`?(\w[\w-]+|--all)`?", shown)
        assert result == "works" or result == "cannot" or result.startswith(("works with ", "works behind ")), row
        assert (remedy or result == "works") and said in ("", "-", "yes", "a note", "in the answers") and use and version, row
        assert said or result == "works", row
        if shown.startswith("not run"):
            assert re.search(r"\d", version) or "Debian 12 has no" in shown, row
            continue
        named = set(words) - {"--all"}
        assert named and named <= there, row
        assert ("--all" in words) == any(f"def {name}(" in rare for name in named), row
    for anchor in re.findall(r"\]\(#([\w-]+)\)", SERVICES):
        headings = [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)", SERVICES, re.MULTILINE)]
        assert anchor in headings, anchor


def test_readme_names_what_the_programs_run_with():
    """The packages for a host on which nothing was built are those of the libraries."""
    readme = (TOP / "README.md").read_text(encoding="utf-8")
    named = set(re.search(r"`sudo apt-get install (lib[\w .+-]+)`", readme)[1].split())
    needed = set()
    for program in "tcpcopy", "intercept":
        plain = pathlib.Path(os.environ.get("TCPCOPY_PLAIN_DIR", TOP)) / program
        for library in re.findall(r"NEEDED +(\S+)", subprocess.run(["objdump", "-p", plain], capture_output=True, text=True,
                                                                    check=True).stdout):
            owner = subprocess.run(["dpkg", "-S", f"*/{library}"], capture_output=True, text=True).stdout
            needed |= {line.split(":")[0] for line in owner.splitlines() if line.endswith(f"/{library}")}
    assert {name for name in needed if name != "zlib1g" and not name.startswith("libc6")} == named  # Debian itself needs those


# --- doc/ARCHITECTURE.md --------------------------------------------------------------------------------------------

ARCHITECTURE = (TOP / "doc/ARCHITECTURE.md").read_text(encoding="utf-8")
SOURCES = {str(path.relative_to(TOP)): source(path.relative_to(TOP / "src"))
           for path in sorted((TOP / "src").rglob("*.[ch]"))}


def defines(text, function):
    """Does @text define @function? Where it is only declared or called, a semicolon follows."""
    head = re.search(rf"^(?!#)[a-z_][^;{{}}()=]*\b{function}\([^;{{}}]*\)\s*\{{", text, re.MULTILINE)
    return head is not None


def test_architecture_is_one_page():
    assert ARCHITECTURE.count("\n") < 150


def test_architecture_functions():
    """Each function exists, and where a table says a file, it is defined there."""
    named = set(re.findall(r"`(\w+)\(\)`", ARCHITECTURE))
    assert len(named) > 30
    missing = {name for name in named if not any(defines(text, name) for text in SOURCES.values())}
    assert not missing
    ways = [rows for head, rows in tables(ARCHITECTURE) if head[0] == "function"]
    assert len(ways) == 3
    for function, file, _ in [row for rows in ways for row in rows]:
        assert defines(SOURCES[file], function.removesuffix("()")), f"{function} is not in {file}"


def test_architecture_files():
    named = set(re.findall(r"`([\w.]+/[\w./]+|Makefile)`", ARCHITECTURE))
    assert len(named) > 30
    missing = {name for name in named if not (TOP / name).exists()}
    assert not missing


def test_architecture_names():
    """Structures and tables exist; the picture has every folder of src."""
    everything = "\n".join(SOURCES.values())
    for name in set(re.findall(r"`struct (\w+)`", ARCHITECTURE)):
        assert re.search(rf"^struct {name} \{{", everything, re.MULTILINE), name
    for name in set(re.findall(r"\b([A-Z]+_[A-Z_]+[A-Z]|DECLINES|SNAPLEN)\b", ARCHITECTURE)):
        assert re.search(rf"^#define {name}\b", everything, re.MULTILINE), name
    assert set(re.findall(r"src/(\w+)", ARCHITECTURE)) == {path.parts[1] for path in map(pathlib.Path, SOURCES)}


# --- src/*/README.md --------------------------------------------------------------------------------------------------

FOLDERS = sorted({path.parent for path in (TOP / "src").rglob("*.[ch]")} |
                 {path.parent for path in (TOP / "src").glob("*/*") if path.is_dir()})


def layers():
    """What each folder may include, by test/layers."""
    text = (TOP / "test/layers").read_text(encoding="utf-8")
    found = {folder: set(may.split("|")) for folder, may in re.findall(r"^\t(\w+)/\*\) may='([^']*)'", text, re.MULTILINE)}
    assert len(found) > 5
    return found


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(TOP)))
def test_folder_page(folder):
    """Each folder says what may live there, and what it may include as test/layers knows it; its files exist."""
    name = folder.relative_to(TOP / "src")
    page = (folder / "README.md").read_text(encoding="utf-8")
    text = " ".join(page.split())
    assert page.startswith(f"# src/{name}: ") and page.count("\n") <= 15
    may = re.search(r"- May live here: .+ - May not: .+ - May include: ([a-z, ]+)\. - Read first: .+\.$", text)
    assert may, page
    assert set(may[1].split(", ")) == layers()[name.parts[0]]
    for file in set(re.findall(r"`([\w/.]+\.[chs])`", page)):
        assert (folder / file).is_file() or (TOP / "src" / file).is_file(), file


# --- man/*.8 --------------------------------------------------------------------------------------------------------

PROGRAMS = pytest.mark.parametrize("program", ["tcpcopy", "intercept"])


def help_of(program, *topic):
    return subprocess.run([pathlib.Path(BIN) / program, "--help", *topic], capture_output=True, text=True, timeout=PATIENCE)


def options_in(text):
    """The options of a help text, each as its names: ("-W", "--no-hold")."""
    pairs = re.findall(r"^  (?:(-\w)(?:, | )|   ) ?(--[\w-]+)?", text, re.MULTILINE)
    return [tuple(name for name in pair if name) for pair in pairs if any(pair)]


def manual_of(program):
    """The options that the manual describes."""
    described = set()
    for item in re.findall(r"^\.It (Fl .*)", (TOP / f"man/{program}.8").read_text(encoding="utf-8"), re.MULTILINE):
        described |= {"-" + name for name in re.findall(r"(?:^| , )Fl (\S+)", item)}
    return described


@PROGRAMS
def test_manual_describes_all_options(program):
    """And none that is gone."""
    offered = {name for option in options_in(help_of(program, "all").stdout) for name in option}
    assert len(offered) > 30 and offered == manual_of(program)


@PROGRAMS
def test_options_are_of_one_topic(program):
    """Each is in one topic and once in all; those that mean something have a long name; -h is one screen with ten of them."""
    everything = help_of(program, "all").stdout
    topics = re.findall(r"^([a-z]+): ", everything, re.MULTILINE)
    assert topics[-1] == "running" and len(topics) > 3
    listed = []
    for topic in topics:
        done = help_of(program, topic)
        assert done.returncode == 0 and done.stdout.startswith(f"{topic}: ")
        options = options_in(done.stdout)
        assert options, topic
        assert all(option[-1].startswith("--") for option in options) or topic == "ignored"
        listed += options
    assert listed == options_in(everything) and len(listed) == len(set(listed))
    for word in ("all", *topics):
        assert re.search(rf"\b{word}\b", help_of(program).stdout)
    brief = help_of(program)
    assert brief.returncode == 0 and brief.stdout.count("\n") <= 24, brief.stdout
    assert set(options_in(brief.stdout)) <= set(listed) and len(options_in(brief.stdout)) <= 11
    wrong = help_of(program, "fruit")
    assert wrong.returncode == 2 and wrong.stdout == "" and wrong.stderr.count("\n") == 1
    assert wrong.stderr.endswith(f"no such topic; accepted: {', '.join(topics)}, all\n")
