"""`pardata.open`: what it opens, and what it says of the rest."""

import pickle
import sys
import tomllib
import types
from pathlib import Path

import numpy as np
import pytest

import pardata
from pardata.data import registry
from tests.conformance.data_formats import KINDS, is_there, values_of, warm_up


@pytest.fixture(scope="module", autouse=True)
def warm():
    """Start what the libraries start once."""
    warm_up()


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_and_members_of_npz_are_mapped(tmp_path, order):
    values = np.asarray(values_of(), order=order)
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "a.npz", first=values[:3], **{"deep/second": values})
    np.savez_compressed(tmp_path / "b.npz", only=values)
    for found in (pardata.open(tmp_path / "a.npy"), pardata.open(tmp_path / "a.npz", key="deep/second")):
        assert isinstance(found, np.memmap) and found.mode == "r" and np.array_equal(found, values)
    assert np.array_equal(pardata.open(tmp_path / "b.npz"), values)
    named = np.zeros(3, [("λ", "f4"), ("b", "i2")])  # a header of the third version
    with pytest.warns(UserWarning, match="format 3.0"):
        np.savez(tmp_path / "c.npz", named)
    assert pardata.open(tmp_path / "c.npz").dtype == named.dtype
    with pytest.raises(pardata.ConfigError, match="has 2 arrays, 'first', 'deep/second': name one"):
        pardata.open(tmp_path / "a.npz")


def test_what_cannot_be_opened_is_told(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "empty.npy").touch()
    with pytest.raises(pardata.ConfigError, match=r"source\(.*empty.npy'\): No data left"):
        pardata.source(tmp_path / "empty.npy")
    np.savez(tmp_path / "a.npz", empty=np.zeros((0, 3), "i2"), objects=np.array([None]))
    (tmp_path / "no.npz").write_bytes(b"nothing")
    assert pardata.open(tmp_path / "a.npz", key="empty").shape == (0, 3)
    for name, key, message in (
        ("a.csv", None, "must end in one of .zarr, .h5, .hdf5, .tif, .tiff, .fits, .*.npy, .npz"),
        ("ct", None, "a folder of DICOM files, and there is none"),
        ("none.npy", None, "No such file"),
        ("empty.npy", None, r"open\(.*empty.npy'\): No data left"),
        ("a.npy", "x", "has no key"),
        ("no.npz", None, "not a zip file"),
        ("a.npz", "x", "has no array 'x'; it has 'empty', 'objects'"),
        ("a.npz", "objects", "holds Python objects"),
    ):
        with pytest.raises(pardata.ConfigError, match=message):
            pardata.open(tmp_path / name, key=key)


@pytest.mark.skipif(not is_there("h5py"), reason="not installed")
def test_the_only_dataset_of_a_file_needs_no_key(tmp_path):
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/x"] = values_of()
    found = pardata.open(tmp_path / "a.h5")
    assert found.name == "/group/x" and found.file.mode == "r"
    found.file.close()
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["y"] = [1]
    with pytest.raises(pardata.ConfigError, match="has 2 arrays"):
        pardata.open(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file, pytest.raises(pardata.ConfigError, match="an h5py Group has datasets"):
        registry.file_array(file["group"])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        empty = file.create_dataset("e", data=h5py.Empty("f4"))
        with pytest.raises(pardata.ConfigError, match="it has a dtype, and no shape"):
            registry.file_array(empty)


@pytest.mark.skipif(not is_there("h5py"), reason="not installed")
def test_a_key_may_name_a_link_and_the_working_directory_may_change(tmp_path, monkeypatch):
    import h5py

    monkeypatch.chdir(tmp_path)
    with h5py.File("a.h5", "w") as file:
        file["x"], file["link"] = values_of(), h5py.SoftLink("/x")
    with h5py.File("b.h5", "w") as file:
        file["link"], file["broken"] = h5py.ExternalLink("a.h5", "/x"), h5py.SoftLink("/none")
        file.create_group("group")
    found = pardata.open("a.h5", key="link"), pardata.open("b.h5", key="/link")
    for key in ("broken", "group", "none", 0):
        with pytest.raises(pardata.ConfigError, match=f"has no array {str(key)!r}"):
            pardata.open("b.h5", key=key)
    for key in ("", "/", 0):
        with pytest.raises(pardata.ConfigError, match=f"key={key!r} is no name of a dataset"):
            pardata.source(values_of()).to("c.h5", key=key)
    pardata.source(values_of()).to("c.h5", key="/deep/x/").run(engine="serial")
    assert np.array_equal(pardata.open("c.h5", key="deep/x"), values_of())
    with pytest.raises(pardata.ConfigError, match="No such file"):
        pardata.open("none.h5")
    with pytest.raises(pardata.ConfigError, match=r"name one of them, pardata.open\('b.h5', key="):
        pardata.open("b.h5")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir("sub")
    for array in found:
        assert np.array_equal(pickle.loads(pickle.dumps(registry.file_array(array)))[:], values_of())


@pytest.mark.skipif(not is_there("zarr"), reason="not installed")
def test_a_key_is_opened_without_a_list_of_all_arrays(tmp_path, monkeypatch):
    """To list them takes a request for each, which may go far."""
    import zarr

    monkeypatch.chdir(tmp_path)
    zarr.open_group("g.zarr", mode="w").create_array("deep/x", shape=(4,), dtype="i4")
    monkeypatch.setattr(zarr.Group, "members", None)
    found = pardata.open("g.zarr", key="/deep/x")
    monkeypatch.chdir("/")
    assert found.path == "deep/x" and registry.file_array(found)[:].tolist() == [0] * 4


@pytest.mark.skipif(not is_there("zarr"), reason="not installed")
def test_an_array_in_a_group_of_zarr(tmp_path):
    import zarr

    group = zarr.open_group(str(tmp_path / "g.zarr"), mode="w")
    group.create_array("deep/x", shape=(4,), dtype="i4")[:] = 3
    found = pardata.open(tmp_path / "g.zarr")
    assert found.path == "deep/x" and found.read_only and found[:].tolist() == [3] * 4
    assert registry.file_array(found)[1:3].tolist() == [3, 3]
    with pytest.raises(pardata.ConfigError, match="is a group of arrays, .deep.x.: give"):
        registry.file_array(group)
    with pytest.raises(pardata.ConfigError, match="No such|nothing found|not found|does not exist|No (array|group)"):
        pardata.open(tmp_path / "none.zarr")


@pytest.mark.skipif(not is_there("zarr"), reason="not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_stores_that_can_be_opened_again(tmp_path):
    import zarr

    kind = KINDS[0]
    kind.save(tmp_path / "a.zarr", values_of())
    with zarr.storage.ZipStore(tmp_path / "a.zip", mode="w") as store:
        zarr.create_array(store, data=values_of(), chunks=(7, 4, 4))
    archive = zarr.storage.ZipStore(tmp_path / "a.zip", mode="r")
    folder = zarr.storage.FsspecStore.from_url(f"file://{tmp_path}/a.zarr", read_only=True)
    for store in (archive, folder):
        sent = pickle.dumps(registry.file_array(zarr.open_array(store, mode="r")))
        assert np.array_equal(pickle.loads(sent)[:], values_of())
    archive.close()
    for store in (zarr.storage.MemoryStore(), zarr.storage.FsspecStore.from_url("memory://somewhere")):
        found = registry.file_array(zarr.create_array(store, data=values_of()))
        with pytest.raises(pardata.ConfigError, match="in the memory of this process"):
            pickle.dumps(found)
    wrapped = zarr.storage.LoggingStore(zarr.storage.LocalStore(str(tmp_path / "a.zarr")), log_level="ERROR")
    with pytest.raises(pardata.ConfigError, match="it is in a LoggingStore"):
        pickle.dumps(registry.file_array(zarr.open_array(wrapped, mode="r")))


def test_a_library_that_is_not_installed_is_named_with_its_extra(monkeypatch, tmp_path):
    entry = registry.FileFormat("pardata.data.zarr_arrays", "no_such_library", "1", "zarr", (".zarr",))
    monkeypatch.setattr(registry, "FORMATS", (entry,))
    for use in (
        lambda: pardata.open("x.zarr"),
        lambda: pardata.source([1]).to("x.zarr"),
        lambda: pardata.map_array(np.sqrt, np.ones(3), out="x.zarr"),
    ):
        with pytest.raises(
            pardata.MissingExtraError, match=r'x.zarr needs .*such_library: pip install "pardata\[zarr\]"'
        ):
            use()
    pardata.shutdown()
    entry = registry.FileFormat("pardata.data.dicom", "no_such_library", "1", "dicom", (".dcm",))
    monkeypatch.setattr(registry, "FORMATS", (entry,))
    for use in (pardata.open, pardata.source):
        with pytest.raises(pardata.MissingExtraError, match="series of DICOM .of other files give the paths., needs"):
            use(tmp_path)


def test_a_library_that_is_too_old_is_told(monkeypatch, tmp_path):
    """Zarr 2 has no `zarr.core.buffer`; what other libraries lack shows at the import of their adapters, too."""
    old = types.ModuleType("zarr")
    old.__version__ = "2.18.7"
    for name in list(sys.modules):
        if name.startswith("zarr.") or name == "pardata.data.zarr_arrays":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "zarr", old)
    # Not `--upgrade "pardata[zarr]"`: on PyPI that is another project, which would take the place of this one.
    message = r'a.zarr needs zarr 3.* and 2.18.7 is installed: pip install "zarr>=3.0.8" .*"pardata\[zarr\]'
    with pytest.raises(pardata.MissingExtraError, match=message):
        pardata.open(tmp_path / "a.zarr")


def test_the_oldest_versions_are_those_of_the_extras():
    extras = tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"]
    for entry in registry.FORMATS:
        assert not entry.extra or f"{entry.library}>={entry.oldest}" in extras[entry.extra]


@pytest.mark.skipif(not is_there("h5py"), reason="not installed")
def test_a_dataset_under_a_name_of_another_file_is_refused(tmp_path):
    """h5py gives it the name of the link, which is another dataset, or none, in the file that it is in."""
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["link"] = [1, 2, 3], [4, 5, 6]
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["direct"], file["link"] = h5py.ExternalLink("a.h5", "/x"), h5py.SoftLink("/direct")
    direct, link = (pardata.open(tmp_path / "b.h5", key=key) for key in ("direct", "link"))
    assert pickle.loads(pickle.dumps(registry.file_array(direct)))[:].tolist() == [1, 2, 3]
    assert registry.file_array(link)[:].tolist() == [1, 2, 3]
    with pytest.raises(pardata.ConfigError, match=r"by a link to another file, .*a.h5, and has another name"):
        pickle.dumps(registry.file_array(link))


@pytest.mark.skipif(not is_there("zarr"), reason="not installed")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_folder_of_any_name_may_be_of_zarr(tmp_path, zarr_format):
    import zarr

    group = zarr.open_group(tmp_path / "group", mode="w", zarr_format=zarr_format)
    group.create_array("a/b", data=values_of())
    for path, key in (("group", "a/b"), ("group", None), ("group/a/b", None)):
        assert np.array_equal(pardata.open(tmp_path / path, key=key)[...], values_of())
    assert np.array_equal(np.array(list(pardata.source(tmp_path / "group" / "a" / "b"))), values_of())
