"""The cores and the memory that control groups leave, read from the process's own group upward, in made-up trees."""

import pytest

from pardata.memory.budget import available_bytes
from pardata.memory.cgroups import find_groups, memory_left, own_groups, quota_cores

ROOT_MOUNT = "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
SECOND = ROOT_MOUNT + "35 25 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
FIRST = ROOT_MOUNT + (
    "32 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n"
    "35 25 0:32 / /sys/fs/cgroup/memory rw shared:12 - cgroup cgroup rw,memory\n"
    "40 25 0:37 / /sys/fs/cgroup/systemd rw shared:13 - cgroup cgroup rw,xattr,name=systemd\n"
)
HYBRID = FIRST + "41 25 0:38 / /sys/fs/cgroup/unified rw shared:14 - cgroup2 cgroup2 rw\n"
FIRST_GROUPS = "11:cpu,cpuacct:/batch/job_7/step_0\n7:memory:/batch/job_7\n1:name=systemd:/x\n"
UNLIMITED_FIRST = str((1 << 63) - 4096)


@pytest.fixture
def system(tmp_path):
    """Make a root directory with these files; the texts of `cgroup` and `mountinfo` lie below proc/self."""

    def make(cgroup, mountinfo, files):
        for path, text in {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mountinfo, **files}.items():
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        return str(tmp_path)

    return make


def cores(root):
    return quota_cores(own_groups("cpu", root), root)


def memory(root):
    return memory_left(own_groups("memory", root), root)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"job": "max 100000"}, None),
        ({"job": "150000 100000"}, 1.5),
        ({"job/step": "50000 100000"}, 0.5),
        ({"": "400000 100000", "job": "300000 100000", "job/step": "max 100000"}, 3.0),  # the smallest on the way
        ({"job": "800000 100000", "job/step": "250000 50000"}, 5.0),
        ({"other": "10000 100000", "job/step/below": "10000 100000"}, None),  # not on the way
        ({"job": "150000"}, None),
        ({"job": ""}, None),
        ({"job": "100000 0"}, None),
    ],
)
def test_quota_of_version_2(system, files, expected):
    quotas = {f"sys/fs/cgroup/{group}/cpu.max": text + "\n" for group, text in files.items()}
    assert cores(system("0::/job/step\n", SECOND, quotas)) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"": ("max", "9")}, None),
        ({"job": ("1000", "400")}, 600),
        ({"job": ("1000", "1400")}, 0),
        ({"": ("5000", "4800"), "job": ("1000", "400")}, 200),  # what others in the group above have used counts
        ({"job": ("3000", "400"), "job/step": ("1000", "300")}, 700),
        ({"job/step": ("1000", "")}, 1000),
    ],
)
def test_memory_of_version_2(system, files, expected):
    texts = {}
    for group, (limit, used) in files.items():
        texts |= {f"sys/fs/cgroup/{group}/memory.max": limit, f"sys/fs/cgroup/{group}/memory.current": used}
    assert memory(system("0::/job/step\n", SECOND, texts)) == expected


def test_where_the_system_slows_a_group_down_is_a_limit_too(system):
    files = {"memory.max": "1000", "memory.high": "800", "memory.current": "300"}
    root = system("0::/job\n", SECOND, {f"sys/fs/cgroup/job/{name}": text for name, text in files.items()})
    assert memory(root) == 500


@pytest.mark.parametrize("version", [1, 2])
def test_cached_pages_of_files_can_be_had(system, version):
    if version == 2:
        files = {"memory.max": "1000", "memory.current": "900", "memory.stat": "anon 100\ninactive_file 700\nsock 0\n"}
        root = system("0::/a\n", SECOND, {f"sys/fs/cgroup/a/{name}": text for name, text in files.items()})
    else:
        statistics = "inactive_file 1\ntotal_inactive_file 700\n"
        files = {"limit_in_bytes": "1000", "usage_in_bytes": "900", "stat": statistics}
        texts = {f"sys/fs/cgroup/memory/a/memory.{name}": text for name, text in files.items()}
        root = system("7:memory:/a\n", FIRST, texts)
    assert memory(root) == 800


@pytest.mark.parametrize("mounts", [FIRST, HYBRID])
def test_version_1_has_a_hierarchy_for_each_controller(system, mounts):
    cpu, memory_at = "sys/fs/cgroup/cpu,cpuacct/batch", "sys/fs/cgroup/memory"
    root = system(
        FIRST_GROUPS + "0::/init.scope\n",
        mounts,
        {
            f"{cpu}/cpu.cfs_quota_us": "-1\n",
            f"{cpu}/cpu.cfs_period_us": "100000\n",
            f"{cpu}/job_7/cpu.cfs_quota_us": "350000\n",
            f"{cpu}/job_7/cpu.cfs_period_us": "100000\n",
            f"{cpu}/job_7/step_0/cpu.cfs_quota_us": "-1\n",
            f"{cpu}/job_7/step_0/cpu.cfs_period_us": "100000\n",
            f"{memory_at}/memory.limit_in_bytes": UNLIMITED_FIRST,
            f"{memory_at}/memory.usage_in_bytes": "123456789",
            f"{memory_at}/batch/memory.limit_in_bytes": UNLIMITED_FIRST,
            f"{memory_at}/batch/job_7/memory.limit_in_bytes": "4096000",
            f"{memory_at}/batch/job_7/memory.usage_in_bytes": "96000",
        },
    )
    assert cores(root) == 3.5
    assert memory(root) == 4_000_000


def test_controllers_of_a_hybrid_system_may_be_in_version_2(system):
    root = system(
        "7:memory:/old\n0::/new\n",
        HYBRID,
        {
            "sys/fs/cgroup/unified/new/cpu.max": "150000 100000",
            "sys/fs/cgroup/memory/old/memory.limit_in_bytes": "1000",
            "sys/fs/cgroup/memory/old/memory.usage_in_bytes": "1",
        },
    )
    assert (cores(root), memory(root)) == (1.5, 999)


def below(mount_root, group, mount_path="/sys/fs/cgroup"):
    """The directories of a group where the mount begins at `mount_root`."""
    mounts = ROOT_MOUNT + f"35 25 0:30 {mount_root} {mount_path} rw - cgroup2 cgroup2 rw\n"
    found = find_groups("memory", f"0::{group}\n", mounts)
    return [path.removeprefix("/sys/fs/cgroup") or "/" for groups in found for path in groups.directories]


@pytest.mark.parametrize(
    ("mount_root", "group", "directories"),
    [
        ("/", "/", ["/"]),
        ("/", "/a/b", ["/a/b", "/a", "/"]),
        ("/docker/5e", "/docker/5e", ["/"]),  # a container without a namespace of its own
        ("/docker/5e", "/docker/5e/worker", ["/worker", "/"]),
        ("/docker/5e", "/docker/5eff", []),  # another one
        ("/docker/5e", "/", []),
        ("/", "/../other", []),  # moved out of the namespace: what is mounted is not above it
        ("/", "/../..", []),
        ("/..", "/", ["/"]),  # the namespace is younger than the mount, which begins above it
        ("/../..", "/", ["/"]),
        ("/../..", "/../other", ["/"]),
        ("/..", "/../other", ["/other", "/"]),
        ("/../other", "/", []),
    ],
)
def test_groups_are_found_below_the_beginning_of_the_mount(mount_root, group, directories):
    assert below(mount_root, group) == directories


def test_a_mount_with_blanks_in_its_path():
    assert below("/", "/a", "/sys/fs/cgroup/my\\040groups") == ["/my groups/a", "/my groups"]


def test_a_line_without_optional_fields_and_one_with_several():
    mounts = (
        "35 25 0:30 / /one rw shared:1 master:2 propagate_from:3 - cgroup cgroup rw,memory\n"
        "36 25 0:31 / /two rw - cgroup cgroup rw,cpu\n"
        "broken line\n\n"
    )
    groups = "3:memory:/a\n2:cpu:/b\nbroken line\n"
    assert find_groups("memory", groups, mounts)[0].directories == ("/one/a", "/one")
    assert find_groups("cpu", groups, mounts)[0].directories == ("/two/b", "/two")


def test_a_name_that_looks_like_a_controller_is_none(system):
    assert find_groups("cpu", "5:cpuset:/a\n4:name=cpu:/b\n", FIRST) == []


@pytest.mark.parametrize(("cgroup", "mounts"), [("", ""), ("0::/a\n", ""), ("", SECOND), ("0::/a\n", ROOT_MOUNT)])
def test_nothing_is_limited_where_nothing_is_told(system, cgroup, mounts):
    root = system(cgroup, mounts, {})
    assert (cores(root), memory(root)) == (None, None)


def test_nothing_is_limited_where_there_is_no_proc(tmp_path):
    assert (cores(str(tmp_path)), memory(str(tmp_path))) == (None, None)


def test_what_was_moved_to_another_group_has_its_limits(system):
    files = {"sys/fs/cgroup/b/cpu.max": "200000 100000"}
    assert cores(system("0::/a\n", SECOND, files)) is None
    assert cores(system("0::/b\n", SECOND, files)) == 2


@pytest.mark.parametrize(("left", "expected"), [(600_000, 600_000), (0, 0), (1 << 60, None)])
def test_the_groups_count_where_they_leave_less_than_the_machine_has(monkeypatch, left, expected):
    without = available_bytes()
    monkeypatch.setattr("pardata.memory.budget.memory_left", lambda groups: left)
    assert available_bytes() == (pytest.approx(without, rel=0.5) if expected is None else expected)
    assert without > 0
