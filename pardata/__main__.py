"""The command line: ``python -m pardata info``, ``top``, ``ls``, ``sweep`` and ``checkpoint``."""

import argparse
import os
import sys

from pardata import __version__
from pardata.checkpoint.description import described
from pardata.memory.budget import format_bytes
from pardata.memory.named import directories, guardian, inspector
from pardata.memory.named.inspector import BlockInfo
from pardata.runtime.information import information
from pardata.runtime.watching import terminal

HEADINGS = ("block", "bytes", "age", "made by", "where", "mapped by", "session")


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _row(block: BlockInfo) -> tuple[str, ...]:
    return (
        block.name,
        format_bytes(block.nbytes),
        _age(block.age_s),
        str(block.pid),
        block.where,
        " ".join(map(str, block.holders)) or "nobody",
        os.path.basename(block.session) + ("" if block.is_alive else " (dead: sweep removes it)"),
    )


def table(rows: list[tuple[str, ...]]) -> str:
    """Return lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def ls() -> str:
    """Return a table of this user's named blocks."""
    blocks = inspector.blocks()
    rows = [table([HEADINGS, *map(_row, blocks)])] if blocks else []
    total = format_bytes(sum(block.nbytes for block in blocks))
    where = directories.base_directory(make=False)
    return "\n".join([*rows, f"{len(blocks)} named block{'s' * (len(blocks) != 1)}, {total}, in {where}"])


def sweep() -> str:
    """Remove the blocks of dead sessions, and return a line for each."""
    removed = [record for base in directories.base_directories() for record in guardian.sweep(base, wait=True)]
    lines = [f"removed {record.name}, {format_bytes(record.nbytes)}, made at {record.where}" for record in removed]
    count = f"{len(removed)} block{'s' * (len(removed) != 1)} of dead sessions removed; living ones are not touched"
    return "\n".join([*lines, count])


def info() -> str:
    """Return versions, limits, and what is switched on on this machine."""
    return "\n".join(
        f"{heading}:\n" + table([(f"  {name}", value) for name, value in lines])
        for heading, lines in information(__version__).items()
    )


def write(text: str) -> None:
    """Print a text; leave with status 1, and a line on standard error, if that cannot be: the disk is full."""
    try:
        print(text, flush=True)
    except OSError as error:
        with open(os.devnull, "wb") as nowhere:  # for what Python would try to write once more when it ends
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        has_left = isinstance(error, BrokenPipeError)  # whoever reads has what it wanted, as `head`
        sys.exit(1 if has_left else f"python -m pardata: standard output: {error.strerror}")


def main(arguments: list[str]) -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(prog="python -m pardata", description="This machine, and named shared memory.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="show versions, limits, and what is switched on on this machine, and why")
    shows = commands.add_parser("top", help="show this user's runs and pools at work, once in a second; q ends it")
    shows.add_argument("--once", action="store_true", help="print one table, with the rates since each has begun")
    commands.add_parser("ls", help="list the blocks, their creators and the processes that have them mapped")
    commands.add_parser("sweep", help="remove the blocks of dead sessions (each start of a session does so, too)")
    looks = commands.add_parser("checkpoint", help="tell what a folder holds that was given as checkpoint=")
    looks.add_argument("folder")
    wanted = parser.parse_args(arguments)
    if wanted.command == "top" and not wanted.once and terminal.is_terminal():
        return terminal.watch()
    write(
        described(wanted.folder)
        if wanted.command == "checkpoint"
        else {"info": info, "top": terminal.text, "ls": ls, "sweep": sweep}[wanted.command]()
    )


if __name__ == "__main__":
    main(sys.argv[1:])
