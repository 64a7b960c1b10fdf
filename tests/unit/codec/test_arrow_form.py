"""A part of an Arrow table crosses as its rows, and is what pyarrow's own pickle would have brought."""

import pickle

import pytest

import pardata
from pardata.codec.arrow_form import reduce_part

pa = pytest.importorskip("pyarrow")
ROWS = 20_000


class Unregistered(pa.ExtensionType):
    """A type that a stream would bring back as what it is stored as."""

    def __init__(self):
        super().__init__(pa.int64(), "tests.unregistered")

    def __arrow_ext_serialize__(self):
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type, serialized):
        return cls()


TABLE = pa.table(
    {
        "number": pa.array([None if row % 7 == 0 else row for row in range(ROWS)]),
        "text": pa.array([f"text {row}" for row in range(ROWS)]),
        "list": pa.array([[row, None] for row in range(ROWS)]),
        "word": pa.array([f"word {row % 3}" for row in range(ROWS)]).dictionary_encode(),
    }
).replace_schema_metadata({"unit": "m"})
BATCH = TABLE.combine_chunks().to_batches()[0]


@pytest.mark.parametrize("part", [slice(0, 10), slice(9_990, 10_010), slice(5, 5), slice(19_999, 20_000)])
@pytest.mark.parametrize("whole", [TABLE, BATCH, TABLE["text"], BATCH["list"], BATCH["number"], BATCH["word"]])
def test_a_part_goes_as_its_rows(whole, part):
    found = whole.slice(part.start, part.stop - part.start)
    rebuild, (name, stream) = reduce_part(found)
    made = rebuild(name, bytes(stream))
    assert type(made) is type(found) and made.equals(found)
    assert len(stream.raw()) < 20_000 or not len(found)  # of lists an empty part keeps all that they hold
    if hasattr(found, "schema"):
        assert made.schema.equals(found.schema, check_metadata=True)


def test_others_go_as_they_are():
    extension = pa.ExtensionArray.from_storage(Unregistered(), BATCH["number"])
    for whole in (TABLE, BATCH, BATCH["number"], BATCH["number"].slice(0, ROWS // 2 + 1000), extension.slice(0, 9)):
        assert reduce_part(whole) is NotImplemented
    for other in (pa.schema([]), pa.scalar(1), pa.array([1, 2])[:1], 1, [TABLE[:1]], pa.int64()):
        assert reduce_part(other) is NotImplemented


def test_batches_of_a_table_take_the_memory_of_their_rows():
    batches = TABLE.to_batches(max_chunksize=1000)
    assert len(pickle.dumps(batches[0])) > 10 * batches[0].nbytes
    report_sizes = []
    with pardata.WorkerPool(1) as pool:
        made = list(pool.map(lambda batch: (batch, batch.get_total_buffer_size()), batches))
    for (batch, held), sent in zip(made, batches, strict=True):
        assert batch.equals(sent) and held < 3 * sent.nbytes
        report_sizes.append(held)
    assert sum(report_sizes) < 2 * TABLE.nbytes
