"""What a run may hold."""

import pytest

from pardata.memory import budget


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (8_000_000, "8.0 MB"), (2.5e9, "2.5 GB"), (7e15, "7000.0 TB")],
)
def test_bytes_are_shown_with_a_unit(nbytes, text):
    assert budget.format_bytes(nbytes) == text


def test_cgroup_limit_counts_if_it_is_less_than_the_memory_available(monkeypatch, tmp_path):
    monkeypatch.setattr(budget, "_CGROUP", str(tmp_path))
    without = budget.available_bytes()
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert budget.available_bytes() == 600_000
    (tmp_path / "memory.current").write_text("2000000\n")
    assert budget.available_bytes() == 0
    (tmp_path / "memory.max").write_text("max\n")
    assert budget.available_bytes() == pytest.approx(without, rel=0.5)
    assert without > 0
