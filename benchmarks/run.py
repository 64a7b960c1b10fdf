"""``python -m benchmarks.run <scenario> <side> [seconds]``: one side, once; its outcome as the last line, in JSON.

Imports neither numpy nor pardata itself: only what the side asks for. ``limits -`` measures the machine.
"""

from __future__ import annotations

import importlib
import json
import sys

from benchmarks.scenarios import find

SECONDS = 2.5  # for how long a chain's source makes items


def main(arguments: list[str]) -> None:
    """Run the side; a wrong result, like any error, ends the process with a traceback."""
    name, side, *rest = arguments
    seconds = float(rest[0]) if rest else SECONDS
    target = "limits:measure" if name == "limits" else find(name).sides[side]
    module, function = target.split(":")
    outcome = getattr(importlib.import_module(f"benchmarks.{module}"), function)(name, seconds)
    print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
