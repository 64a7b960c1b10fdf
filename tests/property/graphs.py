"""Random graphs of streams.

A graph is drawn as a list of steps; step number n makes stream number n out of earlier ones. The tag of an item names
the source and the inputs of merges that it came through, so its order among its like is known.
"""

from __future__ import annotations

import queue
from typing import Any, NamedTuple

import hypothesis.strategies as st

import pardata
from tests.property.graph_stages import (
    Totals,
    adding,
    adding_to,
    anywhere,
    awaiting,
    counted,
    doubling,
    drawing,
    failing,
    failing_alone,
    joining,
    keeping,
    mapping,
    number_of,
    repeating,
    summing,
    tagging,
    taking,
    total_of,
    twice,
    value_of,
)


class Traits(NamedTuple):
    """What is known of a stream when it is drawn."""

    numbering: int  # streams of the same numbering can be zipped
    numbered: bool = True  # which item of a tag has which number is known
    in_order: bool = True  # items of a tag come in the order of their numbers
    merged: bool = False  # tags are interleaved at random
    is_single: bool = True  # no number stands for several items
    is_fixed: bool = True  # an item has the same number in every run

    @property
    def is_sequence(self) -> bool:
        """Whether the items of one tag come in a known order."""
        return self.numbered and self.in_order

    @property
    def is_total(self) -> bool:
        """Whether all items come in a known order, whatever their tags."""
        return self.is_sequence and not self.merged

    @property
    def renumbered_alike(self) -> bool:
        """Whether its items get the same numbers in every run if they are numbered anew."""
        return self.is_total and self.is_fixed


# -- graphs ------------------------------------------------------------------------------------------------------------

CHUNKSIZES = st.sampled_from(["auto", 1, 3, 64])
SAID_WORKERS = st.integers(1, 3)
WORKERS = st.sampled_from([1, 2, 3, "auto"])


REGROUPINGS = ["batch", "flat_map", "concat", "turns"]
POSITIONS = ["cut", "enumerate", "pairs"]  # of items in a known order
BRANCHINGS = ["partition", "routed", "scatter", "letters", "weave"]
FILTERS = ["pipe", "totals", "drawn totals", "window", "reduce"]  # of all items
STAGES = ["map", "map", "draw", "await", "filter", "skip"]
KINDS = ["source", *STAGES, *FILTERS, "zip", "zip", "merge", "merge", "merge", *REGROUPINGS, *POSITIONS, *BRANCHINGS]


@st.composite
def graphs(draw, most_items=40, without=()):
    """Steps of a graph, and what is known of its last stream; `without`: kinds of steps that are left out."""
    kinds = [kind for kind in KINDS if kind not in without]
    steps: list[tuple[Any, ...]] = []
    traits: list[Traits] = []

    def add(known, *step):
        steps.append(step)
        traits.append(known)
        return len(steps) - 1

    def add_source():
        kind = draw(st.sampled_from(["list", "function", "queue"]))
        count = draw(st.one_of(st.integers(0, most_items), st.just(most_items)))
        add(Traits(len(steps)), "source", kind, count, are_arrays)

    def renumbered(known):
        fixed = known.renumbered_alike
        return Traits(len(steps), numbered=known.is_sequence, merged=known.merged, is_fixed=fixed)

    def draw_stream():
        return len(steps) - 1 - draw(st.integers(0, min(3, len(steps) - 1)))

    are_arrays = draw(st.booleans())
    add_source()
    for _ in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from(kinds))
        given = draw_stream()
        known = traits[given]
        if kind == "source":
            add_source()
        elif kind in ("map", "draw", "filter", "skip"):
            kind = "map" if kind == "draw" and not known.is_fixed else kind
            ordered = draw(st.booleans())
            options = {"workers": draw(WORKERS), "ordered": ordered, "chunksize": draw(CHUNKSIZES)}
            kinds_of_workers = ["process"] * 3 + ["thread"] * (options["workers"] != "auto")
            options["kind"] = draw(st.sampled_from(kinds_of_workers))
            add(known._replace(in_order=known.in_order and ordered), kind, given, draw(st.integers(2, 5)), options)
        elif kind == "await":
            options = {"workers": draw(SAID_WORKERS), "ordered": draw(st.booleans())}
            options["concurrency"] = draw(st.integers(1, 9))
            known = known._replace(in_order=known.in_order and options["ordered"])
            add(known, "await", given, draw(st.integers(2, 5)), options)
        elif kind == "pipe":
            possible = ["double"] + ["sum"] * known.is_sequence + ["take"] * (known.is_sequence and not known.merged)
            pipe = draw(st.sampled_from(possible))
            add(renumbered(known), "pipe", given, pipe, draw(st.integers(0, 9)))
        elif kind in ("totals", "drawn totals", "window", "reduce"):
            # Of items in no known order only a sum is known, and of interleaved tags a total of each.
            if kind == "drawn totals" and not known.is_fixed:
                kind = "totals"
            kind = kind if known.is_total else kind if "totals" in kind and known.is_sequence else "reduce"
            behind = renumbered(known) if kind != "reduce" else Traits(len(steps))
            add(behind._replace(numbered=True), kind, given, draw(st.integers(1, 4)))
        elif kind in POSITIONS and known.is_total:
            add(renumbered(known), kind, given, draw(st.integers(1, 5)), draw(WORKERS))
        elif kind in REGROUPINGS or kind in POSITIONS:
            kind = "flat_map" if kind in POSITIONS else kind
            add(renumbered(known), kind, given, draw(st.integers(1, 5)), draw(WORKERS))
        elif kind in BRANCHINGS:
            kind = "partition" if kind == "routed" and not known.is_single else kind  # those would change places
            single = known.is_single and kind != "weave"
            behind = known._replace(numbering=len(steps), in_order=True, is_single=single)
            add(behind, kind, given, draw(st.integers(2, 4)), draw(WORKERS))
        elif kind == "zip":
            others = [index for index, other in enumerate(traits) if other.numbering == known.numbering]
            other = draw(st.sampled_from(others))
            add(known._replace(in_order=True), "zip", given, other, draw(WORKERS))
        else:
            other = draw_stream()
            numbered = known.numbered and traits[other].numbered
            in_order = known.in_order and traits[other].in_order
            policy = draw(st.sampled_from(["arrival", "fair", "fair"]))
            behind = draw(st.sampled_from(["", "map", "flat_map"]))  # a single worker joins the streams itself
            single = behind == "flat_map" or (known.is_single and traits[other].is_single)
            if behind == "flat_map":
                numbered, in_order = numbered and in_order, True
            fixed = behind != "flat_map" and known.is_fixed and traits[other].is_fixed
            merged = Traits(len(steps), numbered, in_order, merged=True, is_single=single, is_fixed=fixed)
            add(merged, "merge", given, other, draw(CHUNKSIZES), behind, policy)
    return steps, traits[-1]


def build(steps):
    """The last stream of a graph."""
    made: list[pardata.Stream] = []
    for number, (kind, *rest) in enumerate(steps):
        made.append(MAKERS[kind](number, made, *rest))
    return made[-1]


def make_source(number, made, kind, count, are_arrays):
    def generate():
        for value in range(count):
            yield f"source{number}", value_of(value, are_arrays)

    if kind == "queue":
        made_of = queue.SimpleQueue()
        for item in (*generate(), None):
            made_of.put(item)
        return pardata.source(made_of)
    return pardata.source(list(generate()) if kind == "list" else generate)


def make_pipe(number, made, given, kind, count):
    return made[given] | {"double": doubling, "sum": summing, "take": lambda: taking(count)}[kind]()


def make_reduce(number, made, given, n):
    return made[given].reduce(adding, (f"sum{number}", 0))


def make_turns(number, made, given, count, workers):
    others = [(f"turn{number}", value) for value in range(4 * count)]
    return pardata.merge(
        made[given].map(mapping(3), workers=workers), pardata.source(others).map(mapping(2)), policy="round_robin"
    )


def make_routed(number, made, given, n, workers):
    branches = made[given].partition(anywhere, n)
    return pardata.merge(*[branch.map(mapping(5), workers=workers) for branch in branches], policy="ordered")


def make_weave(number, made, given, k, workers):
    kept = made[given].filter(keeping(k), workers=workers)
    return pardata.merge(made[given].map(mapping(2)), kept, policy="ordered")


def make_zip(number, made, given, other, workers):
    return pardata.zip(made[given], made[other]).map(joining(), workers=workers)


def make_merge(number, made, given, other, chunksize, behind, policy):
    first = made[given].map(tagging(f"{number}a"), chunksize=chunksize)
    merged = pardata.merge(first, made[other].map(tagging(f"{number}b"), chunksize=chunksize), policy=policy)
    joined = {"": lambda: merged, "map": lambda: merged.map(mapping(2)), "flat_map": lambda: merged.flat_map(twice)}
    return joined[behind]()


def make_concat(number, made, given, count, workers):
    return pardata.concat(made[given].map(mapping(3), workers=workers), pardata.source([(f"more{number}", 1)] * count))


def make_pairs(number, made, given, count, workers):
    """Pairs of which the other side, and some items of both sides, come from elsewhere."""
    n = 20 * count
    filled = pardata.concat(made[given], pardata.source([(f"filled{number}", 1)] * n)).take(n)
    others = pardata.source(range(n)).map(failing_alone(5), errors="skip", workers=workers, ordered=count > 2)
    kept = filled.filter(keeping(4), workers=workers, chunksize=count)
    return pardata.zip(kept, others, by="position").map(adding_to)


def make_partition(number, made, given, n, workers):
    branches = made[given].partition(lambda item: number_of(item[1]), n)
    mapped = [branch.map(mapping(k), workers=workers, ordered=k > 0) for k, branch in enumerate(branches)]
    return pardata.merge(*mapped, policy="ordered")


def make_letters(number, made, given, k, workers):
    good = made[given].map(failing(k), errors="stream", workers=workers)
    return pardata.merge(good.map(mapping(2)), good.failed.map(lambda letter: letter.item), policy="ordered")


MAKERS = {
    "source": make_source,
    "await": lambda number, made, given, k, options: made[given].map(awaiting(k), **options),
    "map": lambda number, made, given, k, options: made[given].map(mapping(k), **options),
    "draw": lambda number, made, given, k, options: made[given].map(drawing(k), **options),
    "filter": lambda number, made, given, k, options: made[given].filter(keeping(k), **options),
    "skip": lambda number, made, given, k, options: made[given].map(failing(k), errors="skip", **options),
    "pipe": make_pipe,
    "totals": lambda number, made, given, n: made[given] | Totals(),
    "drawn totals": lambda number, made, given, n: made[given] | Totals(draws=True),
    "window": lambda number, made, given, n: made[given].window(n, 1 + n % 3).map(total_of),
    "reduce": make_reduce,
    "turns": make_turns,
    "routed": make_routed,
    "weave": make_weave,
    "zip": make_zip,
    "merge": make_merge,
    "batch": lambda number, made, given, n, workers: made[given].batch(n).map(list, workers=workers).unbatch(),
    "flat_map": lambda number, made, given, k, workers: made[given].flat_map(repeating(k), workers=workers),
    "concat": make_concat,
    "cut": lambda number, made, given, n, workers: made[given].map(mapping(2), workers=workers).skip(n).take(20 * n),
    "enumerate": lambda number, made, given, n, workers: made[given].enumerate(n).starmap(counted, workers=workers),
    "pairs": make_pairs,
    "partition": make_partition,
    "scatter": lambda number, made, given, n, workers: pardata.merge(*made[given].scatter(n), policy="ordered"),
    "letters": make_letters,
}
