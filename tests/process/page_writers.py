"""What workers read and write page by page. Imports nothing heavy: every worker that starts imports it."""

import os
import signal
from dataclasses import dataclass

import numpy as np

ROWS = np.random.default_rng(0).random((3000, 10))
PAGE_ROWS = 100
WHOLE, HALF = 5, 9  # pages whose first writer is killed when it has written so much of them


@dataclass(frozen=True)
class Counted:
    """Rows that say in their second column in which read they came."""

    count: int
    page_rows: int
    dtype = np.dtype(np.int64)

    @property
    def shape(self):
        return (self.count, 2)

    def __getitem__(self, rows):
        begin, end, _ = rows.indices(self.count)
        numbers = np.arange(begin, end)
        return np.stack([numbers, np.full_like(numbers, begin)], axis=1)


def write_page(pages, kind, flag, number):
    """Write a page; the workers that are first at two of them are killed: after its bytes, and after half of them."""
    rows = ROWS[number * PAGE_ROWS : (number + 1) * PAGE_ROWS]
    given = rows if kind == "array" else [row.tobytes() for row in rows]
    if number in (WHOLE, HALF) and not os.path.exists(f"{flag}{number}"):
        open(f"{flag}{number}", "w").close()
        if number == WHOLE:
            pages.write_page(number, given)
        else:
            os.write(pages._descriptor(), b"half of a page, and of odd length")
        os.kill(os.getpid(), signal.SIGKILL)
    return pages.write_page(number, given)
