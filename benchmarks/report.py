"""From the rounds to what is shown and kept: medians, ratios, bars, the table. Pure."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.scenarios import SAME_SPEED, SAME_SPEED_LIMIT, Bar, Scenario

Rounds = dict[str, list[dict[str, Any]]]  # side -> the outcome of each round; {"error": text} for a failed one
NOISE = 0.1  # the share of the cores that others may have before it is said
HEADINGS = ("scenario", "pardata", "rival", "ratio", "bar", "", "cpu: pardata, rival", "memory")


def median(rounds: list[dict[str, Any]], key: str = "value") -> float | None:
    """The median over the rounds that gave a result; None if none did."""
    values = [r[key] for r in rounds if r.get(key) is not None]
    return statistics.median(values) if values else None


def judge(scenario: Scenario, rounds: Rounds) -> dict[str, Any]:
    """The medians of a scenario, the ratio to its rival and whether the bar is reached (None: not to be said)."""
    medians = {side: median(rounds[side]) for side in scenario.sides}
    ours, theirs = medians["pardata"], medians.get(scenario.rival or "")
    ratio = scenario.ratio(ours, theirs) if ours and theirs else None
    reached = scenario.bar.reached(ours, ratio) if scenario.bar and ours else None
    bar = str(scenario.bar) if scenario.bar else None
    return {"unit": scenario.unit, "medians": medians, "ratio": ratio, "bar": bar, "reached": reached}


def judge_same_speed(results: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """Whether the speed is the same for arrays of every size; None unless all sizes were measured."""
    speeds = [results[name]["medians"]["pardata"] for name in SAME_SPEED if name in results]
    if len(speeds) < len(SAME_SPEED) or not all(speeds):
        return None
    ratio, bar = max(speeds) / min(speeds), Bar("as long", SAME_SPEED_LIMIT)
    reached = bar.reached(min(speeds), ratio)
    return {"fastest": max(speeds), "slowest": min(speeds), "ratio": ratio, "bar": str(bar), "reached": reached}


def table(results: dict[str, dict[str, Any]], limits: dict[str, float]) -> str:
    """The limits of the machine, a line per scenario, then what else there is to say."""
    rows = [HEADINGS, *(_row(name, result) for name, result in results.items())]
    same = judge_same_speed(results)
    if same:
        fastest, slowest = (_number(same[key], "items/s") for key in ("fastest", "slowest"))
        row = ("nocopy: all sizes alike", fastest, slowest, f"{same['ratio']:.2f} x", same["bar"], _verdict(same))
        rows.append((*row, "", ""))
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "-" * len(max(lines, key=len)))
    return "\n".join([_limits_line(limits), "", *lines, *_remarks(results)])


def _limits_line(limits: dict[str, float]) -> str:
    if not limits:
        return "limits of this machine: not measured"
    return (
        f"limits of this machine: memcpy, warm {limits['memcpy_8MB_GB_per_s']:.1f} GB/s (8 MB), "
        f"{limits['memcpy_256MB_GB_per_s']:.1f} GB/s (256 MB); pipe round trip "
        f"{limits['pipe_round_trip_same_core_us']:.1f} us on one core, "
        f"{limits['pipe_round_trip_two_cores_us']:.1f} us between two"
    )


def _row(name: str, result: dict[str, Any]) -> tuple[str, ...]:
    rival = next((side for side in result["medians"] if side != "pardata"), "")
    ours, theirs = (_side(result, side) for side in ("pardata", rival))
    ratio = f"{result['ratio']:.3g} x" if result["ratio"] else "-"
    costs = ", ".join(_cpu(result, side) for side in ("pardata", rival) if side)
    memory = ", ".join(_memory(result, side) for side in ("pardata", rival) if side)
    theirs = f"{theirs} {rival}" if theirs != "-" else theirs
    return (name, ours, theirs, ratio, result["bar"] or "information", _verdict(result), costs, memory)


def _verdict(result: dict[str, Any]) -> str:
    if result["bar"] is None:
        return ""
    return {True: "reached", False: "short", None: "no result"}[result["reached"]]


def _side(result: dict[str, Any], side: str) -> str:
    """The median and by how much the rounds differ from it."""
    value = result["medians"].get(side)
    if value is None:
        return "failed" if result["rounds"].get(side) else "-"
    values = [r["value"] for r in result["rounds"][side] if "value" in r]
    spread = (max(values) - min(values)) / 2 / value
    return f"{_number(value, result['unit'])} ±{spread:.0%}"


def _number(value: float, unit: str) -> str:
    if unit == "items/s":
        return f"{value:,.0f}/s" if value >= 100 else f"{value:.1f}/s"
    if unit == "MB":
        return f"{value:.1f} MB"
    if value < 1e-3:
        return f"{value * 1e6:.3g} us"
    return f"{value:.3f} s" if value >= 0.1 else f"{value * 1e3:.1f} ms"


def _cpu(result: dict[str, Any], side: str) -> str:
    """CPU of all processes, start and end included: per item for a rate, else in all."""
    cpu_s, items = median(result["rounds"][side], "cpu_s"), median(result["rounds"][side], "items")
    if cpu_s is None or not items:
        return "-"
    if result["unit"] == "s":
        return f"{cpu_s:.2f} s"
    each = cpu_s / items
    return f"{each * 1e3:.1f} ms" if each >= 1e-3 else f"{each * 1e6:.0f} us"


def _memory(result: dict[str, Any], side: str) -> str:
    peak = median(result["rounds"][side], "peak_bytes")
    return "-" if peak is None else f"{peak / 1e6:,.0f} MB"


def _remarks(results: dict[str, dict[str, Any]]) -> list[str]:
    """Lines on sides shown for information, on failures and on processes that were left behind."""
    lines = []
    for name, result in results.items():
        for side in list(result["medians"])[2:]:
            lines.append(f"{name}: {side} {_side(result, side)}")
        for side, rounds in result["rounds"].items():
            for error in sorted({r["error"] for r in rounds if "error" in r}):
                count = sum(r.get("error") == error for r in rounds)
                lines.append(f"{name}: {side} failed in {count} of {len(rounds)} rounds: {error}")
            said = next((r["stderr"] for r in rounds if r.get("stderr")), "")
            if said:
                lines.append(f"{name}: {side} wrote to stderr: {said.splitlines()[-1]}")
            foreign = median(rounds, "foreign_cpu")
            if foreign is not None and foreign > NOISE:
                lines.append(f"{name}: {side} ran beside other programs, which had {foreign:.0%} of the cores")
            left = max((r.get("left_processes", 0) for r in rounds), default=0)
            if left:
                lines.append(f"{name}: {side} left up to {left} processes behind")
    return ["", *lines] if lines else []
