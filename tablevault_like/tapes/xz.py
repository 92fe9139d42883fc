"""Compress and decompress as xz does, with bounded memory, and notice whatever is damaged, cut off or added."""

from __future__ import annotations

import lzma
from typing import BinaryIO

from tablevault_like.tapes.members import CHUNK, Unfit

_MEMORY = 256 << 20
_LONGEST_TAIL = 1 << 20


class Unpacked:
    """What a compressed file holds, to be read once from the beginning to the end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes. Raises Unfit if there are fewer."""
        parts = []
        while size:
            part = self._read_some(size)
            if not part and self._decompressor.eof:
                raise Unfit("it ends too early")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def finish(self) -> None:
        """Make sure that nothing but zeros is left, and that the compressed data is whole. Raises Unfit."""
        left = 0
        while not self._decompressor.eof:
            part = self._read_some(CHUNK)
            left += len(part)
            if part.strip(b"\0") or left > _LONGEST_TAIL:
                raise Unfit("it goes on behind its end")
        if self._decompressor.unused_data or self._file.read(1):
            raise Unfit("it goes on behind its end")

    def _read_some(self, size: int) -> bytes:
        if self._decompressor.eof:
            return b""
        raw = self._file.read(CHUNK) if self._decompressor.needs_input else b""
        if self._decompressor.needs_input and not raw:
            raise Unfit("it is cut off")
        try:
            return self._decompressor.decompress(raw, size)
        except lzma.LZMAError as error:
            raise Unfit(f"it isn't compressed by xz, or is damaged ({error})") from None
