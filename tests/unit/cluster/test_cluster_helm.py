"""Charts of a spec: how they are declared, known by their content, and rendered by helm."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_kina import charts
from pytest_kina.charts import Chart
from pytest_kina.cluster import content, helm
from pytest_kina.errors import BinaryError, ManifestError, SpecError
from pytest_kina.marks import Defaults, requests
from pytest_kina.spec import ClusterSpec, fingerprint
from tests.support.helm_program import CHART, REFUSED, RENDERED, StandIn


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The helm that is found."""
    made = StandIn(tmp_path / "bin")
    monkeypatch.setenv("KINA_ASSETS", str(made.program.parent))
    return made


@pytest.fixture
def chart(tmp_path: Path) -> Chart:
    """A copy of the chart, with a file of values."""
    shutil.copytree(CHART, tmp_path / "shop")
    (tmp_path / "values.yaml").write_text("colour: green\n")
    return Chart(path=str(tmp_path / "shop"), release="shop", namespace="trade", files=(str(tmp_path / "values.yaml"),))


def declared(base: Path, helm: Any) -> ClusterSpec:
    """The spec of a test whose mark has these charts."""
    (request,) = requests([((), {"helm": helm})], Defaults(base=base), test="t", module="m")
    return request.specs[0]


# ---- declared


@pytest.mark.parametrize(
    ("declaration", "expected"),
    [
        ("deploy/My_Shop-1.2.tgz", Chart(path="/base/deploy/My_Shop-1.2.tgz", release="my-shop-1-2")),
        (["a", "b"], (Chart(path="/base/a", release="a"), Chart(path="/base/b", release="b"))),
        ({"chart": "../c", "values": "v.yaml"}, Chart(path="/c", release="c", files=("/base/v.yaml",))),
        ({"chart": "/c", "values": ["v", "w"]}, Chart(path="/c", release="c", files=("/base/v", "/base/w"))),
        (
            {"chart": "c", "values": {"b": [1], "a": None}, "release": "r", "namespace": "n"},
            Chart(path="/base/c", release="r", namespace="n", values='{"a": null, "b": [1]}'),
        ),
        ({"chart": "."}, Chart(path="/base", release="chart")),
        ("x" * 80, Chart(path="/base/" + "x" * 80, release="x" * 53)),
    ],
)
def test_a_chart_is_a_path_or_a_mapping(declaration: Any, expected: Chart | tuple[Chart, ...]) -> None:
    """Paths begin at the base, a release is called like its chart, and the spec survives its JSON form."""
    spec = declared(Path("/base"), declaration)
    assert spec.helm == (expected if isinstance(expected, tuple) else (expected,))
    assert ClusterSpec.from_json(spec.to_json()) == spec
    assert spec.content


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        [],
        7,
        [7],
        {},
        {"values": {}},
        {"chart": ""},
        {"chart": 7},
        {"chart": "c", "version": "1"},
        {"chart": "c", "release": "Upper"},
        {"chart": "c", "release": "x" * 54},
        {"chart": "c", "namespace": "-a"},
        {"chart": "c", "namespace": "x" * 64},
        {"chart": "c", "values": []},
        {"chart": "c", "values": [7]},
        {"chart": "c", "values": {"a": object()}},
    ],
)
def test_a_wrong_declaration_says_what_is_expected(tmp_path: Path, wrong: Any) -> None:
    """At collection, like every other key of a mark."""
    assert not charts.is_declaration(wrong)
    with pytest.raises(SpecError, match="helm: expected a chart's path, "):
        declared(tmp_path, wrong)


def test_a_release_elsewhere_is_another_cluster() -> None:
    """The names go into the fingerprint, so a cluster with another release is never taken for it."""
    one, two = (declared(Path("/base"), {"chart": "c", "release": name}) for name in ("a", "b"))
    assert fingerprint(one, "embedded", {}) != fingerprint(two, "embedded", {})


# ---- known by content


CHANGES: dict[str, Callable[[Path], object]] = {
    "a template": lambda base: (base / "shop/templates/objects.yaml").write_text(""),
    "a file more": lambda base: (base / "shop/charts").mkdir() or (base / "shop/charts/sub.tgz").write_bytes(b"x"),
    "a file less": lambda base: (base / "shop/crds/till.yaml").unlink(),
    "a file's name": lambda base: (base / "shop/values.yaml").rename(base / "shop/other.yaml"),
    "values": lambda base: (base / "values.yaml").write_text("colour: grey\n"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_file_is_another_chart(chart: Chart, tmp_path: Path, change: Callable[[Path], object]) -> None:
    """Whatever helm reads counts; nothing is rendered for that, because charts may make passwords."""
    spec = ClusterSpec(helm=(chart,))
    before = content.identity(spec)
    assert content.identity(spec) == before
    change(tmp_path)
    assert content.identity(spec) != before


@pytest.mark.parametrize("other", [{"release": "x"}, {"namespace": "x"}, {"values": "{}"}, {"files": ()}])
def test_other_names_and_values_are_another_chart(chart: Chart, other: dict[str, Any]) -> None:
    """The same files make other objects then."""
    assert helm.digest(replace(chart, **other)) != helm.digest(chart)


@pytest.mark.parametrize("gone", ["path", "files"])
def test_a_path_that_is_not_there_is_named(chart: Chart, tmp_path: Path, gone: str) -> None:
    """Before anything is started, with where paths begin."""
    nowhere = str(tmp_path / "nowhere")
    wrong = replace(chart, path=nowhere) if gone == "path" else replace(chart, files=(nowhere,))
    with pytest.raises(
        SpecError, match=rf"^helm: there is no file or folder '{nowhere}'\n.*relative to pytest's rootdir"
    ):
        content.identity(ClusterSpec(helm=(wrong,)))


# ---- rendered


def test_helm_is_asked_for_one_version_without_the_users_settings(chart: Chart, program: StandIn) -> None:
    """Values of files and of the spec, CRDs, no hooks; its home is a directory that is gone afterwards."""
    helm.render(replace(chart, values='{"colour": "blue"}'), "1.36")
    (call,) = program.calls
    assert call["argv"] == [
        "template",
        "shop",
        chart.path,
        "--namespace=trade",
        "--include-crds",
        "--no-hooks",
        "--kube-version=1.36",
        f"--values={chart.files[0]}",
        "--values=-",
    ]
    assert call["stdin"] == '{"colour": "blue"}'
    homes = {Path(call["env"][f"HELM_{name}_HOME"]).parent for name in ("CACHE", "CONFIG", "DATA")}
    assert homes == {Path(call["cwd"])}
    assert Path(call["cwd"]).parent == Path(tempfile.gettempdir())
    assert not Path(call["cwd"]).exists()
    assert "KUBECONFIG" not in call["env"]


def test_what_helm_prints_are_objects_that_know_their_chart(chart: Chart, program: StandIn) -> None:
    """In its order, which has CRDs first; a chart may also come to nothing."""
    found = helm.render(chart, "1.36")
    kinds = ["CustomResourceDefinition", "ConfigMap", "Role", "Till"]
    assert [manifest.kind for manifest in found] == kinds
    assert found[0].place == f"{chart.path} (rendered), document 1"
    assert program.calls[0]["stdin"] == ""
    program.answers("")
    assert helm.render(chart, "1.36") == []


def test_a_chart_that_cannot_be_rendered_says_it_in_helms_words(chart: Chart, program: StandIn) -> None:
    """And nothing else of the command: its line and time are ours."""
    program.answers("", stderr=REFUSED, code=1)
    with pytest.raises(SpecError) as caught:
        content.check(ClusterSpec(helm=(chart,)))
    assert caught.value.message == f"helm: {chart.path} cannot be rendered: {REFUSED.strip()}"


def test_what_is_no_object_names_the_chart(chart: Chart, program: StandIn) -> None:
    """Helm renders any text; what of it cannot be applied is said here."""
    program.answers(RENDERED + "\n---\njust: text\n")
    with pytest.raises(ManifestError, match=r"shop \(rendered\), document 5 has no apiVersion"):
        helm.render(chart, "1.36")


def test_without_helm_there_is_one_sentence(chart: Chart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks gets it before anything is started, and the idle helper as the obstacle to a restore."""
    monkeypatch.setenv("PATH", str(tmp_path))
    spec = ClusterSpec(helm=(chart,))
    with pytest.raises(BinaryError, match="there is no helm to render the charts") as caught:
        content.check(spec)
    assert "install Helm 3" in str(caught.value)
    assert content.obstacle(spec) == str(caught.value)
    assert content.obstacle(ClusterSpec()) is None
