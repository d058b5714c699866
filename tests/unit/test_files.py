"""Atomic writes and versioned JSON documents."""

import errno
import json
import os
import stat
import sys
from pathlib import Path

import pytest

from pytest_kina import files
from pytest_kina.files import (
    NewerSchema,
    Torn,
    append_line,
    peek_json,
    private_directory,
    read_json,
    tail,
    write_atomic,
    write_json,
)


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


@pytest.mark.parametrize("plant", ["hardlink_to", "symlink_to"])
def test_what_is_linked_in_a_files_place_is_not_written_to(tmp_path: Path, plant: str) -> None:
    """A link that was planted under a document's name is replaced; the file that it leads to keeps content and mode."""
    victim, path = tmp_path / "victim", tmp_path / "0.json"
    victim.write_text("precious")
    victim.chmod(0o644)
    getattr(path, plant)(victim)
    write_json(path, 1, {"state": "READY"})
    assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("precious", 0o644)
    assert (path.is_symlink(), path.stat().st_nlink, path.stat().st_mode & 0o777) == (False, 1, 0o600)


def full(*_: object) -> None:
    """A disk without room."""
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.skipif(sys.platform != "linux", reason="files are exchanged on Linux only")
def test_an_old_file_is_exchanged_for_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renaming over a file would make the disk write, which is not worth it for what passes."""
    path = tmp_path / "record.json"
    path.write_text("old")
    monkeypatch.setattr(os, "replace", full)
    write_atomic(path, b"new", passing=True)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, b"newer")


@pytest.mark.parametrize("answer", [None, lambda *_: -1], ids=["there is none", "it fails"])
def test_where_names_cannot_be_exchanged_they_are_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    """On macOS, and on file systems without it."""
    path = tmp_path / "record.json"
    path.write_text("old")
    monkeypatch.setattr(files, "_exchange", lambda: answer)
    write_atomic(path, b"new", passing=True)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_is_not_exchanged_for_a_file(tmp_path: Path) -> None:
    """What stands in a document's place and is none stays where it is, and the writer is told."""
    (tmp_path / "record.json").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomic(tmp_path / "record.json", b"new", passing=True)
    assert [path.is_dir() for path in tmp_path.iterdir()] == [True]


def test_failed_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full at the last step, the old content stands and no temporary file is left."""
    path = tmp_path / "record.json"
    path.write_text("old")
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


@pytest.mark.parametrize(
    ("content", "lines", "expected"),
    [
        (b"", 3, ""),
        (b"one", 3, "one"),
        (b"one\ntwo\nthree\n", 2, "two\nthree"),
        (b"one\ntwo\n", 0, ""),
        (b"bad \xff byte\n", 1, "bad \ufffd byte"),
        (b"first\n" + b"x" * 65_000 + b"\nsecond\nlast", 2, "second\nlast"),
        (b"first\n" + b"x" * 70_000 + b"\nlast\n", 9, "x" * 65_530 + "\nlast"),
    ],
)
def test_the_end_of_a_log(tmp_path: Path, content: bytes, lines: int, expected: str) -> None:
    """The last lines, whatever the log holds."""
    (tmp_path / "log").write_bytes(content)
    assert tail(tmp_path / "log", lines) == expected


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    """A component that never started has no log."""
    assert tail(tmp_path / "none", 5) == ""


def test_lines_are_appended_to_a_private_file(tmp_path: Path) -> None:
    """The file is made 0600 whatever the umask, lines follow each other, and a link in its place is not followed."""
    before = os.umask(0)
    try:
        for line in ("one", "zwölf"):
            append_line(tmp_path / "lines", line)
    finally:
        os.umask(before)
    assert (tmp_path / "lines").read_text(encoding="utf-8") == "one\nzwölf\n"
    assert (tmp_path / "lines").stat().st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        append_line(tmp_path / "link", "three")
    assert not (tmp_path / "victim").exists()
