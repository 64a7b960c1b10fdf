"""Kill everything at a random moment and start again, until it is done: the files must be those of an undisturbed run.

``python -m tests.faults.random_resumes 300`` does so 300 times; a failure names the seed to give as `--begin`. Graph,
engine and moments are drawn. The job is a process group of its own, of which all are killed at once.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from tests.faults import resumed_streams as streams

JOB = """
import sys
from pardata.checkpoint import folder as folders
from tests.faults import resumed_streams as streams
folders.CUT_S, folders.COST = float(sys.argv[4]), 0
graph = getattr(streams, sys.argv[1])
if __name__ == "__main__":
    print("begun", flush=True)
    streams.run(graph, sys.argv[3], streams.Repairable(sys.argv[3]), sys.argv[2], checkpoint=f"{sys.argv[3]}/c")
"""
MOST_KILLS = 6


def resume(seed, folder):
    """Run a job with kills, then to its end; return how often it was killed. Fails if a file differs."""
    draw = random.Random(seed)
    graph, engine = draw.choice(streams.GRAPHS), draw.choice(["serial", "threads", "processes"])
    at = f"{folder}/job"
    os.mkdir(at)
    whole = streams.expected(graph, f"{folder}/whole")
    command = [sys.executable, "-c", JOB, graph.__name__, engine, at, str(draw.choice([0.0, 0.002, 0.02]))]
    kills = 0
    for _ in range(draw.randrange(1, MOST_KILLS)):
        job = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        job.stdout.readline()
        time.sleep(draw.expovariate(1 / (0.6 if engine == "processes" else 0.15)))
        os.killpg(job.pid, signal.SIGKILL)
        job.stdout.close()
        kills += job.wait() == -signal.SIGKILL
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert streams.outputs(at) == whole, f"{graph.__name__} on {engine}, seed {seed}"
    return kills


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.faults.random_resumes")
    parser.add_argument("count", type=int)
    parser.add_argument("--begin", type=int, default=0)
    wanted = parser.parse_args(arguments)
    kills = 0
    for seed in range(wanted.begin, wanted.begin + wanted.count):
        folder = tempfile.mkdtemp()
        kills += resume(seed, folder)
        shutil.rmtree(folder)
    print(f"{wanted.count} jobs, {kills} kills: all files are those of an undisturbed run")


if __name__ == "__main__":
    main(sys.argv[1:])
