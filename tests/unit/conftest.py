import sys

import pytest


@pytest.fixture(autouse=True)
def nothing_is_held_by_pytest(request):
    """Drop what pytest still holds of a test before it is checked that nothing is left: an arena holds its segment."""
    yield
    (request.node.funcargs or {}).clear()  # None: Ctrl-C
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):  # the frames of a test that failed
        vars(sys).pop(name, None)
