"""The table of formats: which library's objects and which names of files an adapter is for.

An adapter is a module that is imported when it is needed. It has

* ``adapt(found)``: the `FileArray` of an object of its library, or its `FileTable` or `FileItems`; None if it is none;
* ``open_path(path, key)``: the library's own object, opened for reading;
* ``new_file(path, key, compression)``: a `NewFile`, for output;
* ``with_names(found, values)``, of some: values of the shape of an object, as an object with its names;
* ``labels(found)``, of these: a function that gives the values of a part such names, called with its place and them.

The ``new_file`` of one for tables gives a `NewTable`.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import Any, Final

from pardata.data.file_array import FileArray
from pardata.data.file_items import FileItems
from pardata.data.file_table import FileTable
from pardata.data.new_file import NewFile, NewTable
from pardata.errors import ConfigError, MissingExtraError
from pardata.memory.disk import home_hint
from pardata.process.capacity import loading


@dataclass(frozen=True)
class FileFormat:
    """A format: its adapter, the library with its oldest version and its extra, and the endings of names.

    `modules` are those of the objects that it is about; default: all of the library.
    """

    adapter: str
    library: str
    oldest: str
    extra: str
    endings: tuple[str, ...]
    is_output: bool = True
    holds_tables: bool = False
    modules: tuple[str, ...] = ()

    def makes(self, module: str) -> bool:
        """Return whether the classes of a module are the library's, and of this format."""
        is_of_library = self.library != "numpy" and module.partition(".")[0] == self.library
        return is_of_library and module.startswith(self.modules or self.library)

    def load(self, needed_for: str) -> Any:
        """Return the adapter. Raises `MissingExtraError` if the library is not installed, or too old for it."""
        try:
            with loading(needed_for):
                found = importlib.import_module(self.library)
        except ImportError as error:
            raise MissingExtraError(
                f'{needed_for} needs the package {self.library}: pip install "pardata[{self.extra}]"'
            ) from error
        try:
            with loading(needed_for):
                return importlib.import_module(self.adapter)
        except ImportError as error:
            version = getattr(found, "__version__", "of an unknown version")
            raise MissingExtraError(
                f"{needed_for} needs {self.library} {self.oldest} or newer, and {version} is installed: "
                f'pip install "{self.library}>={self.oldest}" (the extra is "pardata[{self.extra}]")'
            ) from error


FORMATS: Final = (
    FileFormat("pardata.data.zarr_arrays", "zarr", "3.0.8", "zarr", (".zarr",)),
    FileFormat("pardata.data.hdf5", "h5py", "3.10", "hdf5", (".h5", ".hdf5")),
    FileFormat("pardata.data.tiff", "tifffile", "2026.3.3", "tiff", (".tif", ".tiff")),
    FileFormat(
        "pardata.data.fits_images", "astropy", "7.0", "fits", (".fits", ".fit", ".fits.gz", ".fits.fz"), is_output=False
    ),
    FileFormat("pardata.data.nifti", "nibabel", "5.3", "nifti", (".nii", ".nii.gz"), is_output=False),
    FileFormat("pardata.data.netcdf", "xarray", "2024.7", "netcdf", (".nc", ".nc4"), is_output=False),
    FileFormat("pardata.data.netcdf_variables", "netCDF4", "1.7", "netcdf", (), is_output=False),
    FileFormat("pardata.data.dicom", "pydicom", "3.0", "dicom", (".dcm",), is_output=False),
    FileFormat("pardata.data.blosc2_arrays", "blosc2", "3.0", "blosc2", (".b2nd",)),
    FileFormat("pardata.data.tensorstore_arrays", "tensorstore", "0.1.64", "tensorstore", (), is_output=False),
    FileFormat(
        "pardata.data.videos",
        "av",
        "16.0",
        "video",
        (
            ".mp4",
            ".mov",
            ".mkv",
            ".webm",
            ".avi",
            ".m4v",
            ".ts",
            ".mpg",
            ".gif",
            ".wav",
            ".flac",
            ".mp3",
            ".m4a",
            ".ogg",
        ),
        is_output=False,
    ),
    FileFormat(
        "pardata.data.parquet",
        "pyarrow",
        "18.0",
        "parquet",
        (".parquet",),
        holds_tables=True,
        modules=("pyarrow._dataset", "pyarrow.parquet"),
    ),
    FileFormat("pardata.data.npy", "numpy", "1.26", "", (".npy", ".npz"), is_output=False),
)
_OF_ZARR: Final = ("zarr.json", ".zarray", ".zgroup")  # a folder with one of these is an array or a group
_ENDINGS: Final = tuple(ending for entry in FORMATS for ending in entry.endings)


def in_files(found: Any) -> FileArray | FileTable | FileItems | None:
    """Return how a library's object is read; None if it is of no library in the table, or nothing that is read.

    Raises
    ------
    ConfigError
        It is closed, has no shape, holds Python objects, or cannot be opened again.
    """
    if isinstance(found, FileArray):
        return found
    entry = _format_of_object(found)
    made: FileArray | FileTable | FileItems | None = (
        None if entry is None else entry.load(type(found).__name__).adapt(found)
    )
    return made


def file_array(found: Any) -> FileArray | None:
    """Return the `FileArray` of a library's object; None as `in_files`. `ConfigError` also of what is no array."""
    made = in_files(found)
    if made is None or isinstance(made, FileArray):
        return made
    raise ConfigError(made.no_array)


def with_names(found: Any, values: Any) -> Any:
    """Return a result with the names that the library of an input gives to axes and entries; of others as it is."""
    name = _of_adapter(found, "with_names")
    return values if name is None else name(found, values)


def labels_of(found: Any) -> Any:
    """Return a function that gives the values of a part of an array the names that its library has for it, or None."""
    labels = _of_adapter(found, "labels")
    return None if labels is None else labels(found)


def _of_adapter(found: Any, name: str) -> Any:
    """Return a function of the adapter of an object that only some adapters have; None if it has not."""
    entry = _format_of_object(found)
    return getattr(entry and entry.load(type(found).__name__), name, None)


def _format_of_object(found: Any) -> FileFormat | None:
    modules = [kind.__module__ for kind in type(found).__mro__]
    return next((entry for module in modules for entry in FORMATS if entry.makes(module)), None)


def is_of_format(found: Any) -> bool:
    """Return whether an object, an array or not, is one of a library in the table."""
    return any(entry.makes(type(found).__module__) for entry in FORMATS)


def format_of(path: str) -> FileFormat | None:
    """Return the format of a path or a URL by its ending.

    A folder with another one is of Zarr if it has a description of it, and a series of DICOM if not.
    """
    ending = path.rstrip("/").lower()
    if os.path.isdir(path) and not ending.endswith(_ENDINGS):
        is_zarr = any(os.path.exists(os.path.join(path, name)) for name in _OF_ZARR)
        ending = ".zarr" if is_zarr else ".dcm"
    return next((entry for entry in FORMATS if ending.endswith(entry.endings)), None)


def new_file(path: str | os.PathLike[str], key: str | None = None, compression: Any = None) -> NewFile | None:
    """Return a new file for output, of which nothing is made yet; None if no adapter writes files of that name.

    `key` is the name of the array in it, `compression` what its library calls so.

    Raises
    ------
    ConfigError
        There is no such directory, or no such compression. (What has that name already `check_free` tells.)
    """
    made = new_output(path, key, compression) if _is_of_arrays(path) else None
    assert not isinstance(made, NewTable)
    return made


def _is_of_arrays(path: str | os.PathLike[str]) -> bool:
    entry = format_of(os.fspath(path))
    return entry is not None and not entry.holds_tables


def new_output(
    path: str | os.PathLike[str], key: str | None = None, compression: Any = None
) -> NewFile | NewTable | None:
    """Return a new file as `new_file` does, or one for a table."""
    name = os.fspath(path)
    entry = format_of(name)
    if entry is None or not entry.is_output:
        return None
    if "://" in name:
        raise ConfigError(f"{name}: a new file is made in a folder; make the array there, and give it instead")
    made: NewFile | NewTable = entry.load(name).new_file(os.path.abspath(name), key, compression)
    return made


def output_endings(tables: bool = False) -> str:
    """Return the endings of files that can be written, for messages; those of tables too, or not."""
    found = (entry for entry in FORMATS if entry.is_output and tables >= entry.holds_tables)
    return ", ".join(ending for entry in found for ending in entry.endings)


def open_data(path: str | os.PathLike[str], key: str | int | None = None) -> Any:
    """Open an array in a file for reading, by its library: `map_array`, `source` and their like take what it returns.

    Parameters
    ----------
    path : path or URL
        Of a Zarr array or group (a folder of any name, or a URL of fsspec that ends in ``.zarr``), a ``.h5`` or
        ``.hdf5`` file, a ``.tif`` or ``.tiff`` file, a ``.b2nd``, ``.fits``, ``.nii``, ``.nc``, ``.npy`` or ``.npz``
        file; a ``.mp4``, ``.mkv``, ``.wav`` or another file of videos and sound; a ``.dcm`` file, or a folder of DICOM
        files; a table in a
        ``.parquet`` file, or in a folder of such files with that ending.
    key : str or int, optional
        The name of the array in a group or file, of a TIFF file the number of the series, of a FITS file the name or
        number of the image, of a video the number of the stream, of a folder of DICOM the UID of the series; not needed
        if there is only one.

    Returns
    -------
    zarr.Array, h5py.Dataset, tifffile.TiffPageSeries, HDU of astropy, proxy of nibabel, xarray.DataArray, numpy.memmap
        Of a ``.b2nd`` file a blosc2.NDArray, of videos and sound a stream of PyAV, of a ``.dcm`` file a
        pydicom.FileDataset, of a table a pyarrow.dataset.Dataset. Of a folder of DICOM files, for which pydicom has no
        object, what only pardata takes; of a compressed ``.npz`` file, which can only be read whole, an array.

    Raises
    ------
    ConfigError
        The name has another ending, there is no such file or key, or there are several arrays to choose from.
    MissingExtraError
        The library is not installed.

    Examples
    --------
    >>> np.savez("two.npz", a=np.arange(3), b=np.ones(2))
    >>> pardata.open("two.npz", key="a").tolist()
    [0, 1, 2]
    """
    name = os.fspath(path)
    entry = format_of(name)
    if entry is None:
        endings = ", ".join(ending for known in FORMATS for ending in known.endings)
        is_folder = ", or be that of a folder of DICOM files, and there is none" * (not os.path.exists(name))
        raise ConfigError(f"open({name!r}): the name must end in one of {endings}{is_folder}")
    is_series = os.path.isdir(name) and ".dcm" in entry.endings
    series = f"{name}, a folder that is read as a series of DICOM (of other files give the paths),"
    adapter = entry.load(series if is_series else name)
    if "://" not in name and not os.path.exists(name):
        hint = f": for several files give their paths, glob.glob({name!r})" if "*" in name else home_hint(name)
        raise ConfigError(f"open({name!r}): No such file or directory: {os.path.abspath(name)!r}{hint}")
    return adapter.open_path(name, str(key) if isinstance(key, int) else key)


def chosen_key(path: str, key: str | None, keys: list[str]) -> str:
    """Return the name of an array in a file: the one that is asked for, or the only one."""
    if key is not None:
        if not isinstance(key, str) or key.strip("/") not in keys:
            raise ConfigError(f"{path} has no array {key!r}; it has {', '.join(map(repr, keys[:20])) or 'none'}")
        return key.strip("/")
    if len(keys) != 1:
        found = ", ".join(map(repr, keys[:20])) or "none"
        raise ConfigError(f"{path} has {len(keys)} arrays, {found}: name one of them, pardata.open({path!r}, key=...)")
    return keys[0]
