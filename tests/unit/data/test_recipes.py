"""The recipes of docs/data.md, of all libraries that are installed, on threads."""

import pytest

from tests.conformance.data_formats import is_there
from tests.docs.scripts import ROOT, check_that_it_runs

# Each worker would import each library, which takes 20 s in all; the suite over the formats has workers.
IN_THIS_PROCESS = (
    "import functools, inspect, pardata, pardata.pipeline.runnable as runnable; "
    "pardata.WorkerPool = functools.partial(pardata.WorkerPool, kind='thread'); "
    "inspect.unwrap(runnable.Runnable.run).__kwdefaults__['engine'] = 'serial'; "
    "inspect.unwrap(runnable.Runnable.iterate).__kwdefaults__['engine'] = 'serial'"
)


@pytest.mark.skipif(not is_there("pydicom"), reason="most libraries are not installed")
def test_recipes_run_as_printed(tmp_path):
    check_that_it_runs(ROOT / "docs" / "data.md", tmp_path, IN_THIS_PROCESS)
