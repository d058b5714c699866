"""JSON text piece by piece, so that a document with a million events is never in memory as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def pieces(value: Any) -> Iterator[bytes]:
    """The JSON text of ``value``: iterators become arrays with a line per element, objects have a line per key.

    What has no JSON type becomes its text. Raises :class:`ValueError` for a number that JSON does not have.
    """
    if isinstance(value, Iterator):
        yield b"["
        for at, one in enumerate(value):
            yield (b",\n" if at else b"\n") + _text(one)
        yield b"\n]"
    elif isinstance(value, dict):
        yield b"{"
        for at, (key, inner) in enumerate(value.items()):
            yield (b",\n" if at else b"\n") + _text(key) + b": "
            yield from pieces(inner)
        yield b"\n}"
    else:
        yield _text(value)


_ENCODER = json.JSONEncoder(default=str, allow_nan=False)  # json.dumps would make one per event


def _text(value: Any) -> bytes:
    return _ENCODER.encode(value).encode()
