"""Benchmarks: pardata beside its rivals, in the same run on the same machine.

``python -m benchmarks`` measures every scenario, ``python -m benchmarks --help`` tells the options. How to read the
code: `scenarios` says what is compared and which ratio is asked for, `chains` and `maps` hold the work that both
sides do, ``*_pardata`` and the files named by rival do it, `isolate` runs each side of each round in a process of
its own (`run`), `report` judges and prints.
"""
