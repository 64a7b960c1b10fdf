"""Pieces in a directory: a file for each, and a manifest that lists the files of one set.

      lock -> write and fsync every piece, under new names -> replace the manifest -> remove the files that it does not
      name -> unlock

So the directory always holds one whole set: the old one until the manifest is replaced, then the new one.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pardata.errors import ChecksumError, ConfigError
from pardata.files.checksums import crc32c
from pardata.files.pickling import dumps
from pardata.files.pieces import By, Piece, split
from pardata.files.replacing import put_in_place
from pardata.memory.disk import write_new
from pardata.memory.dtypes import survives_npy
from pardata.memory.locking import HolderLock

_MANIFEST: Final = "manifest.json"
_FORMAT: Final = "pardata pieces 1"
_NAME: Final = re.compile(r"\d{6,}-[0-9a-f]{8}\.(npy|pickle)(\.part)?")


@dataclass(frozen=True)
class FilePiece:
    """A piece that lies in a file of its own: a small descriptor without the data.

    Attributes
    ----------
    path : str
    begin, end : int
        The piece holds the entries ``begin <= i < end`` of the whole.
    nbytes : int
        Size of the file in bytes.
    checksum : int
        CRC-32C of the file.
    """

    path: str
    begin: int
    end: int
    nbytes: int
    checksum: int

    def open(self) -> Any:
        """Return the data: an array (read-only), a list, or bytes.

        Raises
        ------
        ChecksumError
            The file is missing, cut off or damaged.
        """
        try:
            data = Path(self.path).read_bytes()
        except OSError as error:
            raise ChecksumError(f"{self.path} cannot be read: {error}") from error
        if len(data) != self.nbytes or crc32c(data) != self.checksum:
            raise ChecksumError(f"{self.path} is damaged: its {len(data)} bytes are not the {self.nbytes} written")
        if self.path.endswith(".npy"):
            return _array_of(data)
        found = pickle.loads(data)
        if isinstance(found, np.ndarray):
            found.setflags(write=False)
        return found

    def __len__(self) -> int:
        return self.end - self.begin


def _array_of(data: bytes) -> Any:
    """Return the array of a .npy file, over its bytes."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(file)
    return np.ndarray(shape, dtype, data, file.tell(), order="F" if is_fortran else "C")


def _bytes_of(data: Any) -> tuple[bytes, str]:
    """Return contents and suffix of the file for some data; an array whose dtype .npy does not hold is pickled."""
    if isinstance(data, np.ndarray) and survives_npy(data.dtype):
        file = io.BytesIO()
        np.lib.format.write_array(file, np.asarray(data), version=(2, 0), allow_pickle=False)
        return file.getvalue(), ".npy"
    return dumps(data), ".pickle"


def write_pieces(
    obj: Any, directory: str | os.PathLike[str], pieces: int | None = None, *, by: By = "rows", align: int = 1
) -> list[FilePiece]:
    """Write a huge object as one file per piece, with a manifest, into a directory, which is made if need be.

    An existing set of pieces is replaced as a whole; if this raises or is killed, it stays.

    Parameters
    ----------
    obj, pieces, by, align
        As for `split`; or `obj` is the list that `split` or `read_pieces` has returned.
    directory : path

    Returns
    -------
    list of FilePiece
        The same as `read_pieces` returns.

    Raises
    ------
    ConfigError
        As for `split`; or another process writes there, or the directory holds other files.
    OSError
        The disk is full.

    Examples
    --------
    >>> pieces = pardata.files.write_pieces(np.arange(1000), "pieces", 4)
    >>> [len(piece) for piece in pieces]
    [250, 250, 250, 250]
    """
    given = obj if isinstance(obj, list) and obj and isinstance(obj[0], Piece | FilePiece) else None
    cut = given if given is not None else split(obj, pieces, by=by, align=align)
    folder = Path(os.path.abspath(os.fspath(directory)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error}") from error
    lock = HolderLock(str(folder / _MANIFEST))
    written: list[FilePiece] = []
    try:
        _check_foreign(folder)
        token = os.urandom(4).hex()
        for number, piece in enumerate(cut):
            written.append(_write(folder / f"{number:06d}-{token}", piece))
        _write_manifest(folder, written)
        _remove_others(folder, written)
    except BaseException:
        if lock.is_mine and not _is_in_place(folder, written):
            _remove(Path(piece.path) for piece in written)
        raise
    finally:
        lock.release()
    return written


def _write(stem: Path, piece: Piece | FilePiece) -> FilePiece:
    data, suffix = _bytes_of(piece.open())
    path = f"{stem}{suffix}"
    part = f"{path}.part"
    try:
        write_new(part, data)
        put_in_place(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return FilePiece(path, piece.begin, piece.end, len(data), crc32c(data))


def _write_manifest(folder: Path, written: list[FilePiece]) -> None:
    entries = [asdict(piece) | {"path": Path(piece.path).name} for piece in written]
    text = json.dumps({"format": _FORMAT, "pieces": entries})
    part = folder / f"{_MANIFEST}.part"
    try:
        write_new(str(part), json.dumps({"contents": text, "checksum": crc32c(text.encode())}).encode())
        put_in_place(str(part), str(folder / _MANIFEST))
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _ours(folder: Path) -> list[Path]:
    """Return the files whose names have the form that `write_pieces` uses."""
    return [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]


def _check_foreign(folder: Path) -> None:
    """Refuse a directory that holds other files, since `write_pieces` removes files from it."""
    known = {_MANIFEST, f"{_MANIFEST}.lock", f"{_MANIFEST}.part", *(path.name for path in _ours(folder))}
    others = sorted(path.name for path in folder.iterdir() if path.name not in known)
    if others:
        raise ConfigError(f"{folder} holds other files, {others[0]!r} for one: pieces need a directory of their own")


def _remove_others(folder: Path, written: list[FilePiece]) -> None:
    keep = {piece.path for piece in written}
    _remove(path for path in _ours(folder) if str(path) not in keep)


def _remove(paths: Any) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _is_in_place(folder: Path, written: list[FilePiece]) -> bool:
    """Return whether the manifest names these pieces already."""
    try:
        return read_pieces(folder) == written
    except (ConfigError, ChecksumError):
        return False


def read_pieces(directory: str | os.PathLike[str]) -> list[FilePiece]:
    """Return the descriptors of the pieces that `write_pieces` has written; this reads only the manifest.

    Parameters
    ----------
    directory : path

    Returns
    -------
    list of FilePiece
        In order.

    Raises
    ------
    ConfigError
        The directory holds no pieces.
    ChecksumError
        The manifest is damaged.

    Examples
    --------
    >>> written = pardata.files.write_pieces(np.arange(1000), "pieces", 4)
    >>> pardata.files.read_pieces("pieces")[1].open()[:3].tolist()
    [250, 251, 252]
    """
    folder = Path(os.path.abspath(os.fspath(directory)))
    path = folder / _MANIFEST
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read, there are no pieces: {error}") from error
    try:
        outer = json.loads(raw)
        text = outer["contents"]
        if crc32c(text.encode()) != outer["checksum"]:
            raise ValueError("its checksum is wrong")
        contents = json.loads(text)
        if contents["format"] != _FORMAT:
            raise ConfigError(f"{path} is of the format {contents['format']!r}, not {_FORMAT!r}")
        return [FilePiece(**{**entry, "path": str(folder / entry["path"])}) for entry in contents["pieces"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ChecksumError(f"{path} is damaged: {error}") from error
