"""Follow several log files while they grow, and count the kinds of lines: endless sources, merged as they arrive.

    follow a.log ──┐
    follow b.log ──┼── merge ── parse ── count ── the counts so far, again and again
    follow c.log ──┘              └── lines that cannot be parsed

A file is waited for until it is there, and its lines are read as they come, for as long as some do come.

    python examples/logs.py                       # three Python interpreters log their imports, meanwhile
    python examples/logs.py /var/log/*.log --idle 10
"""

import argparse
import collections
import re
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pardata

PROGRAMS = ("import email.message", "import json, decimal", "import asyncio")
LEVEL = re.compile(
    r"\b(debug|info|warning|error|critical)\b|\b(install|upgrade|remove|status)\b"  # logging, dpkg
    r"|^#? ?(import|extension|code object|cleanup|destroy|trying|clear|restore)|\b(matches)\b",  # python -v
    re.IGNORECASE,
)


def follow(path, idle_s, poll_s=0.05):
    """Yield (name, line) of a file that others write to, until nothing has come for `idle_s` seconds."""
    rest, quiet_since = "", time.monotonic()
    position = 0
    while time.monotonic() - quiet_since < idle_s:
        if path.exists():
            with path.open(encoding="utf-8", errors="replace") as file:
                file.seek(position)
                *lines, rest = (rest + file.read()).split("\n")
                position = file.tell()
            for line in lines:
                yield path.name, line
            if lines:
                quiet_since = time.monotonic()
        time.sleep(poll_s)
    if rest:
        yield path.name, rest


def parse(entry):
    """(name, kind of the line); ValueError if the line does not tell."""
    name, line = entry
    found = LEVEL.search(line)
    if found is None:
        raise ValueError(f"{name}: no level in {line[:60]!r}")
    return name, found[found.lastindex].lower()


class Count:
    """Yields the counts so far, every `every` lines and at the end. Goes on counting if its process is killed."""

    def __init__(self, every):
        self.every = every
        self.counts = collections.Counter()

    def __call__(self, kinds):
        for kind in kinds:
            self.counts[kind] += 1
            if self.counts.total() % self.every == 0:
                yield dict(self.counts)
        yield dict(self.counts)

    def snapshot(self):
        return self.counts

    def restore(self, state):
        self.counts = state


def show(counts):
    """A line per file."""
    by_file = collections.defaultdict(list)
    for (name, kind), count in sorted(counts.items()):
        by_file[name].append(f"{kind} {count}")
    return "\n".join(f"{name:>20}: {', '.join(kinds)}" for name, kinds in by_file.items())


def build(paths, idle_s, every):
    """The graph drawn above, and its dead letters."""
    lines = pardata.merge(*(pardata.source(partial(follow, path, idle_s), name=path.name) for path in paths))
    kinds = lines.map(parse, errors="stream")
    return kinds | Count(every), kinds.failed


def watch(paths, options):
    """Run it, and print the counts and the number of lines that could not be parsed."""
    counts, strange = build(paths, options.idle, options.every)
    tables, letters = [], []
    report = pardata.run(counts.to(tables), strange.to(letters), engine=options.engine)
    print(show(tables[-1]))
    print(f"{len(tables)} tables on the way; {len(letters)} lines do not say what they are")
    if letters:
        print(f"the first of them: {letters[0].error}")
    print(report)


def main():
    parser = argparse.ArgumentParser(description="Follow log files and count what they say.")
    parser.add_argument("files", type=Path, nargs="*", help="log files (default: those of three programs, started now)")
    parser.add_argument("--idle", type=float, default=1.0, help="end after so many seconds of silence: %(default)s")
    parser.add_argument("--every", type=int, default=200, help="count so many lines between two tables: %(default)s")
    parser.add_argument("--engine", choices=["processes", "threads"], default="processes")
    options = parser.parse_args()
    if options.files:
        watch(options.files, options)
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{program.split()[1].strip(',')}.log" for program in PROGRAMS]
        programs = []
        for program, path in zip(PROGRAMS, paths, strict=True):
            with path.open("w") as log:
                programs.append(subprocess.Popen([sys.executable, "-v", "-c", program], stderr=log))
        watch(paths, options)
        for program in programs:
            program.wait()


if __name__ == "__main__":
    main()
