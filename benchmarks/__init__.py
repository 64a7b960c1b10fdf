"""Benchmarks: pardata beside its rivals, on the same work, in the same run, on the same machine.

``python -m benchmarks`` measures everything (half an hour), ``python -m benchmarks one_to_one`` or ``... chain_copy``
a scenario or a case, ``--quick`` a little of each, ``--compare OLD`` shows regressions, ``--help`` tells the rest.

Reading the code: a *scenario* is a file in `scenarios`, named by its topology or work; it has `CASES`, each with
the *sides* that are compared and a function `measure` that lets any of them do the work, and checks the result. A
*rival* is a file in `rivals`: a class that does some of the *jobs* of `rivals.rival.Rival` with one library. `bars`
lists the demands on pardata. `runner` lets the sides take turns, `isolate` runs each in a process of its own
(`run_side`) and measures its cost, `results` keeps the outcomes, `report`, `compare`, `plots` and `pages` show them.

To add a case, add it to its scenario's `CASES`, and its bar to `bars.BARS`. To add a rival, write its file, name it in
`rivals.RIVALS`, and add it to the sides of the cases. `tests/process/test_benchmarks.py` tries every job of every rival
that is installed.
"""
