"""Atomic writes and versioned JSON documents."""

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from pytest_kina.files import NewerSchema, Torn, peek_json, private_directory, read_json, write_atomic, write_json


def test_write_replaces_and_is_private(tmp_path: Path) -> None:
    """A written file has the new content, mode 0600 whatever the umask, and leaves no sibling."""
    path = tmp_path / "record.json"
    path.write_text("old")
    before = os.umask(0)
    try:
        write_atomic(path, b"new", sync=True)
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_failed_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full at the last step, the old content stands and no temporary file is left."""
    path = tmp_path / "record.json"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_round_trip_ignores_unknown_keys(tmp_path: Path) -> None:
    """A document comes back with its fields, including those that a later version of the same schema added."""
    path = tmp_path / "a.json"
    write_json(path, 1, {"state": "READY", "new": [1]})
    assert read_json(path, 1) == {"schema": 1, "state": "READY", "new": [1]}
    assert read_json(path, 2) is not None


def test_missing_file_is_none(tmp_path: Path) -> None:
    """No file is no document, for readers with and without the lock."""
    assert read_json(tmp_path / "none.json", 1) is None
    assert peek_json(tmp_path / "none.json", 1) is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"state": 1}', b'{"schema": "1"}', b'{"schema": true}', b"\xff\xfe", b"null"]
)
def test_torn_documents_are_moved_aside(tmp_path: Path, content: bytes) -> None:
    """What is not a document of ours is kept as evidence under another name, and reported."""
    path = tmp_path / "a.json"
    path.write_bytes(content)
    assert peek_json(path, 1) is None
    assert path.exists()
    with pytest.raises(Torn) as caught:
        read_json(path, 1)
    assert not path.exists()
    assert Path(str(caught.value)).read_bytes() == content
    assert read_json(path, 1) is None


def test_newer_schema_is_left_alone(tmp_path: Path) -> None:
    """A document of a later version is neither believed nor moved."""
    path = tmp_path / "a.json"
    content = json.dumps({"schema": 2, "state": "READY"})
    path.write_text(content)
    with pytest.raises(NewerSchema, match="schema 2"):
        read_json(path, 1)
    assert peek_json(path, 1) is None
    assert path.read_text() == content


def test_missing_parents_are_private_too(tmp_path: Path) -> None:
    """Whoever creates the root first creates it for its owner only, whatever the umask."""
    before = os.umask(0o022)
    try:
        made = private_directory(tmp_path / "root" / "binaries" / ".locks")
    finally:
        os.umask(before)
    assert private_directory(made) == made
    for path in (made, made.parent, made.parent.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
