"""Compiles NumPy's allocator in workers (`pardata/memory/born/born.c`) when pardata is built or installed.

Without a compiler the package is pure Python and complete: results are copied into shared memory then. In a checkout,
``python .hatch_build.py`` compiles the library anew.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
import tempfile
import zlib
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand
    BuildHookInterface = object  # type: ignore[assignment,misc]

FOLDER = "pardata/memory/born"


def compile_library(root: str) -> Path:
    """Compile the library and return its path. Raises `OSError` or `CalledProcessError`; there is none then.

    An old one is deleted first: better none than one of another source. The new one appears under its name when it is
    whole, as processes may have the old one mapped.
    """
    source, library = Path(root, FOLDER, "born.c"), Path(root, FOLDER, "_born.so")
    sources = sorted(source.parent.glob("*.[ch]"))
    library.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder, library.name)
        checksum = f"-DBORN_SOURCE={zlib.crc32(b''.join(path.read_bytes() for path in sources))}u"
        command = [*shlex.split(os.environ.get("CC") or "cc"), "-O2", "-fPIC", "-shared", checksum]
        subprocess.run([*command, "-o", str(made), str(source), "-lpthread"], check=True, capture_output=True)
        made.replace(library)
    return library


class CustomBuildHook(BuildHookInterface):  # type: ignore[misc]
    """A wheel with the library is of this platform and of any Python; one without it is of any platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the library before the files of a wheel are collected, also of an editable one."""
        try:
            compile_library(self.root)
        except (OSError, subprocess.CalledProcessError) as error:
            self.app.display_warning(f"no C compiler, so results of stages will be copied: {error}")
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["artifacts"].append(f"{FOLDER}/_born.so")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"


if __name__ == "__main__":
    print(compile_library(str(Path(__file__).parent)))
