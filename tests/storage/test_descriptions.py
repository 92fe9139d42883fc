"""Descriptions beside tables and instances."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest

from tablevault_like.layout import InstanceLayout
from tablevault_like.storage import descriptions


class _Failing(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_what_the_disk_refuses_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(descriptor: int, *how: object, **more: object) -> io.StringIO:
        os.close(descriptor)
        return _Failing()

    monkeypatch.setattr(os, "fdopen", opened)
    place = InstanceLayout(tmp_path)

    with pytest.raises(OSError, match="Input/output error") as caught:
        descriptions.write_temporary(place, {"version": "base"})

    assert caught.value.filename == str(place.description)
