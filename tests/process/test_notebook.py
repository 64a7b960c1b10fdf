"""In a notebook: output is in its cell, what was edited is what runs, and an interrupted cell frees the next one."""

import os
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs nbclient and ipykernel, which `test` has on one Python")
nbclient = pytest.importorskip("nbclient", reason="as above")
pytest.importorskip("ipykernel", reason="as above")

CELLS = {
    "set up": """
        import logging, os, signal, threading, warnings
        import pardata
        pool = pardata.WorkerPool(1)
        factor = 2
        def work(x):
            print("worked on", x)
            return factor * x
        list(pool.map(work, [1]))
    """,
    "a stream": """
        logging.basicConfig(level=logging.INFO)
        def told(x):
            logging.getLogger("lab").info("item %d", x)
            warnings.warn("careful")
            return work(x)
        report = pardata.source([2]).map(told).run(progress=True)
        report
    """,
    "redefined": """
        factor = 3
        def work(x):
            print("new", x)
            return factor * x
        list(pool.map(work, [1])) + list(pardata.source([2]).map(work))
    """,
    "interrupted": """
        kernel = os.getpid()
        def stop_all(x):
            print("at work")
            os.kill(kernel, signal.SIGINT)
            threading.Event().wait()
        pardata.source([1]).map(stop_all).run()
    """,
    "interrupted in a pool": "pool.submit(stop_all, 1).result()",
    "at once": "list(pool.map(work, [4])) + list(pardata.source([5]).map(work))",
    "a picture": "pardata.source([1]).map(work)",
    "end": "pool.shutdown()",
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Run the notebook once; return the outputs of each cell."""
    cells = [nbformat.v4.new_code_cell("\n".join(line.removeprefix(" " * 8) for line in text.strip("\n").splitlines()))
             for text in CELLS.values()]  # fmt: skip
    notebook = nbformat.v4.new_notebook(cells=cells)
    resources = {"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}}
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        nbclient.NotebookClient(notebook, timeout=240, allow_errors=True, resources=resources).execute()
    return {name: cell.outputs for name, cell in zip(CELLS, notebook.cells, strict=True)}


def text_of(outputs, stream):
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == stream)


def value_of(outputs, kind="text/plain"):
    (found,) = [output.data[kind] for output in outputs if output.output_type == "execute_result"]
    return found


def errors_of(outputs):
    return [output.ename for output in outputs if output.output_type == "error"]


def test_output_is_that_of_the_cell_that_runs(outputs):
    assert text_of(outputs["set up"], "stdout") == "[pool 0] worked on 1\n" and value_of(outputs["set up"]) == "[2]"
    assert text_of(outputs["a stream"], "stdout") == "[told] worked on 2\n"
    shown = text_of(outputs["a stream"], "stderr")
    assert "INFO:lab:item 2" in shown and "UserWarning: careful" in shown
    assert "told" in value_of(outputs["a stream"])


def test_bars_are_drawn(outputs):
    shown = text_of(outputs["a stream"], "stderr")
    assert "1/1" in shown and "\r" in shown


def test_what_was_edited_is_what_runs(outputs):
    assert value_of(outputs["redefined"]) == "[3, 6]"
    assert text_of(outputs["redefined"], "stdout") == "[pool 0] new 1\n[work] new 2\n"


def test_the_cell_behind_an_interrupted_one_works_at_once(outputs):
    for name, tag in (("interrupted", "[stop_all]"), ("interrupted in a pool", "[pool 0]")):
        assert errors_of(outputs[name]) == ["KeyboardInterrupt"]
        assert text_of(outputs[name], "stdout") == f"{tag} at work\n"
    assert value_of(outputs["at once"]) == "[12, 15]"
    assert not errors_of(outputs["end"])


def test_a_stream_is_a_picture(outputs):
    assert value_of(outputs["a picture"], "image/svg+xml").startswith("<svg")
