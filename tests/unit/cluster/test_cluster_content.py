"""What a spec puts into its clusters: how it is declared, and that it is known by its content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.cluster import content
from pytest_kina.errors import SpecError
from pytest_kina.marks import Defaults, requests
from pytest_kina.spec import ClusterSpec

FUNCTION = {"function": "tests.setup:install", "key": "1"}


def declared(base: Path, **keys: Any) -> ClusterSpec:
    """The spec of a test whose mark has these keys."""
    (request,) = requests([((), keys)], Defaults(base=base), test="t", module="m")
    return request.specs[0]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of CRDs, a manifest, and a file that a function reads."""
    (tmp_path / "crds").mkdir()
    (tmp_path / "crds/a.yaml").write_text("a: 1")
    (tmp_path / "crds/b.json").write_text("{}")
    (tmp_path / "crds/notes.txt").write_text("not a manifest")
    (tmp_path / "web.yaml").write_text("web: 1")
    (tmp_path / "read.txt").write_text("read")
    return tmp_path


def everything(base: Path, **changed: Any) -> ClusterSpec:
    """A spec with CRDs, a manifest and a function."""
    keys = {"crds": ["crds"], "manifests": "web.yaml", "bootstrap": FUNCTION | {"files": ["read.txt"]}}
    return declared(base, **keys | changed)


def test_paths_are_absolute_from_where_they_begin(files: Path) -> None:
    """Another process, with another directory, finds the same files; the spec survives its JSON form."""
    spec = everything(files)
    assert spec.crds == (str(files / "crds"),)
    assert spec.manifests == (str(files / "web.yaml"),)
    assert spec.bootstrap == ("tests.setup:install", "1", str(files / "read.txt"))
    assert ClusterSpec.from_json(spec.to_json()) == spec


def test_a_spec_without_content_has_no_digest(tmp_path: Path) -> None:
    """The identity of plain clusters is not touched."""
    assert content.identity(declared(tmp_path)) == {}


CHANGES: dict[str, Callable[[Path], object]] = {
    "a CRD": lambda base: (base / "crds/a.yaml").write_text("a: 2"),
    "a CRD more": lambda base: (base / "crds/c.yml").write_text("a: 1"),
    "a manifest": lambda base: (base / "web.yaml").write_text("web: 2"),
    "what the function reads": lambda base: (base / "read.txt").write_text("else"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_file_is_another_content(files: Path, change: Callable[[Path], object]) -> None:
    """Whatever goes into the cluster, or is read by the function, counts."""
    before = content.identity(everything(files))
    assert content.identity(everything(files)) == before
    change(files)
    assert content.identity(everything(files)) != before


def test_what_is_not_read_does_not_count(files: Path) -> None:
    """Files of a folder that are no manifests may change."""
    before = content.identity(everything(files))
    (files / "crds/notes.txt").write_text("changed")
    assert content.identity(everything(files)) == before


@pytest.mark.parametrize("changed", [{"function": "tests.setup:other"}, {"key": "2"}])
def test_another_function_or_key_is_another_content(files: Path, changed: dict[str, str]) -> None:
    """The key stands for what the function does."""
    other = everything(files, bootstrap=FUNCTION | {"files": ["read.txt"]} | changed)
    assert content.identity(other) != content.identity(everything(files))


@pytest.mark.parametrize("keys", [{"crds": ["no"]}, {"manifests": ["no"]}, {"bootstrap": FUNCTION | {"files": ["no"]}}])
def test_a_missing_file_is_named_with_its_key(tmp_path: Path, keys: dict[str, Any]) -> None:
    """Before anything is started."""
    with pytest.raises(SpecError, match=rf"^{next(iter(keys))}: there is no file or folder '{tmp_path}/no'"):
        content.identity(declared(tmp_path, **keys))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"crds": []}, "crds: expected a path or a list of paths"),
        ({"manifests": [1]}, "manifests: expected a path or a list of paths"),
        (
            {"bootstrap": "tests.setup:install"},
            "bootstrap: expected {'function': 'package.module:function', 'key': '1'",
        ),
        ({"bootstrap": {"function": "tests.setup:install"}}, "the key to be changed with the function"),
        ({"bootstrap": FUNCTION | {"key": ""}}, "bootstrap: expected"),
        ({"bootstrap": FUNCTION | {"function": "no colon"}}, "bootstrap: expected"),
        ({"bootstrap": FUNCTION | {"reads": []}}, "bootstrap: expected"),
    ],
)
def test_a_wrong_declaration_is_refused(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    """The message says what is expected; a function without a key could never be known to have changed."""
    with pytest.raises(SpecError) as caught:
        declared(tmp_path, **keys)
    assert said in str(caught.value)
