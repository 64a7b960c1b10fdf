"""What the pages in docs/ show is run: every Python block, those of a page as one script."""

import pytest

from tests.docs.scripts import ROOT, check_that_it_runs, script_of

PAGES = sorted((ROOT / "docs").rglob("*.md"))
SCRIPTS = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES if script_of(page)]


@pytest.mark.parametrize("page", SCRIPTS)
def test_python_blocks_run_as_printed(page, tmp_path):
    check_that_it_runs(page, tmp_path)
