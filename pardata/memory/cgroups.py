"""The cores and the memory that control groups leave to this process, by its own group and all above it.

    /proc/self/cgroup: the group, per hierarchy    /proc/self/mountinfo: where each is mounted, from which group on
                      \\                           /
                       directories: own, parent, ... up to the mount; the smallest limit on the way counts

Version 1 has a hierarchy per controller, version 2 one for all; a hybrid system has both, and a controller is in one of
them. A container sees a part of the tree: its mount begins at some group, and the groups above it cannot be read.
A limit may be set at any level (a batch system's job, a service manager's slice, a container, a pod around it).

Source: cgroups(7), cgroup_namespaces(7), proc_pid_mountinfo(5)
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

_CGROUP: Final = "proc/self/cgroup"
_MOUNTS: Final = "proc/self/mountinfo"
_NO_LIMIT: Final = 1 << 60  # version 1 writes the largest number of pages that there is
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")  # mountinfo writes blanks and the like in octal


class _MemoryFiles(NamedTuple):
    limits: tuple[str, ...]  # at the second one the system slows the group down until it has freed memory
    used: str
    cached: str  # the name in memory.stat


_MEMORY_FILES: Final = {
    1: _MemoryFiles(("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
    2: _MemoryFiles(("memory.max", "memory.high"), "memory.current", "inactive_file"),
}


class Mount(NamedTuple):
    """A hierarchy as this process sees it: the group where the mount begins, its path, and its controllers."""

    root: str
    path: str
    controllers: frozenset[str] | None  # None: version 2


class Groups(NamedTuple):
    """The directories of a controller, from the process's own group upward."""

    directories: tuple[str, ...]
    version: int


def parse_mounts(mountinfo: str) -> list[Mount]:
    """Return the hierarchies that a text of /proc/<pid>/mountinfo names."""
    mounts = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        controllers = None if kind[0] == "cgroup2" else frozenset(kind[-1].split(","))
        mounts.append(Mount(_unescape(fields[3]), _unescape(fields[4]), controllers))
    return mounts


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), text)


def find_groups(controller: str, cgroup: str, mountinfo: str) -> list[Groups]:
    """Return the directories with the limits of a controller ("cpu", "memory") for a process.

    Parameters
    ----------
    cgroup, mountinfo : str
        The texts of /proc/<pid>/cgroup and /proc/<pid>/mountinfo.
    """
    mounts, found = parse_mounts(mountinfo), []
    for line in cgroup.splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        is_second = number == "0" and not names
        if not is_second and controller not in names.split(","):
            continue
        for mount in mounts:
            fits = mount.controllers is None if is_second else controller in (mount.controllers or ())
            directories = directories_of(path, mount) if fits else ()
            if directories:
                found.append(Groups(directories, 2 if is_second else 1))
                break
    return found


def directories_of(group: str, mount: Mount) -> tuple[str, ...]:
    """Return the directories of a group and of those above it, as far as a mount shows them.

    In a namespace of its own a process sees groups relative to the one it began in: one above that is "/..". Where a
    mount begins higher, and the names of the levels in between are unknown, only its beginning is returned.
    """
    above, names = _split(group)
    above_root, root_names = _split(mount.root)
    if above == above_root and names[: len(root_names)] == root_names:
        names = names[len(root_names) :]
    elif above_root > above and not root_names:
        names = []
    else:
        return ()  # the group lies outside of what is mounted
    paths = [os.path.join(mount.path, *names[:depth]) for depth in range(len(names), -1, -1)]
    return tuple(paths)


def _split(path: str) -> tuple[int, list[str]]:
    """Return how many levels above the namespace's root a path begins, and its names from there."""
    names = [name for name in path.split("/") if name]
    above = 0
    while above < len(names) and names[above] == "..":
        above += 1
    return above, names[above:]


def quota_cores(groups: Iterable[Groups], root: str = "/") -> float | None:
    """Return the CPU time that the groups give, in cores; None: no limit."""
    quotas = []
    for directories, version in groups:
        for directory in directories:
            place = _below(root, directory)
            if version == 2:
                quota, period = [*_words(f"{place}/cpu.max"), "", ""][:2]
            else:
                quota = next(iter(_words(f"{place}/cpu.cfs_quota_us")), "")
                period = next(iter(_words(f"{place}/cpu.cfs_period_us")), "")
            if quota.isdecimal() and period.isdecimal() and int(period):  # not "max", nor -1
                quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def memory_left(groups: Iterable[Groups], root: str = "/") -> int | None:
    """Return the bytes that the groups still give; None: no limit.

    Cached pages of files that were not used lately do not count as used: the system takes them back when it needs them.
    """
    left = []
    for directories, version in groups:
        for directory in directories:
            place = _below(root, directory)
            files = _MEMORY_FILES[version]
            limits = [int(limit) for file in files.limits for limit in _words(f"{place}/{file}") if limit.isdecimal()]
            limit = min(limits, default=_NO_LIMIT)
            if limit < _NO_LIMIT:
                used = sum(map(int, _words(f"{place}/{files.used}")[:1]))
                left.append(max(0, limit - max(0, used - _cached_bytes(f"{place}/memory.stat", files.cached))))
    return min(left, default=None)


def _cached_bytes(path: str, name: str) -> int:
    words = _words(path)
    return int(words[words.index(name) + 1]) if name in words else 0


def _below(root: str, path: str) -> str:
    return os.path.join(root, path.lstrip("/"))


def _words(path: str) -> list[str]:
    return _text(path).split()


def _text(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""  # the controller is not on at this level, or this is not Linux


def own_groups(controller: str, root: str = "/") -> list[Groups]:
    """Return the directories with a controller's limits for this process, which may be moved to another group."""
    return _find_groups(controller, _text(_below(root, _CGROUP)), root)


@functools.lru_cache(maxsize=8)
def _find_groups(controller: str, cgroup: str, root: str) -> list[Groups]:
    return find_groups(controller, cgroup, _text(_below(root, _MOUNTS)))  # may be long: read for a new group only
