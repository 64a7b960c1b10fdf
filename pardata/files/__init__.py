"""Huge objects cut into pieces and pages."""

from pardata.files.paged import PagedFile
from pardata.files.pieces import split
from pardata.files.written import read_pieces, write_pieces

__all__ = ["PagedFile", "read_pieces", "split", "write_pieces"]
