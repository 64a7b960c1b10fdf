"""Tables that workers read, while they are replaced and while their maker is killed."""

import os
import pickle
import subprocess
import sys

import pytest

import pardata
from tests.process.table_readers import KEYS, contents, mappings, read


def test_workers_that_run_see_whole_generations_while_the_table_is_replaced():
    table = pardata.Table(*contents(1))
    with table, pardata.WorkerPool(2) as pool:
        futures = [pool.submit(read, table, 3000) for _ in range(2)]
        generation = 1
        while not all(future.done() for future in futures):
            generation += 1
            table.replace(*contents(generation))
        for future in futures:
            first, last, count = future.result()
            assert 1 <= first <= last <= generation and count == 1
        assert mappings() == 1
        assert pool.submit(read, table, 1).result() == (generation, generation, 1)


def test_a_table_is_captured_by_stages_and_passed_as_an_argument():
    table = pardata.Table({f"word{i}": i for i in range(100)})
    with table:
        words = pardata.source([f"word{i}" for i in range(100)])
        assert list(words.map(lambda word: table[word], workers=2)) == list(range(100))
        with pardata.WorkerPool(2) as pool:
            assert pool.submit(lambda given, key: given[key], table, "word7").result() == 7
            assert list(pool.map(table.get, ["word1", "nothing"])) == [1, None]


def test_a_forked_child_reads_and_leaves_the_table_to_its_parent():
    with pardata.Table({1: "one"}) as table:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                assert table[1] == "one"
                with pytest.raises(pardata.ConfigError):
                    table.replace({})
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert pickle.loads(pickle.dumps(table))[1] == "one"


MAKER = """
import os, pickle, signal, sys
import pardata
from pardata.lookup import generation_pointer, table as tables, table_file
from tests.process.table_readers import contents

def die(*_): os.kill(os.getpid(), signal.SIGKILL)

window = sys.argv[1]
table = pardata.Table(*contents(1))
print(pickle.dumps(table).hex(), flush=True)
input()
if window == "half filled":
    table_file._write = die
elif window == "sealed":
    generation_pointer.GenerationPointer.publish = die
elif window == "slot written":
    words = table._pointer.words
    class Words:
        __getitem__ = lambda self, index: words[index]
        __setitem__ = die
    table._pointer.words = Words()
elif window == "published":
    tables.Table._current = property(lambda self: None, die)
table.replace(*contents(2))
"""


@pytest.mark.parametrize("window", ["half filled", "sealed", "slot written", "published", "never"])
def test_a_maker_killed_while_it_replaces_leaves_readers_with_a_whole_generation(window):
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKER, window], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with maker:
        pickled = bytes.fromhex(maker.stdout.readline())
        table, late = pickle.loads(pickled), pickle.loads(pickled)
        assert table[0] == 1
        maker.communicate("go\n")
        assert maker.returncode == (0 if window == "never" else -9)
    for _ in range(3):
        keys, values = table.range()
        assert set(values.tolist()) == {1} and keys.tolist() == list(range(KEYS))
    assert table.generation == 1
    with pytest.raises(pardata.BrokenError, match="has ended"):
        late[0]
    with pytest.raises(pardata.BrokenError, match="has ended"):
        pickle.loads(pickled)
    table.close()
    del keys, values
    assert mappings() == 0
