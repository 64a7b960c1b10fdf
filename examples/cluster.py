"""Denoise photographs on a Dask cluster: the stream of photos.py, on two nodes that this script starts.

    here:         paths                                    a row of photos.csv
                    │                                               ▲
    each node:      └─> read ─> denoise ─> edges, measures ─> zip ─> save

Paths go to the nodes, and rows of the table come back. The photographs are read, and the pictures written, where the
work is done: on machines of your own both folders are ones that all of them see, and the two nodes become
`distributed.Client("tcp://scheduler:8786")`. The stream stays as it is.

    pip install -e ".[examples,dask]"
    python examples/cluster.py                                  # the photographs that come with scikit-image
    python examples/cluster.py --input ~/Pictures --workers 4
    python examples/cluster.py --engine serial                  # the same files, without a cluster
"""

import argparse
import contextlib
import csv
import logging
from pathlib import Path

import skimage
from photos import SUFFIXES, build


@contextlib.contextmanager
def two_nodes():
    """A Dask cluster of two processes, whose addresses make them two hosts; its client is the current one."""
    from distributed import Client, Nanny, Scheduler, SpecCluster

    hosts = {number: {"host": f"127.0.0.{number}", "nthreads": 1, "silence_logs": logging.ERROR} for number in (2, 3)}
    workers = {number: {"cls": Nanny, "options": options} for number, options in hosts.items()}
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "dashboard_address": ":0"}}
    with SpecCluster(workers=workers, scheduler=scheduler, silence_logs="error") as cluster, Client(cluster) as client:
        client.wait_for_workers(len(workers))
        yield client


def main():
    parser = argparse.ArgumentParser(description="Denoise photographs on two nodes of a Dask cluster.")
    parser.add_argument("--input", type=Path, help="a folder of .png and .jpg files (default: those of scikit-image)")
    parser.add_argument("--output", type=Path, default=Path("cluster-out"), help="where the results go: %(default)s")
    parser.add_argument("--workers", type=int, default=1, help="processes of each slow stage on a node: %(default)s")
    parser.add_argument("--engine", choices=["dask", "serial"], default="dask")
    options = parser.parse_args()

    folder = (options.input or Path(skimage.__file__).parent / "data").resolve()
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        parser.error(f"no .png or .jpg file in {folder}")
    options.output.mkdir(parents=True, exist_ok=True)
    photos = build(paths, options.output.resolve(), options.workers)
    print(photos)

    with (
        two_nodes() if options.engine == "dask" else contextlib.nullcontext(),
        photos.iterate(engine=options.engine) as run,
        open(options.output / "photos.csv", "w", newline="", encoding="utf-8") as file,
    ):
        table = csv.writer(file)
        table.writerow(["file", "width", "height", "brightness", "sharpness"])
        table.writerows(run)
        report = run.report()
    print(report)
    print(f"{len(paths) - len(report.skipped)} of {len(paths)} photographs are in {options.output}")


if __name__ == "__main__":
    main()
