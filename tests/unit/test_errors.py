"""The error tree."""

import inspect
import pickle

import pytest

from pytest_kina import errors


@pytest.mark.parametrize("kind", [getattr(errors, name) for name in errors.__all__])
def test_errors_survive_pickling(kind: type[errors.KinaError]) -> None:
    """An error that crosses from an xdist worker keeps its kind, text, next step and details."""
    before = kind("tried x, got y", next_step="do z", status=404)
    after = pickle.loads(pickle.dumps(before))
    assert type(after) is kind
    assert str(after) == "tried x, got y\nNext step: do z"
    assert after.details == {"status": 404}
    assert after.status == 404


def test_next_step_is_optional() -> None:
    """Without a next step the text is the message alone."""
    assert str(errors.KinaError("broken")) == "broken"


def test_all_lists_every_error() -> None:
    """``__all__`` names exactly the public classes, so the drawn tree cannot lose one."""
    classes = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert classes == set(errors.__all__)
    assert all(name in (errors.__doc__ or "") for name in classes)
