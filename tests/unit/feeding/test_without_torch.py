"""Without torch a loader says what to install, and `import pardata.torch` works."""

import sys

import pytest

import pardata
import pardata.torch


def test_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(pardata.MissingExtraError, match=r'pip install "pardata\[torch\]"'):
        pardata.torch.Loader([1, 2])
