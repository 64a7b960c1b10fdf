"""Files of NumPy: ``.npy``, and the members of ``.npz``. Mapped, they are as any `numpy.memmap` to all of pardata."""

from __future__ import annotations

import zipfile
from typing import Any, Final

import numpy as np

from pardata.data.registry import chosen_key
from pardata.errors import ConfigError

_MAPPED: Final = ((1, 0), (2, 0))  # versions of the header that NumPy has public functions for


def open_path(path: str, key: str | None) -> Any:
    """Return a memmap; of a member that is compressed, or has names that Latin-1 lacks, an array: it is read whole."""
    try:
        if path.lower().endswith(".npz"):
            return _open_member(path, key)
        found = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:  # EOFError: it is empty
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"open({path!r}): {error}") from error
    if key is not None:
        raise ConfigError(f"open({path!r}, key={key!r}): it is one array, which has no key")
    return found


def _open_member(path: str, key: str | None) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        member = archive.getinfo(f"{chosen_key(path, key, names)}.npy")
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file) if member.compress_type == zipfile.ZIP_STORED else None
            if version not in _MAPPED:
                file.seek(0)
                return np.lib.format.read_array(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, is_fortran, dtype = read(file)
            header_bytes = file.tell()
    if dtype.hasobject:
        raise ConfigError(f"open({path!r}): the array holds Python objects")
    if not np.prod(shape):
        return np.empty(shape, dtype)
    with open(path, "rb") as file:  # the lengths of name and extra field may differ from those in the directory
        file.seek(member.header_offset + 26)
        name_bytes, extra_bytes = np.frombuffer(file.read(4), "<u2").tolist()
    offset = member.header_offset + 30 + name_bytes + extra_bytes + header_bytes
    return np.memmap(path, dtype, "r", offset, shape, "F" if is_fortran else "C")
