#!/usr/bin/env bash
# SciPy 1.17.1 (1.18.1 likewise), bottleneck 1.6.0, pyFFTW 0.15.1: read-only arrays are written all the same.
#
# overwrite_a=True lets scipy.linalg work in the argument's memory; a Fortran-ordered float64 matrix is then destroyed
# even if it is marked read-only, and a C-ordered one is left alone, because it is copied first. scipy.fft with
# overwrite_x=True refuses the same request ("array is not writeable"), and so do NumPy's functions. BLAS functions
# that update an argument (daxpy), bottleneck.replace and the output array of a pyFFTW plan ignore the mark as well.
# For an array that others share, writeable=False is no protection against them.
#
# Seen: every call below changes the frozen array, but for inv of a C-ordered one (unchanged) and scipy.fft.fft
# (refused).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet scipy==1.17.1 bottleneck==1.6.0 pyFFTW==0.15.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import bottleneck
import numpy as np
import pyfftw
import scipy.fft
import scipy.linalg as linalg

matrix = np.random.default_rng(0).random((5, 5)) + 5 * np.eye(5)
waves = np.arange(16.0) + 1j
holes = np.array([1, np.nan, 3])


def outcome(array, function, order="F"):
    frozen = array.copy(order=order)
    frozen.flags.writeable = False
    try:
        function(frozen)
    except ValueError:
        return "refused"
    return "unchanged" if np.array_equal(frozen, array, equal_nan=True) else "written"


seen = {f.__name__: outcome(matrix, lambda a, f=f: f(a, overwrite_a=True))
        for f in (linalg.inv, linalg.lu_factor, linalg.qr, linalg.svd, linalg.eigh)}
seen["daxpy"] = outcome(np.ones(5), lambda y: linalg.blas.daxpy(np.ones(5), y))
seen["replace"] = outcome(holes, lambda a: bottleneck.replace(a, np.nan, 0))
seen["FFTW"] = outcome(waves, lambda out: pyfftw.FFTW(waves.copy(), out)())
expected = dict.fromkeys(seen, "written") | {"inv, C order": "unchanged", "fft": "refused"}
seen["inv, C order"] = outcome(matrix, lambda a: linalg.inv(a, overwrite_a=True), "C")
seen["fft"] = outcome(waves, lambda x: scipy.fft.fft(x, overwrite_x=True))
print(seen)
if seen != expected:
    raise SystemExit("The functions now treat read-only arrays differently.")
EOF
