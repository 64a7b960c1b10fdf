"""A text corpus in one file of pages: written once, indexed by workers, then asked.

The corpus is found on this machine: sources, documentation and licences of Python, its packages and the system, 200 MB
of it unless told otherwise. It becomes one `PagedFile`. Workers read its pages and return the words in each; a `Table`
keeps on which pages a word is. A question is then answered by reading only those pages, again by workers.

    python examples/wordindex.py --megabytes 100 --ask entropy lighthouse
"""

import argparse
import array
import os
import re
import sysconfig
import tempfile
import time
from pathlib import Path

import pardata

SUFFIXES = {".py", ".pyi", ".rst", ".txt", ".md", ".h", ".hpp", ".c", ".html", ".pm", ".pod", ".xml", ".json", ""}
LARGEST_BYTES = 4_000_000  # of a document; larger ones are data
WORD = re.compile(rb"[a-z]{3,24}")
PAGE_BYTES = 1 << 20


def folders():
    """The folders of a machine that hold texts."""
    paths = sysconfig.get_paths()
    return [paths["stdlib"], paths["purelib"], "/usr/share/doc", "/usr/include", "/usr/share", "/usr/lib"]


def documents(megabytes):
    """Yield (path, text) pairs until there are so many megabytes."""
    rest, seen = megabytes * 1e6, set()
    for folder in folders():
        for place, inner, names in os.walk(folder):
            inner.sort()
            for name in sorted(names):
                path = Path(place, name)
                if path.suffix not in SUFFIXES or path in seen:
                    continue
                seen.add(path)
                try:
                    if not 0 < path.stat().st_size <= LARGEST_BYTES or not path.is_file():
                        continue
                    text = path.read_bytes()
                except OSError:
                    continue
                if b"\0" in text:
                    continue
                yield str(path), text
                rest -= len(text)
                if rest <= 0:
                    return


def write_corpus(path, megabytes):
    """Write the corpus; return its bytes."""
    total = 0
    with pardata.PagedFile.create(path, kind="objects", page_bytes=PAGE_BYTES) as writer:
        for document in documents(megabytes):
            writer.append(document)
            total += len(document[1])
    return total


def words_of(page):
    """In a worker: the number of a page, and its words, each once."""
    found = set()
    for _, text in page.open():
        found.update(WORD.findall(text.lower()))
    return page.number, b" ".join(found)


def make_index(corpus, pool):
    """Return a table: word -> numbers of the pages that have it."""
    pages_of = {}
    for number, words in pool.map(words_of, corpus.pages(), chunksize=1):
        for word in words.split():
            pages_of.setdefault(word, array.array("I")).append(number)
    return pardata.Table({word.decode(): pages.tobytes() for word, pages in pages_of.items()})


def count_in(page, word):
    """In a worker: how often a word is in each document of a page that has it."""
    pattern = re.compile(rb"(?<![a-z])" + word.encode() + rb"(?![a-z])")
    counts = ((len(pattern.findall(text.lower())), path) for path, text in page.open())
    return [(count, path) for count, path in counts if count]


def ask(corpus, index, pool, word):
    """Return the documents with a word, the richest first, and how many pages were read."""
    pages = corpus.pages()
    numbers = array.array("I", index.get(word, b""))
    found = pool.map(count_in, [pages[number] for number in numbers], [word] * len(numbers), chunksize=1)
    return sorted((entry for part in found for entry in part), reverse=True), len(numbers)


def main():
    parser = argparse.ArgumentParser(description="Index the texts of this machine and ask for words.")
    parser.add_argument("--megabytes", type=float, default=200, help="size of the corpus: %(default)s")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes: %(default)s")
    parser.add_argument(
        "--ask", nargs="+", default=["entropy", "warranty", "eigenvalues"], help="words in small letters"
    )
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder, pardata.WorkerPool(options.workers) as pool:
        start = time.perf_counter()
        size = write_corpus(f"{folder}/corpus", options.megabytes)
        with pardata.PagedFile(f"{folder}/corpus") as corpus:
            seconds = time.perf_counter() - start
            print(
                f"{size / 1e6:.0f} MB in {len(corpus)} documents, {corpus.page_count} pages: written in {seconds:.1f} s"
            )
            start = time.perf_counter()
            with make_index(corpus, pool) as index:
                print(
                    f"{len(index)} words: indexed by {options.workers} workers in {time.perf_counter() - start:.1f} s"
                )
                for word in options.ask:
                    start = time.perf_counter()
                    found, read = ask(corpus, index, pool, word)
                    milliseconds = (time.perf_counter() - start) * 1e3
                    total = sum(count for count, _ in found)
                    print(
                        f"{word}: {total} times in {len(found)} documents, {read} pages read in {milliseconds:.0f} ms"
                    )
                    for count, path in found[:3]:
                        print(f"  {count:5} {path}")


if __name__ == "__main__":
    main()
