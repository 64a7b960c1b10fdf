"""The command line: ``python -m pardata info``, ``ls``, ``sweep`` and ``checkpoint``."""

import argparse
import os
import sys

from pardata import __version__
from pardata.checkpoint.description import described
from pardata.memory.budget import format_bytes
from pardata.memory.named import directories, guardian, inspector
from pardata.memory.named.inspector import BlockInfo
from pardata.runtime.information import information

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


def ls() -> None:
    """Print a table of this user's named blocks."""
    blocks = inspector.blocks()
    if blocks:
        print(table([HEADINGS, *map(_row, blocks)]))
    total = format_bytes(sum(block.nbytes for block in blocks))
    print(f"{len(blocks)} named block{'s' * (len(blocks) != 1)}, {total}, in {directories.base_directory(make=False)}")


def sweep() -> None:
    """Remove the blocks of dead sessions, and print a line for each."""
    removed = [record for base in directories.base_directories() for record in guardian.sweep(base, wait=True)]
    for record in removed:
        print(f"removed {record.name}, {format_bytes(record.nbytes)}, made at {record.where}")
    print(f"{len(removed)} block{'s' * (len(removed) != 1)} of dead sessions removed; living ones are not touched")


def info() -> None:
    """Print versions, limits, and what is switched on on this machine."""
    for heading, lines in information(__version__).items():
        print(f"{heading}:")
        print(table([(f"  {name}", value) for name, value in lines]))


def main(arguments: list[str]) -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(prog="python -m pardata", description="This machine, and named shared memory.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="show versions, limits, and what is switched on on this machine, and why")
    commands.add_parser("ls", help="list the blocks, their creators and the processes that have them mapped")
    commands.add_parser("sweep", help="remove the blocks of dead sessions (each start of a session does so, too)")
    looks = commands.add_parser("checkpoint", help="tell what a folder holds that was given as checkpoint=")
    looks.add_argument("folder")
    wanted = parser.parse_args(arguments)
    if wanted.command == "checkpoint":
        print(described(wanted.folder))
        return
    {"info": info, "ls": ls, "sweep": sweep}[wanted.command]()


if __name__ == "__main__":
    main(sys.argv[1:])
