"""Manifests from files, folders, text and objects, and what is said about those that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_kina.cluster.manifests import load
from pytest_kina.errors import ManifestError

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def config_map(name: str, **content: Any) -> dict[str, Any]:
    """A ConfigMap with more or less in it."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **content}


def test_text_with_several_documents_is_several_objects() -> None:
    """Documents are separated, empty ones skipped, and each remembers its number."""
    manifests = load(f"---\n---\n{MAP}---\n# nothing\n---\n{MAP}")
    assert [manifest.place for manifest in manifests] == ["the text, document 2", "the text, document 4"]


def test_list_objects_are_taken_apart() -> None:
    """A List holds objects, also one inside another; a kind with `items` that is no list is left alone."""
    inner = {"apiVersion": "v1", "kind": "List", "items": [config_map("b")]}
    outer = {"apiVersion": "v1", "kind": "List", "items": [config_map("a"), inner]}
    assert [manifest.name for manifest in load(outer)] == ["a", "b"]
    assert load(config_map("c", items=[1]))[0].name == "c"


def test_folder_is_read_in_order_of_names(tmp_path: Path) -> None:
    """YAML and JSON files of the folder count, sorted by name; other files and folders do not."""
    (tmp_path / "2.yml").write_text(MAP.replace("a}", "two}"))
    (tmp_path / "1.json").write_text('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}')
    (tmp_path / "README.md").write_text("no manifest")
    (tmp_path / "sub.yaml").mkdir()
    assert [manifest.name for manifest in load(tmp_path)] == ["one", "two"]
    assert [manifest.name for manifest in load(str(tmp_path / "2.yml"))] == ["two"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z"),
        ("22:22", "22:22"),
        ("=", "="),
        ("12", 12),
        ("-7", -7),
        ("0x1F", 31),
        ("0644", 420),
        ("1.5", 1.5),
        ("true", True),
        ("no", False),
        ("~", None),
        ("'12'", "12"),
    ],
)
def test_yaml_means_what_it_means_to_kubernetes(text: str, value: object) -> None:
    """Dates, base-60 numbers and `=` stay text; numbers, booleans and null are what they are elsewhere."""
    manifest = load(f"{MAP}data: {{k: {text}}}\n")[0]
    assert manifest.content["data"]["k"] == value
    assert type(manifest.content["data"]["k"]) is type(value)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (f"{MAP}---\nkind: Pod\nmetadata: {{name: a}}\n", ["document 2", "no apiVersion"]),
        ([config_map("a"), {"apiVersion": "v1", "metadata": {"name": "a"}}], ["item 2", "no kind"]),
        ({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "a-"}}, ["(Pod)", "metadata.name"]),
        ("- a\n- b\n", ["document 1", "is a list"]),
        ("a: [\n", ["not YAML", "line 2"]),
        ("# nothing\n", ["no object"]),
        ("nowhere.yaml", ["no file or folder 'nowhere.yaml'", "line break"]),
        (config_map("a", data={"k": {1, 2}}), ["JSON", "set"]),
        (3, ["cannot apply a int"]),
    ],
)
def test_what_is_no_manifest_is_named_with_its_place(source: Any, words: list[str]) -> None:
    """The error says where, what is missing, and what to do."""
    with pytest.raises(ManifestError) as caught:
        load(source)
    assert [word for word in words if word not in str(caught.value)] == []
    assert caught.value.next_step


def test_empty_folder_is_an_error(tmp_path: Path) -> None:
    """Applying nothing is a mistake in the path, not a success."""
    with pytest.raises(ManifestError, match="no object"):
        load(tmp_path)


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.booleans() | st.none()))
def test_objects_pass_through_unchanged(data: dict[str, Any]) -> None:
    """A dict is applied as it is."""
    assert load(config_map("a", data=data))[0].content["data"] == data
