"""Finding a provider by name."""

import pytest

from pytest_kina.errors import ProviderUnavailableError
from pytest_kina.providers import Provider, find


def half() -> object:
    """Makes something that is no provider."""
    return object()


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
