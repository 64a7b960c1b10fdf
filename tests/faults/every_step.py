"""End a run with a checkpoint in front of each of its steps on the disk, and have the same call go on.

``python -m tests.faults.every_step`` takes an hour: each graph, on the engines whose writes are all this process's, is
killed, loses what was not flushed, or finds the disk full. ``--every 20`` takes each twentieth step.
"""

import argparse
import functools
import itertools
import os
import shutil
import sys
import tempfile

from pardata.checkpoint import folder as folders
from tests.conformance.data_formats import warm_up
from tests.faults import resumed_streams as streams
from tests.faults.cuts import ENDS, end_at_each_step


def job(graph, engine, folder):
    streams.run(graph, folder, streams.Repairable(folder), engine, checkpoint=f"{folder}/c", tokens=2)


def check(whole, folder):
    assert streams.outputs(folder) == whole


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.faults.every_step")
    parser.add_argument("--every", type=int, default=1)
    every = parser.parse_args(arguments).every
    folders.CUT_S, folders.COST = 0.0, 0
    warm_up()
    for graph, engine, end in itertools.product(streams.GRAPHS, ("serial", "threads"), ENDS):
        with tempfile.TemporaryDirectory() as at:
            whole = streams.expected(graph, f"{at}/whole")
            numbers = itertools.count()
            steps = end_at_each_step(
                functools.partial(new_folder, at, numbers),
                functools.partial(job, graph, engine),
                functools.partial(check, whole),
                end,
                every,
            )
        print(
            f"{graph.__name__} on {engine}, {end}: {steps} steps, all files are those of an undisturbed run", flush=True
        )


def new_folder(at, numbers):
    """Return a new folder; the one before has been checked."""
    number = next(numbers)
    shutil.rmtree(f"{at}/{number - 1}", ignore_errors=True)
    os.mkdir(f"{at}/{number}")
    return f"{at}/{number}"


if __name__ == "__main__":
    main(sys.argv[1:])
