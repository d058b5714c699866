"""Finding a provider by name."""

import pytest

from pytest_kina.errors import ProviderUnavailableError
from pytest_kina.providers import Provider, ProviderInfo, find
from pytest_kina.testing import FakeProvider


def half() -> object:
    """Makes something that is no provider."""
    return object()


class Boaster(FakeProvider):
    """Claims what nobody has heard of."""

    @property
    def info(self) -> ProviderInfo:
        """One capability too many."""
        return ProviderInfo(name="boaster", version="1", capabilities=frozenset({"teleport", "versions"}))


class Liar(FakeProvider):
    """Claims what it has no method for."""

    load_image = None  # type: ignore[assignment]
    reset = None  # type: ignore[assignment]


class Plain(FakeProvider):
    """Can do nothing besides, and does not claim to."""

    load_image = None  # type: ignore[assignment]
    reset = None  # type: ignore[assignment]

    @property
    def info(self) -> ProviderInfo:
        """No capability."""
        return ProviderInfo(name="plain", version="1")


def test_unknown_name_lists_the_known_ones() -> None:
    """A name that nobody registered is an error that shows the choice."""
    with pytest.raises(ProviderUnavailableError, match=r"'kindd'.*known are .*embedded"):
        find("kindd")


def test_module_and_attribute_name_a_factory() -> None:
    """A provider of the user's own needs no entry point."""
    assert isinstance(find("pytest_kina.testing:FakeProvider"), Provider)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_such_module_x:A", "No module named"),
        ("pytest_kina.spec:Nothing", "has no attribute"),
        (f"{__name__}:half", "it lacks .*create"),
    ],
)
def test_what_cannot_be_loaded_says_why(name: str, reason: str) -> None:
    """A missing module, a missing attribute and an object that is no provider are told apart."""
    with pytest.raises(ProviderUnavailableError, match=reason):
        find(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("Boaster", "capabilities that do not exist: teleport"), ("Liar", "'reset', but has no reset")],
)
def test_false_claims_are_refused(name: str, reason: str) -> None:
    """A provider that claims what does not exist, or what it lacks the method for, is not used."""
    with pytest.raises(ProviderUnavailableError, match=reason):
        find(f"{__name__}:{name}")


def test_methods_behind_capabilities_are_optional() -> None:
    """Who claims neither ``reset`` nor ``images`` needs no method for them."""
    assert find(f"{__name__}:Plain").info.name == "plain"
