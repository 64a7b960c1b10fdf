"""``python -m benchmarks.run_side <case> <side> <seconds>``: one side, once; its outcome as the last line, in JSON."""

from __future__ import annotations

import json
import sys

from benchmarks import rivals
from benchmarks.scenarios import find


def main(name: str, side: str, seconds: str) -> None:
    """Run the side; a wrong result, like any error, ends the process with a traceback."""
    outcome = find(name).measure(rivals.load(side), float(seconds))
    print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
