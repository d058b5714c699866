"""From marks to requests, without pytest. What wrong marks say is tested in tests/plugin/test_wrong_marks.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_kina.errors import SpecError
from pytest_kina.marks import (
    ClusterRequest,
    Defaults,
    Mark,
    check_keys,
    default_spec,
    is_default,
    request_from_parameter,
    request_ids,
    requests,
)
from pytest_kina.spec import ClusterSpec, Isolation

TEST, MODULE = "test_a.py::test_it", "test_a.py"


def mark(*args: Any, **keys: Any) -> Mark:
    """A mark."""
    return args, keys


def ask(*marks: Mark, defaults: Defaults | None = None) -> list[ClusterRequest]:
    """The requests of a test with these marks, closest first."""
    return requests(marks, defaults or Defaults(), test=TEST, module=MODULE)


def spec_of(*marks: Mark, defaults: Defaults | None = None) -> ClusterSpec:
    """The only spec of a test with these marks."""
    ((_, spec),) = ask(*marks, defaults=defaults)[0].clusters
    return spec


def test_no_mark_means_the_default() -> None:
    """A test without marks asks for one shared cluster of the default spec."""
    (request,) = ask()
    assert request == ClusterRequest(clusters=(("", ClusterSpec()),))
    assert request.shared
    assert is_default(request, default_spec(Defaults()))


def test_values_are_brought_into_one_form() -> None:
    """Equal wishes give equal specs, however they were written."""
    one = spec_of(mark(version="v1.36.3", feature_gates={"B": True, "A": False}, api_server_args={"v": "4"}))
    two = spec_of(mark(version="1.36.3", feature_gates={"A": False, "B": True}, api_server_args={"v": "4"}))
    assert one == two
    assert one.feature_gates == (("A", False), ("B", True))


def test_what_real_nodes_take_is_brought_into_one_form() -> None:
    """Memory becomes MiB, lists and sets become sorted tuples without repetition, and a spec stays hashable."""
    options = {"node_image": "kindest/node:v1.36.1", "ports": [80, 443]}
    spec = spec_of(
        mark(workers=2, cpus=4, memory="4Gi", images=["b:1", "a:1", "b:1"], needs={"pods"}, provider_options=options)
    )
    assert (spec.workers, spec.cpus, spec.memory_mib) == (2, 4, 4096)
    assert spec_of(mark(memory="512Mi")).memory_mib == 512
    assert (spec.images, spec.needs) == (("a:1", "b:1"), ("pods",))
    assert dict(spec.provider_options) == {"node_image": "kindest/node:v1.36.1", "ports": (80, 443)}
    assert len({spec, spec_of(mark(workers=2))}) == 2


def test_a_configuration_is_a_document_or_a_path_from_the_project_on() -> None:
    """A document becomes one word, however its keys are ordered; a path counts from the project's directory."""
    base = Path("/project")
    documents = [{"kind": "A", "nodes": [{"a": None}]}, {"nodes": [{"a": None}], "kind": "A"}]
    one, two = (spec_of(mark(provider_options={"config": document})) for document in documents)
    assert one == two
    assert hash(one) == hash(two)
    assert json.loads(dict(one.provider_options)["config"]) == documents[0]
    named = spec_of(mark(provider_options={"config": "kind.yaml"}), defaults=Defaults(base=base))
    assert dict(named.provider_options) == {"config": "/project/kind.yaml"}
    assert ClusterSpec.from_json(one.to_json()) == one


def test_archives_are_paths_from_the_project_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of images and of a node image; references stay as they are."""
    monkeypatch.setenv("HOME", "/home/me")
    keys = {"images": ["out/app.tar", "~/b.tgz", "/a.tar.gz", "app:1"], "provider_options": {"node_image": "node.tar"}}
    spec = spec_of(mark(**keys), defaults=Defaults(base=Path("/project")))
    assert spec.images == ("/a.tar.gz", "/home/me/b.tgz", "/project/out/app.tar", "app:1")
    assert dict(spec.provider_options) == {"node_image": "/project/node.tar"}
    assert dict(spec_of(mark(provider_options={"node_image": "node:v1"})).provider_options) == {"node_image": "node:v1"}


def test_api_profile_has_no_nodes() -> None:
    """Profile ``api`` means no nodes, also where a mark farther away or the default asks for some."""
    assert spec_of(mark(profile="api")).simulated_nodes == 0
    assert spec_of(mark(profile="api"), mark(simulated_nodes=3)).simulated_nodes == 0
    assert spec_of(mark(profile="api"), defaults=Defaults(spec={"simulated_nodes": 3})).simulated_nodes == 0
    with pytest.raises(SpecError, match="no nodes"):
        spec_of(mark(simulated_nodes=3), mark(profile="api"))


def test_near_version_goes_over_far_versions() -> None:
    """A closer ``version`` ends the matrix of a farther ``versions``, and the other way round."""
    assert [request.specs[0].version for request in ask(mark(version="1.34"), mark(versions=["1.35", "1.36"]))] == [
        "1.34"
    ]
    near = ask(mark(versions=["1.35", "1.36"]), mark(version="1.34"))
    assert [request.specs[0].version for request in near] == ["1.35", "1.36"]


def test_near_namespace_isolation_drops_a_far_scope() -> None:
    """A test may go back to sharing although its module says otherwise."""
    (request,) = ask(mark(isolation="namespace"), mark(isolation="exclusive", scope="module"))
    assert (request.isolation, request.scope, request.holder) == (Isolation.NAMESPACE, "function", "")


def test_matrix_of_two_clusters_is_their_product() -> None:
    """Two clusters with versions give every combination."""
    wanted = ask(mark("west", version="1.36"), mark("east", versions=["1.34", "1.35"]), mark(versions=["1.35", "1.36"]))
    assert [tuple(spec.version for spec in request.specs) for request in wanted] == [
        ("1.35", "1.34", "1.36"),
        ("1.35", "1.35", "1.36"),
        ("1.36", "1.34", "1.36"),
        ("1.36", "1.35", "1.36"),
    ]
    ids = request_ids(wanted, ClusterSpec())
    assert ids == ["1.35,east:1.34", "1.35,east:1.35", "1.36,east:1.34", "1.36,east:1.35"]


def test_holder_is_the_test_or_the_module() -> None:
    """An exclusive or fresh request names whom it is for, so that equal specs of two holders are different requests."""
    assert ask(mark(isolation="fresh"))[0].holder == TEST
    assert ask(mark(isolation="exclusive", scope="module"))[0].holder == MODULE
    assert ask(mark())[0].holder == ""


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"version": "1.35"}, "1.35"),
        ({"profile": "api"}, "api"),
        ({"simulated_nodes": 3}, "nodes=3"),
        ({"provider": "kind"}, "kind"),
        ({"feature_gates": {"A": True}}, "A=true"),
        ({"api_server_args": {"v": "4"}}, "v=4"),
        ({"workers": 2, "cpus": 4, "memory": "1Gi"}, "workers=2-cpus=4-memory=1024"),
        ({"provider_options": {"cni": "ptp", "ports": [80, 443]}}, "cni=ptp-ports=80+443"),
        ({"provider_options": {"config": "/a/kind.yaml"}}, "config=kind.yaml"),
        ({"provider_options": {"config": {"kind": "Cluster"}}}, "config=acf40d9e"),
        ({"needs": ["pods", "images"]}, "images-pods"),
        ({"version": "1.35", "profile": "api"}, "1.35-api"),
        ({"crds": ["/a/crd"], "manifests": ["/a/m.yaml"], "images": ["app:1"]}, "images-crds-manifests"),
    ],
)
def test_ids_say_what_differs(keys: dict[str, Any], text: str) -> None:
    """An id has what differs from the default spec, and nothing else."""
    assert request_ids(ask(mark(**keys)), ClusterSpec()) == [text]
    assert request_ids(ask(mark("east", **keys)), ClusterSpec()) == [f"east:{text}"]


def test_ids_have_a_word_for_less_than_the_default() -> None:
    """A spec that only takes away from the default has an id, too."""
    gated = ClusterSpec(feature_gates=(("A", True),))
    assert request_ids(ask(mark()), gated) == ["plain"]


@given(st.lists(st.sampled_from(["1.33", "1.34", "1.35", "1.36", "1.36.2"]), min_size=2, max_size=5, unique=True))
def test_ids_of_a_matrix_are_unique(versions: list[str]) -> None:
    """No two rows of a matrix have the same id."""
    ids = request_ids(ask(mark(versions=versions)), ClusterSpec())
    assert ids == versions


def test_named_spec_is_a_base_for_its_marks() -> None:
    """A name stands for its spec, and the mark's keys go over it."""
    defaults = Defaults(spec={"version": "1.35"}, named={"big": {"simulated_nodes": 9, "version": "1.34"}})
    assert spec_of(mark("big"), defaults=defaults) == ClusterSpec(version="1.34", simulated_nodes=9)
    assert spec_of(mark("big", simulated_nodes=2), defaults=defaults).simulated_nodes == 2
    assert spec_of(mark("other"), defaults=defaults) == ClusterSpec(version="1.35")


def test_name_that_is_almost_a_named_spec_is_refused() -> None:
    """A name without keys that is close to a table is taken for a slip, unless the table is asked for as well."""
    defaults = Defaults(named={"big": {"simulated_nodes": 9}, "east": {}})
    with pytest.raises(SpecError, match=r"'bgi': no \[tool.kina.clusters.bgi\]; did you mean 'big'\?"):
        spec_of(mark("bgi"), defaults=defaults)
    with pytest.raises(SpecError, match="did you mean 'big'"):
        request_from_parameter({}, [mark("bgi")], defaults, test=TEST, module=MODULE)
    assert spec_of(mark("bgi", simulated_nodes=2), defaults=defaults).simulated_nodes == 2
    assert spec_of(mark("bgi"), mark("bgi", simulated_nodes=2), defaults=defaults).simulated_nodes == 2
    assert spec_of(mark("bgi")) == spec_of(mark("other"), defaults=defaults) == ClusterSpec()
    assert spec_of(mark("bgi"), defaults=Defaults(named={"big": {}, "bgi": {}})) == ClusterSpec()
    (both,) = ask(mark("east"), mark("west"), defaults=defaults)
    assert [name for name, _ in both.clusters] == ["west", "east"]


def test_parameter_goes_over_marks() -> None:
    """A parameter's keys are the closest of all."""
    marks = [mark(version="1.34", simulated_nodes=2)]
    request = request_from_parameter({"version": "1.35"}, marks, Defaults(), test=TEST, module=MODULE)
    assert request.specs == (ClusterSpec(version="1.35", simulated_nodes=2),)


@pytest.mark.parametrize("keys", [{"versions": ["1.35"]}, {"isolation": "fresh"}, {"scope": "module"}])
def test_spec_has_no_keys_of_marks(keys: dict[str, Any]) -> None:
    """What says how a cluster is used cannot stand in a spec."""
    with pytest.raises(SpecError, match=r"the table: .*belongs on a mark"):
        check_keys(keys, "the table")


def test_spec_must_be_a_mapping() -> None:
    """A spec that is no mapping is refused with its place."""
    with pytest.raises(SpecError, match="the hook: expected a mapping"):
        check_keys("1.35", "the hook")
