"""Whatever an archive holds and says of itself: nothing is made outside, nothing is left behind, nobody waits."""

from __future__ import annotations

import lzma
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tablevault_like import TableVault, decompress_vault
from tablevault_like.archive import unpacking
from tablevault_like.archive.progress import Progress
from tablevault_like.errors import TVFileError
from tests import states
from tests.archive.tapes import Item, Tape, add, refused

ARTIFACT = "/TEMP_base/artifacts"


def twice(tape: Tape, end: str) -> None:
    tape.items.append(tape.find(end))


def linked(tape: Tape, kind: bytes) -> None:
    """Write to a link that leads outside."""
    tape.add("code_functions/out", kind=kind, linkname="../../outside")
    tape.add("code_functions/out/evil.py", b"evil")


def overdeclared(tape: Tape) -> None:
    item = tape.add("code_functions/huge.py")
    item.info.size = 1 << 50


SHAPES: dict[str, tuple[Callable[[Tape], object], str]] = {
    "an absolute path": (add("=/tmp/tablevault_evil.py", b"evil"), "outside of the vault"),
    "a path that leads up": (add("../outside.py", b"evil"), "outside of the vault"),
    "a path that leads up further in": (add("code_functions/../../outside.py", b"evil"), "outside of the vault"),
    "a path with a dot": (add("code_functions/./tools.py", b"evil"), "outside of the vault"),
    "a path with an empty part": (add("code_functions//x.py", b"evil"), "outside of the vault"),
    "another folder": (add("=other/x.py", b"evil"), "outside of the vault"),
    "a file beside the vault": (add("=x.py", b"evil"), "outside of the vault"),
    "the vault as a file": (add("=vault", b"evil"), "in it twice"),
    "a symbolic link": (lambda tape: linked(tape, tarfile.SYMTYPE), "is a symbolic link"),
    "a hard link": (lambda tape: linked(tape, tarfile.LNKTYPE), "is a hard link"),
    "a device": (add("code_functions/null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3), "is a device"),
    "a block device": (add("code_functions/disk", kind=tarfile.BLKTYPE), "is a device"),
    "a pipe": (add("code_functions/pipe", kind=tarfile.FIFOTYPE), "is a pipe"),
    "a contiguous file": (add("code_functions/x.py", kind=tarfile.CONTTYPE), "of the kind b'7'"),
    "a member of no known kind": (add("code_functions/x.py", kind=b"Z"), "of the kind b'Z'"),
    "a global header": (add("code_functions/x.py", kind=tarfile.XGLTYPE), "of the kind b'g'"),
    "a header of old GNU": (add("code_functions/x.py", kind=tarfile.GNUTYPE_LONGNAME), "of the kind b'L'"),
    "a sparse file": (add("code_functions/x.py", kind=tarfile.GNUTYPE_SPARSE), "is a sparse file"),
    "a sparse file by its header": (
        add("code_functions/x.py", b"1\n", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.name": "y"}),
        "is a sparse file",
    ),
    "a file that comes twice": (lambda tape: twice(tape, "code_functions/tools.py"), "in it twice"),
    "a folder that comes twice": (lambda tape: twice(tape, "vault/code_functions"), "in it twice"),
    "a folder in the place of a file": (add("code_functions/tools.py", kind=tarfile.DIRTYPE), "in it twice"),
    "a file without its folder": (add("words/nowhere/x", b"x"), "in a folder that isn't in it"),
    "a file in a file": (add("code_functions/tools.py/x", b"x"), "in a folder that isn't in it"),
    "too long a name": (add(f"code_functions/{'x' * 256}", b"x"), "too long a name"),
    "too long a name in bytes": (add(f"code_functions/{'ä' * 128}", b"x"), "too long a name"),
    "too deep a folder": (add("code_functions" + "/x" * 120, b"x"), "more than 100 folders deep"),
    "a folder with content": (
        lambda tape: setattr(tape.find("vault/code_functions").info, "size", 512),
        "sensible size",
    ),
}


@pytest.mark.parametrize(("change", "message"), SHAPES.values(), ids=SHAPES)
def test_members_that_dont_belong_are_refused(
    change: Callable[[Tape], object], message: str, tape: Tape, place: Path
) -> None:
    change(tape)
    tape.relabel()
    refused(tape.write(place / "a.tar.xz"), message)
    assert not Path("/tmp/tablevault_evil.py").exists()


def test_too_long_a_path_is_refused(tape: Tape, place: Path) -> None:
    for depth in range(1, 30):
        tape.add("code_functions/" + "/".join(["x" * 200] * depth), kind=tarfile.DIRTYPE)
    tape.relabel()
    refused(tape.write(place / "a.tar.xz"), "is a name that can't be here")


def test_names_that_the_file_system_takes_for_one_are_refused(
    tape: Tape, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system that doesn't tell upper from lower case."""
    original = unpacking._Unpacking._path
    monkeypatch.setattr(unpacking._Unpacking, "_path", lambda self, name, label: original(self, name.casefold(), label))
    tape.add("code_functions/Tools.py", b"x")
    tape.relabel()
    refused(tape.write(place / "a.tar.xz"), "upper and lower case")


def test_where_they_are_told_apart_they_are_two(tape: Tape, place: Path) -> None:
    tape.add(f"words{ARTIFACT}/a.txt", b"a")
    tape.add(f"words{ARTIFACT}/A.txt", b"A")
    tape.relabel()
    (place / "CASE").touch()
    if (place / "case").exists():
        pytest.skip("this file system doesn't tell upper from lower case")
    made = decompress_vault(place / "vault", tape.write(place / "a.tar.xz")).path
    assert (made / "words" / "TEMP_base" / "artifacts" / "A.txt").read_text() == "A"


# --- what it says of itself

SAYINGS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "fewer files": (lambda label: label.update(files=label["files"] - 1), "more than its label says"),
    "more files": (lambda label: label.update(files=label["files"] + 1), "lacks some of what its label says"),
    "fewer folders": (lambda label: label.update(folders=label["folders"] - 1), "more than its label says"),
    "fewer bytes": (lambda label: label.update(total=10), "more than its label says"),
    "more bytes": (lambda label: label.update(total=label["total"] + 1), "lacks some of what its label says"),
    "more bytes than there is room": (lambda label: label.update(total=1 << 60), "there is room for"),
    "more files than there is room": (lambda label: label.update(files=1 << 60), "there is room for|lacks"),
    "a negative number": (lambda label: label.update(files=-1), "its label is damaged"),
    "a number that is none": (lambda label: label.update(total=True), "its label is damaged"),
    "no number": (lambda label: label.pop("total"), "its label is damaged"),
    "another folder": (lambda label: label.update(vault="other"), "outside of the vault"),
    "a folder that leads up": (lambda label: label.update(vault=".."), "outside of the vault"),
    "a later format": (lambda label: label.update(tablevault_like_archive=2), "the format 2, and this release"),
    "nothing": (lambda label: label.clear(), "its label is damaged"),
}


@pytest.mark.parametrize(("change", "message"), SAYINGS.values(), ids=SAYINGS)
def test_a_label_that_isnt_true_is_refused(
    change: Callable[[dict[str, Any]], object], message: str, tape: Tape, place: Path
) -> None:
    change(tape.label)
    refused(tape.write(place / "a.tar.xz"), message)


def test_a_label_of_endless_depth_is_refused(tape: Tape, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("json.dumps", lambda _: "[" * 30_000)
    refused(tape.write(place / "a.tar.xz"), "its label is damaged")


def test_a_file_that_is_larger_than_the_label_allows_is_not_written(tape: Tape, place: Path) -> None:
    overdeclared(tape)
    refused(tape.write(place / "a.tar.xz"), "more than its label says")


def test_a_bomb_is_not_unpacked(tape: Tape, place: Path) -> None:
    """A hundred kilobytes that would be as many megabytes: no more of it is written than its label says."""
    told: list[Progress] = []
    tape.add("code_functions/bomb.py", bytes(100_000_000))
    refused(tape.write(place / "a.tar.xz"), "more than its label says", observer=told.append)
    assert max(each.done for each in told) < 1_000_000


def test_a_limit_can_be_given(tape: Tape, place: Path) -> None:
    archive = tape.write(place / "a.tar.xz")
    total = tape.label["total"]
    refused(archive, "more than the 1,000 that max_bytes= allows", max_bytes=1000)
    refused(archive, "that max_bytes= allows", max_bytes=total - 1)
    decompress_vault(place / "vault", archive, max_bytes=total)


@pytest.mark.parametrize(
    ("size", "message"),
    [(65_537, "a header in it has 65,537 bytes"), (8_000_000_000, "a header in it has 8,000,000,000 bytes")],
)
def test_a_header_of_any_length_is_not_read(size: int, message: str, tape: Tape, place: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, size
    tape.items.insert(3, Item(info, bytes(1024)))
    refused(tape.write(place / "a.tar.xz"), message)


@pytest.mark.parametrize("raw", [b"x" * 20, b"0 a=b\n", b"99 a=b\n", b"6 a=b\n", b"5 a=b\n", b"12 path=" + bytes(4)])
def test_a_header_that_is_damaged_is_refused(raw: bytes, tape: Tape, place: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(raw)
    at = next(number for number, item in enumerate(tape.items) if item.info.type == tarfile.REGTYPE)
    tape.items.insert(at, Item(info, raw))
    tape.items[at + 1].info.pax_headers = {}
    archive = tape.write(place / "a.tar.xz")
    with pytest.raises(TVFileError, match=r"a header in it is damaged|isn't what it was|is no archive|outside"):
        decompress_vault(place / "vault", archive)
    assert [path.name for path in place.iterdir()] == ["a.tar.xz"]


# --- the compressed file

RAW: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda raw: b"", "it is cut off"),
    "a beginning": (lambda raw: raw[:1000], "it is cut off"),
    "all but the last byte": (lambda raw: raw[:-1], "it is cut off"),
    "all but the index": (lambda raw: raw[:-40], "it is cut off"),
    "something added": (lambda raw: raw + b"x", "goes on behind its end"),
    "another stream": (lambda raw: raw + raw, "goes on behind its end"),
    "something else": (lambda raw: b"PK\3\4" + raw, "isn't compressed by xz"),
    "a tar file": (lzma.decompress, "isn't compressed by xz"),
    "lzma": (lambda raw: lzma.compress(lzma.decompress(raw), lzma.FORMAT_ALONE), "isn't compressed by xz"),
    "an empty tar file": (lambda raw: lzma.compress(bytes(10_240)), "is no archive of a vault"),
    "zeros": (lambda raw: lzma.compress(b""), "it ends too early"),
    "text": (lambda raw: lzma.compress(b"hello " * 1000), "is no archive"),
    "a member and no more": (lambda raw: lzma.compress(lzma.decompress(raw)[:1024]), "it ends too early"),
    "something behind the end": (lambda raw: lzma.compress(lzma.decompress(raw) + b"x" * 512), "behind its end"),
    "a great many zeros behind the end": (
        lambda raw: lzma.compress(lzma.decompress(raw) + bytes(3_000_000), preset=0),
        "behind its end",
    ),
}


@pytest.mark.parametrize(("change", "message"), RAW.values(), ids=RAW)
def test_a_damaged_file_is_refused(change: Callable[[bytes], bytes], message: str, sound: Path, place: Path) -> None:
    archive = place / "a.tar.xz"
    archive.write_bytes(change(sound.read_bytes()))
    refused(archive, message)


def test_one_that_needs_much_memory_is_refused(sound: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tablevault_like.tapes.xz._MEMORY", 1 << 20)
    archive = place / "a.tar.xz"
    archive.write_bytes(lzma.compress(lzma.decompress(sound.read_bytes()), preset=9))
    refused(archive, "Memory usage limit exceeded")


@pytest.mark.timeout(300)
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_is_noticed(data: st.DataObject, sound: Path, tmp_path: Path) -> None:
    raw = bytearray(sound.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with TemporaryDirectory(dir=tmp_path) as folder:
        _refuse_or_restore(bytes(raw), Path(folder), may_be_sound=False)


@pytest.mark.timeout(300)
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_of_the_headers_does_no_harm(data: st.DataObject, sound: Path, tmp_path: Path) -> None:
    raw = bytearray(lzma.decompress(sound.read_bytes()))
    headers = [at for at in range(0, len(raw), 512) if raw[at + 257 : at + 262] == b"ustar"]
    block = data.draw(st.sampled_from(headers))
    at = block + data.draw(st.one_of(st.integers(0, 160), st.integers(257, 511), st.integers(512, 600)))
    raw[at] = data.draw(st.integers(0, 255))
    raw[block + 148 : block + 156] = b" " * 8
    raw[block + 148 : block + 156] = b"%06o\0 " % sum(raw[block : block + 512])
    with TemporaryDirectory(dir=tmp_path) as folder:
        _refuse_or_restore(lzma.compress(raw, preset=0), Path(folder), may_be_sound=True)


def _refuse_or_restore(raw: bytes, folder: Path, *, may_be_sound: bool) -> None:
    archive = folder / "a.tar.xz"
    archive.write_bytes(raw)
    try:
        made = decompress_vault(folder / "vault", archive).path
    except TVFileError:
        assert [path.name for path in folder.iterdir()] == ["a.tar.xz"]
        return
    assert may_be_sound
    assert {path.name for path in folder.iterdir()} == {"a.tar.xz", "vault"}
    assert all(path.is_dir() or stat.S_ISREG(path.lstat().st_mode) for path in made.rglob("*"))
    TableVault(made).stop_process("p")
    states.assert_sound(made)
