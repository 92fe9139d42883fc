"""Network file systems are known by the mount table, or by what the file system says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like.errors import TVFileError
from tablevault_like.storage import networks

NETWORKS = [
    *("9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "ocfs2", "orangefs"),
    *("smb3", "vboxsf", "virtiofs", "wekafs"),
    *("fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.vmhgfs-fuse", "fuse.never-heard-of"),
]
LOCAL = [
    "ext4",
    "xfs",
    "btrfs",
    "zfs",
    "tmpfs",
    "overlay",
    "f2fs",
    "fuseblk",
    "fuse.mergerfs",
    "fuse.gocryptfs",
    "fuse.zfs",
]


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that stands for the kernel's mount table."""
    monkeypatch.setattr(networks, "_MOUNTS", tmp_path / "mountinfo")
    monkeypatch.delenv(networks.VARIABLE, raising=False)
    return tmp_path / "mountinfo"


def mount(kind: str, point: str, *, number: int = 2, rest: str = "") -> str:
    return f"{number} 1 0:{number} / {point} rw,relatime{rest} - {kind} server:/export rw\n"


ROOT = "1 0 8:1 / / rw - ext4 /dev/sda rw\n"


@pytest.mark.parametrize("kind", NETWORKS)
def test_what_lies_on_a_network_is_refused(kind: str, mounts: Path, tmp_path: Path) -> None:
    mounts.write_text(ROOT + mount(kind, f"{tmp_path}/far", rest=" shared:5 master:1"))

    assert networks.kind_of(tmp_path / "far/vault") == kind
    with pytest.raises(TVFileError, match=f"lies on a network file system .{kind}.*local disk.*allow_network=True"):
        networks.check(tmp_path / "far/vault", what=tmp_path / "far/vault", is_allowed=False)


@pytest.mark.parametrize("kind", LOCAL)
def test_what_lies_on_a_disk_of_this_machine_is_not(kind: str, mounts: Path, tmp_path: Path) -> None:
    mounts.write_text(ROOT + mount(kind, str(tmp_path)))

    assert networks.kind_of(tmp_path / "vault") is None
    networks.check(tmp_path / "vault", what=tmp_path, is_allowed=False)


def test_it_can_be_allowed(mounts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts.write_text(ROOT + mount("nfs4", str(tmp_path)))

    networks.check(tmp_path, what=tmp_path, is_allowed=True)
    monkeypatch.setenv(networks.VARIABLE, "1")
    networks.check(tmp_path, what=tmp_path, is_allowed=False)


def test_the_longest_mount_point_counts(mounts: Path, tmp_path: Path) -> None:
    mounts.write_text(
        ROOT
        + mount("nfs4", f"{tmp_path}/shared\\040files")
        + mount("xfs", f"{tmp_path}/shared\\040files/local", number=3)
    )

    found = {
        name: networks.kind_of(tmp_path / name)
        for name in ("shared files", "shared files/a/b", "shared files/local/a", "shared", "other")
    }

    assert found == {
        "shared files": "nfs4",
        "shared files/a/b": "nfs4",
        "shared files/local/a": None,
        "shared": None,
        "other": None,
    }


def test_of_two_mounts_at_one_place_the_later_counts(mounts: Path, tmp_path: Path) -> None:
    mounts.write_text(ROOT + mount("xfs", str(tmp_path)) + mount("nfs", str(tmp_path), number=3))

    assert networks.kind_of(tmp_path) == "nfs"


def test_a_link_is_followed(mounts: Path, tmp_path: Path) -> None:
    (tmp_path / "near").mkdir()
    (tmp_path / "near/vault").symlink_to(tmp_path / "far")
    mounts.write_text(ROOT + mount("nfs", f"{tmp_path}/far"))

    assert networks.kind_of(tmp_path / "near/vault") == "nfs"


def test_names_that_are_no_text_are_understood(mounts: Path, tmp_path: Path) -> None:
    point = bytes(tmp_path) + b"/caf\xe9"
    mounts.write_bytes(ROOT.encode() + mount("nfs", "@").encode().replace(b"@", point))

    assert networks.kind_of(Path(str(tmp_path) + "/caf\udce9/x")) == "nfs"


@pytest.mark.parametrize("text", ["", "1 2 3\n", "garbage", f"{ROOT}7 1 0:9 / /x"])
def test_a_mount_table_that_makes_no_sense_tells_nothing(text: str, mounts: Path, tmp_path: Path) -> None:
    mounts.write_text(text)

    assert networks.kind_of(tmp_path) is None


def test_without_a_mount_table_the_file_system_tells(
    mounts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = networks._kind_by_number(tmp_path)

    assert networks.kind_of(tmp_path / "not/there") == own
    assert networks._kind_by_number(Path("/proc/self")) is None
    monkeypatch.setattr(networks, "_NUMBERS", {0x9FA0: "nfs"})  # what statfs says of /proc
    assert networks.kind_of(Path("/proc/self/not/there")) == "nfs"
