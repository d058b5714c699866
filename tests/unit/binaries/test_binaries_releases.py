"""Version requests, and which existing binaries satisfy them."""

import pytest

from pytest_kina.binaries.releases import DEFAULT_COMPONENTS, FAMILIES, Version, Wanted, current_targets, known, want
from pytest_kina.errors import BinaryError


def one(version: str, component: str) -> Wanted:
    """The only family of a request for one component."""
    (wanted,) = want(version, [component])
    return wanted


@pytest.mark.parametrize("minor", ["1.34", "1.35", "1.36"])
def test_minor_leads_to_its_known_patch(minor: str) -> None:
    """A minor of the table means the newest patch that is known to work."""
    wanted = one(minor, "kube-apiserver")
    assert wanted.target == known()[minor]
    assert wanted.target.series == minor
    assert not wanted.exact


@pytest.mark.parametrize("text", ["1.36.1", "v1.36.1", " 1.36.1 "])
def test_patch_is_taken_by_its_word(text: str) -> None:
    """A patch, with or without v, means exactly that patch, whether the table has it or not."""
    wanted = one(text, "kube-apiserver")
    assert (wanted.target, wanted.exact) == (Version(1, 36, 1), True)


def test_minor_outside_of_the_table_has_no_target_yet() -> None:
    """For another minor the sources have to be asked for its newest patch."""
    wanted = one("1.33", "kube-scheduler")
    assert wanted.target is None
    assert wanted.label == "kubernetes v1.33"


def test_default_version_and_pairing() -> None:
    """Kubernetes 1.36 is paired with the releases that were tested with it."""
    targets = {wanted.family: str(wanted.target) for wanted in want("1.36", DEFAULT_COMPONENTS)}
    assert targets == {"etcd": "v3.6.16", "kubernetes": "v1.36.3", "kwok": "v0.8.0"}


def test_components_are_grouped_by_family() -> None:
    """Each family is searched once, with the components that were asked for, and only those."""
    grouped = want("1.36", ["etcd", "kube-scheduler", "etcdutl", "kube-apiserver", "etcd"])
    assert [(wanted.family, wanted.components) for wanted in grouped] == [
        ("etcd", ("etcd", "etcdutl")),
        ("kubernetes", ("kube-scheduler", "kube-apiserver")),
    ]


@pytest.mark.parametrize("text", ["", "1", "latest", "1.36.x", "1.36.3-rc.1", "v1.36.3.1", "1,36"])
def test_bad_version_says_what_is_expected(text: str) -> None:
    """Anything but a minor or a patch is refused with an example of both."""
    with pytest.raises(BinaryError, match=r"expected a minor like 1\.36 or a patch like 1\.36\.3"):
        want(text, [])


def test_impossible_major_lists_what_is_known() -> None:
    """Nobody has another major version than 1, so the answer is what there is."""
    with pytest.raises(BinaryError, match=r"no source has Kubernetes 2\.0; known: 1\.34 \(v1\.34\.4\), 1\.35 .*\nNext"):
        want("v2.0", [])


def test_unknown_component_lists_the_known_ones() -> None:
    """A component that does not exist is refused with the list of those that do."""
    with pytest.raises(BinaryError, match=r"no component called 'kubelet'\nNext step: choose from kube-apiserver"):
        want("1.36", ["kubelet"])


@pytest.mark.parametrize(
    ("request_", "component", "version", "words"),
    [
        ("1.36", "kube-apiserver", "1.36.0", None),
        ("1.36", "kube-apiserver", "1.35.9", "has v1.35.9, expected 1.36"),
        ("1.36.3", "kube-apiserver", "1.36.3", None),
        ("1.36.3", "kube-apiserver", "1.36.2", "has v1.36.2, expected v1.36.3"),
        ("1.36.3", "kubectl", "1.35.0", None),
        ("1.36.3", "kubectl", "1.37.0", None),
        ("1.36", "kubectl", "1.34.9", "expected 1.36 or one minor next to it"),
        ("1.36", "etcd", "3.5.21", None),
        ("1.36.3", "etcd", "3.4.30", "has v3.4.30, expected v3.5.0 or newer"),
        ("1.36", "kwok", "0.7.0", None),
        ("1.36", "kwok", "0.5.2", "expected v0.6.0 or newer"),
    ],
)
def test_which_existing_binary_will_do(request_: str, component: str, version: str, words: str | None) -> None:
    """The minor (or the named patch) counts for servers, the skew for kubectl, a minimum for etcd and kwok."""
    refusal = one(request_, component).refusal(Version.parse(version))
    assert refusal is None if words is None else words in (refusal or "")


def test_versions_order_by_number() -> None:
    """1.36.10 is newer than 1.36.9."""
    assert Version.parse("v1.36.10") > Version.parse("1.36.9")


def test_targets_cover_all_families() -> None:
    """Pruning knows the current versions of each family."""
    assert set(current_targets()) == set(FAMILIES)
    assert Version(1, 36, 3) in current_targets()["kubectl"]
