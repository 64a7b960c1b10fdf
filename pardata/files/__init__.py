"""Huge objects cut into pieces and pages."""

from pardata.files.paged import PagedFile
from pardata.files.piece_files import read_pieces, write_pieces
from pardata.files.pieces import split

__all__ = ["PagedFile", "read_pieces", "split", "write_pieces"]
