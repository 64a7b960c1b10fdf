#!/usr/bin/env bash
# xarray 2026.9.0 with netCDF4 1.7.5.1 and SciPy 1.17.1: one missing time moves another one by 584 years.
#
# xarray writes times as numbers since the first of them, and reads them as datetime64[ns], or, if a time lies outside
# the 584 years that this type spans (1677 to 2262), as cftime's dates, which it warns of. With 1582-10-10 and
# 2000-01-01 both are right. With NaT as a third, the test for the span lets the time pass: from netCDF-4, where NaT is
# the least int64, the product wraps around and 1582-10-10 is read as 2167-04-29; from netCDF-3, where NaT is NaN
# in float64, it is read as NaT; no warning in either case. If the outlier comes first, NaT itself is read as that date
# from netCDF-3, and from netCDF-4 the file that xarray wrote cannot be decoded.
# `decode_times=xr.coders.CFDatetimeCoder(time_unit="s")` reads all of them right.
#
# Seen: [2000, 1582, NaT] is read as [2000, 2167, NaT] (netCDF-4) and [2000, NaT, NaT] (netCDF-3), [1582, NaT] is a
# ValueError and [1582, 1582]; right without NaT and with the coder.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet xarray==2026.9.0 netCDF4==1.7.5.1.post1 scipy==1.17.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import warnings

import numpy as np
import xarray as xr


def years(engine, *times, **options):
    xr.Dataset({"t": ("x", np.array(times, "M8[s]"))}).to_netcdf("f.nc", engine=engine)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with xr.open_dataset("f.nc", engine=engine, **options) as opened:
                return [str(time)[:4] for time in opened["t"].values], len(caught)
        except ValueError as error:
            return type(error).__name__, len(caught)


now, old, missing = "2000-01-01", "1582-10-10", "NaT"
seconds = {"decode_times": xr.coders.CFDatetimeCoder(time_unit="s")}
seen = {}
for name, engine in {"netCDF-4": "netcdf4", "netCDF-3": "scipy"}.items():
    seen[name] = [years(engine, now, old)[0], years(engine, now, old, missing), years(engine, old, missing)[0],
                  years(engine, now, old, missing, **seconds), years(engine, old, missing, **seconds)]
    print(name, *seen[name], sep="\n    ")
right = ["2000", "1582", "NaT"]
expected = {
    "netCDF-4": [right[:2], (["2000", "2167", "NaT"], 0), "ValueError", (right, 0), (right[1:], 0)],
    "netCDF-3": [right[:2], (["2000", "NaT", "NaT"], 0), ["1582", "1582"], (right, 0), (right[1:], 0)],
}
if seen != expected:
    raise SystemExit("xarray now reads times beside a missing one differently.")
EOF
