"""A checkpoint in words."""

import os
from pathlib import Path

from pardata.checkpoint.description import described
from pardata.checkpoint.folder import Folder


def test_a_job_at_work_may_remove_files_meanwhile(tmp_path, monkeypatch):
    Folder(tmp_path / "c", "run", [("stage 'work'", "1")]).close()
    (tmp_path / "c" / "stage-1-5").touch()
    stat = os.stat

    def removing(path, **options):
        if str(path).endswith("stage-1-5"):
            Path(path).unlink(missing_ok=True)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", removing)
    assert "checkpoint of run" in described(f"{tmp_path}/c")
