"""Results, bars, comparison and tables: everything that is decided after the measuring."""

import json

import pytest

from benchmarks import compare, report, results
from benchmarks.bars import BARS, Bar, bars_of, judge, sides_of
from benchmarks.results import Results
from benchmarks.rivals import EARLIER
from benchmarks.scenarios import scenarios, select


def made(unit="s", case="work", errors=0, **sides):
    """Results of one case: for each side the values of its rounds."""
    rounds = {
        side.replace("_", "."): [{"value": value, "cpu_s": 2.0, "items": 4, "peak_bytes": 3e6} for value in values]
        for side, values in sides.items()
    }
    rounds["pardata"] += [{"error": "exit status 1"}] * errors
    record = {"title": "some work", "unit": unit, "skipped": {"ray": "not installed"}, "rounds": rounds}
    record |= {"versions": {}, "date": "2026-01-01T00:00", "commit": None}
    return Results({"some": {"scenario": "some", "machine": {"cores": 2}, "cases": {case: record}}})


def test_median_and_spread_leave_failed_rounds_out():
    found = made(pardata=[1.0, 2.0, 4.0], errors=2)
    assert found.median("work", "pardata") == 2.0
    assert found.spread("work", "pardata") == 0.75
    assert found.median("work", "pardata", "cpu_s") == 2.0
    assert len(found.rounds("work", "pardata")) == 5
    assert found.median("work", "threads") is None and found.median("other", "pardata") is None
    assert found.spread("work", "threads") == 0.0


def test_results_are_read_as_they_were_written(tmp_path):
    record = made(pardata=[0.123456789, 1e-7]).records["some"]
    path = results.save(record, tmp_path)
    assert path == tmp_path / "some.json"
    for where in (path, tmp_path):
        assert results.load(where).values("work", "pardata") == [0.123457, 1e-7]
    assert sum('"value"' in line for line in path.read_text().splitlines()) == 2  # a line for each round


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "other.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(ValueError, match=r"other\.json is not a file of results"):
        results.load(tmp_path)


def test_another_machine_begins_a_new_record():
    old = made(pardata=[1.0]).records["some"]
    assert results.merged(old, "some", {"cores": 2}) is old
    assert results.merged(old, "some", {"cores": 64})["cases"] == {}
    assert results.merged(None, "some", {"cores": 2})["cases"] == {}


@pytest.mark.parametrize(
    ("unit", "kind", "limit", "ours", "theirs", "measured", "verdict"),
    [
        ("s", "faster than", 3, 1.0, 4.0, 4.0, "pass"),
        ("s", "faster than", 3, 2.0, 4.0, 2.0, "falls short"),
        ("items/s", "faster than", 3, 4.0, 1.0, 4.0, "pass"),
        ("items/s", "faster than", 3, 1.0, 4.0, 0.25, "falls short"),
        ("s", "as long as", 1.05, 1.04, 1.0, 1.04, "pass"),
        ("s", "as long as", 1.05, 1.06, 1.0, 1.06, "falls short"),
        ("MB", "at most", 5, 5.0, None, 5.0, "pass"),
        ("MB", "at most", 5, 5.1, None, 5.1, "falls short"),
    ],
)
def test_a_bar_is_reached_or_not(unit, kind, limit, ours, theirs, measured, verdict):
    sides = {"pardata": [ours]} | ({"rival": [theirs]} if theirs else {})
    judgement = judge(Bar(1, "work", kind, limit, "rival" if theirs else ""), made(unit, **sides))
    assert judgement.measured == pytest.approx(measured)
    assert judgement.verdict == verdict
    assert (judgement.headroom >= 1) == (verdict == "pass")


def test_a_bar_between_cases():
    records = {name: made(case=name, pardata=[value]).records["some"] for name, value in {"a": 1.0, "b": 1.4}.items()}
    both = Results(records)
    assert judge(Bar(1, "a", "alike", 1.5, "b"), both).verdict == "pass"
    assert judge(Bar(1, "a", "alike", 1.3, "b"), both).verdict == "falls short"
    assert judge(Bar(1, "b", "of case", 1.5, "a"), both).measured == pytest.approx(1.4)
    assert judge(Bar(1, "a", "alike", 1.5, "b,c"), both).verdict == "not measured"
    assert judge(Bar(1, "b", "more than case", 0.5, "a"), both).measured == pytest.approx(0.4)
    assert judge(Bar(1, "b", "more than case", 0.3, "a"), both).verdict == "falls short"
    assert judge(Bar(1, "a", "more than case", 0.3, "b"), both).measured == 0
    assert judge(Bar(1, "a", "more than case", 0.3, "c"), both).verdict == "not measured"


@pytest.mark.parametrize("bar", [Bar(1, "work", "faster than", 2, "rival"), Bar(1, "other", "at most", 2)])
def test_what_was_not_measured_is_not_reached(bar):
    judgement = judge(bar, made(pardata=[1.0]))
    assert (judgement.measured, judgement.headroom, judgement.verdict) == (None, None, "not measured")


def test_bars_are_about_cases_and_sides_that_there_are():
    cases = {case.name: case for group in scenarios().values() for case in group}
    for bar in BARS:
        assert bar.case in cases
        others = bar.other.split(",") if bar.kind in ("alike", "of case", "more than case") else []
        assert all(other in cases for other in others)
        assert sides_of(bar.case) <= {*cases[bar.case].sides, EARLIER}
    assert bars_of({"block_fill"}) == [bar for bar in BARS if bar.case == "block_fill"]


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ([1.0, 1.1, 1.2], [1.3, 1.4, 1.5], "slower"),
        ([1.0, 1.1, 1.2], [0.7, 0.8, 0.9], "faster"),
        ([1.0, 1.1, 1.3], [1.2, 1.4, 1.5], "same"),  # the rounds overlap
        ([1.0, 1.001, 1.002], [1.01, 1.011, 1.012], "same"),  # apart, but by a hundredth
        ([1.0, 1.001, 1.002], [1.04, 1.041, 1.042], "slower"),
        ([1.0, 1.0], [2.0, 2.0, 2.0], "too few rounds"),
    ],
)
def test_a_change_is_one_beyond_the_noise(before, after, change):
    (found,) = compare.differences(made(pardata=before), made(pardata=after))
    assert found.change == change
    rate = [made("items/s", pardata=[1 / value for value in values]) for values in (before, after)]
    assert compare.differences(*rate)[0].change == change


def test_only_pardata_s_own_changes_are_regressions():
    old = made(pardata=[1.0, 1.1, 1.2], mp_Queue=[1.0, 1.1, 1.2])
    new = made(pardata=[1.0, 1.1, 1.2], mp_Queue=[2.0, 2.1, 2.2])
    assert compare.regressions(compare.differences(old, new)) == []
    assert [each.side for each in compare.regressions(compare.differences(old, made(pardata=[2.0, 2.1, 2.2])))] == [
        "pardata"
    ]
    assert compare.told(old, new)[0] == "slower: work, mp.Queue: 1.1 -> 2.1 s (0.52 x)"


def test_comparison_of_nothing_says_so():
    (told,) = compare.told(results.Results({}), made(pardata=[1.0, 1.1, 1.2]))
    assert "nothing was compared" in told


def test_comparison_says_that_machines_differ():
    old, new = made(pardata=[1.0]), made(pardata=[1.0])
    new.records["some"]["machine"] = {"cores": 64}
    assert "different machines (cores)" in compare.told(old, new)[0]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (123456.0, "items/s", "123,456/s"),
        (1.234, "items/s", "1.23/s"),
        (12.34, "s", "12.3 s"),
        (0.1, "s", "100 ms"),
        (18.44e-6, "s", "18.4 us"),
        (0.5e-9, "s", "0.5 ns"),
        (5.04, "MB", "5.0 MB"),
        (2200.0, "MB", "2,200 MB"),
        (20.49, "GB/s", "20.5 GB/s"),
    ],
)
def test_numbers_as_a_reader_wants_them(value, unit, text):
    assert report.number(value, unit) == text


def test_table_shows_the_best_first_and_what_is_missing():
    rows = report.case_rows(made("items/s", pardata=[2.0], threads=[8.0], errors=1), ["work"])
    assert [row[1] for row in rows[1:]] == ["threads", "pardata", "ray"]
    assert rows[1][4] == "4 x worse" and rows[3][4] == "not installed"
    assert rows[1][5:7] == ("500 ms", "3.0 MB")
    text, markdown = report.as_text(rows), report.as_markdown(rows)
    assert "threads" in text and markdown.splitlines()[1] == "|" + "---|" * 8


def test_where_others_are_better_is_told_worst_first():
    records = {
        name: made("items/s", name, pardata=[2.0], threads=[theirs], limit=[99.0]).records["some"]
        for name, theirs in {"a": 3.0, "b": 8.0, "c": 2.05, "d": 1.0}.items()
    }
    rows = report.behind_rows(Results(records))[1:]
    assert [row[0] for row in rows] == ["b: some work", "a: some work"]
    assert rows[0][1:] == ("threads", "8/s", "2/s", "4 x")


def test_remarks_tell_failures_and_disturbances():
    found = made(pardata=[1.0], errors=2)
    found.rounds("work", "pardata")[0] |= {"foreign_cpu": 0.4, "left_processes": 3}
    lines = report.remarks(found, ["work"])
    assert lines[0] == "work: pardata failed in 2 of 3 rounds: exit status 1"
    assert "40% of the cores" in lines[1] and "3 processes behind" in lines[2]


def test_names_choose_cases():
    assert list(select([])) == list(scenarios())
    assert [case.name for case in select(["chain_nocopy"])["one_to_one"]] == [
        "chain_nocopy_80KB",
        "chain_nocopy_8MB",
        "chain_nocopy_80MB",
    ]
    assert select(["chain_copy", "gather"]).keys() == {"one_to_one", "many_to_one"}
    assert [case.name for case in select(["chain_copy"])["one_to_one"]] == ["chain_copy"]
    assert len(select(["blocks"])["blocks"]) == len(scenarios()["blocks"])
    with pytest.raises(ValueError, match="no scenario or case 'chian'"):
        select(["chian"])


def test_cases_have_names_of_their_own_and_known_sides():
    from benchmarks.rivals import RIVALS

    cases = [case for group in scenarios().values() for case in group]
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        assert set(case.sides) <= set(RIVALS) and set(case.quick) <= set(case.sides), case.name
        assert len(set(case.sides)) == len(case.sides), case.name


def test_what_is_not_installed_is_left_out_with_a_reason(monkeypatch):
    from benchmarks import rivals

    monkeypatch.setitem(rivals.RIVALS, "none", rivals.Entry("none", "no_such_package", "no-such-package"))
    assert rivals.missing("none") == "not installed (pip install no-such-package)"
    assert rivals.RIVALS["none"].version is None
    assert rivals.missing("mp.Queue") is None and rivals.missing("pardata") is None
