"""Descriptors that are opened anew."""

import os

import pytest

import pardata
from pardata.memory.exchange import range_locks


@pytest.mark.parametrize("known_as", ["", "another's"])
def test_a_proc_that_is_missing_or_that_of_another_namespace_is_told(monkeypatch, known_as):
    def readlink(path):
        if not known_as:
            raise FileNotFoundError(path)
        return str(os.getpid() + 1)

    range_locks._check_proc.cache_clear()
    monkeypatch.setattr("pardata.memory.exchange.range_locks.os.readlink", readlink)
    with pytest.raises(pardata.PlatformError, match=r"needs /proc of the namespace .* \(mount -t proc\)"):
        pardata.Queue(3)
