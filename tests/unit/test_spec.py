"""Specs, descriptions and fingerprints."""

import dataclasses
import json

import pytest

from pytest_kina.errors import SpecError
from pytest_kina.spec import ClusterDescription, ClusterSpec, fingerprint

IDENTITY = {"kubernetes": "v1.36.3", "kube-apiserver": "abc"}


def test_spec_survives_json() -> None:
    """A spec is the same after a trip through a file."""
    spec = ClusterSpec(
        version="1.35",
        feature_gates=(("A", True), ("B", False)),
        api_server_args=(("v", "2"),),
        provider_options=(("cni", "ptp"), ("ports", (80, 443))),
        needs=("pods",),
        images=("app:test",),
    )
    assert ClusterSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_description_survives_json_and_ignores_unknown_keys() -> None:
    """A description written by a later version of the same schema can be used."""
    description = ClusterDescription(
        name="kina-ab-0-12", provider="embedded", fingerprint="f", spec=ClusterSpec(), identity=tuple(IDENTITY.items())
    )
    document = json.loads(json.dumps(description.to_json() | {"later": 1}))
    assert ClusterDescription.from_json(document) == dataclasses.replace(
        description, identity=tuple(sorted(IDENTITY.items()))
    )
    assert description.kubernetes == "v1.36.3"


@pytest.mark.parametrize(
    "document", [{}, {"name": "x"}, {"name": "x", "provider": "p", "fingerprint": "f", "spec": 3, "identity": {}}]
)
def test_foreign_description_is_refused(document: dict[str, object]) -> None:
    """What lacks a part is no description."""
    with pytest.raises(SpecError):
        ClusterDescription.from_json(document)


def test_fingerprint_ignores_how_the_version_was_spelt() -> None:
    """``1.36`` and ``1.36.3`` are the same cluster when they resolve to the same patch."""
    assert fingerprint(ClusterSpec(version="1.36"), "embedded", IDENTITY) == fingerprint(
        ClusterSpec(version="1.36.3"), "embedded", IDENTITY
    )


@pytest.mark.parametrize(
    "change",
    [
        {"profile": "api"},
        {"simulated_nodes": 2},
        {"feature_gates": (("A", True),)},
        {"api_server_args": (("v", "1"),)},
        {"workers": 1},
        {"cpus": 2},
        {"memory_mib": 512},
        {"provider_options": (("cni", "cilium"),)},
    ],
)
def test_fingerprint_covers_what_shapes_the_cluster(change: dict[str, object]) -> None:
    """Every field that shapes the cluster changes the fingerprint."""
    base = ClusterSpec()
    other = dataclasses.replace(base, **change)  # type: ignore[arg-type]
    assert fingerprint(base, "embedded", IDENTITY) != fingerprint(other, "embedded", IDENTITY)


@pytest.mark.parametrize("change", [{"needs": ("pods",)}, {"images": ("app:test",)}])
def test_fingerprint_ignores_what_is_asked_of_the_provider(change: dict[str, object]) -> None:
    """Who needs more of a provider, or loads an image, may still use the same cluster."""
    other = dataclasses.replace(ClusterSpec(), **change)  # type: ignore[arg-type]
    assert fingerprint(ClusterSpec(), "kind", IDENTITY) == fingerprint(other, "kind", IDENTITY)


def test_fingerprint_covers_provider_and_identity() -> None:
    """Another provider, version or binary digest is another cluster."""
    prints = {
        fingerprint(ClusterSpec(), "embedded", IDENTITY),
        fingerprint(ClusterSpec(), "kind", IDENTITY),
        fingerprint(ClusterSpec(), "embedded", IDENTITY | {"kubernetes": "v1.36.4"}),
        fingerprint(ClusterSpec(), "embedded", IDENTITY | {"kube-apiserver": "abd"}),
    }
    assert len(prints) == 4
    assert all(len(print_) == 16 for print_ in prints)
