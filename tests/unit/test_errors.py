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


def test_an_error_is_explained_once() -> None:
    """A paragraph more goes before the next step, also when the same error is raised again, and survives pickling."""
    error = errors.StateError("broken", next_step="mend it")
    for paragraph in ("the disk is full", "", "the disk is full"):
        error.explain(paragraph)
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "broken\nthe disk is full\nNext step: mend it"
    assert error.args == ("broken\nthe disk is full",)


@pytest.mark.parametrize(
    ("error", "whole", "line"),
    [
        (errors.ProvisionError("it broke\nits log", next_step="read on"), "it broke\nits log", "it broke"),
        (ValueError("odd\nvery odd"), "ValueError: odd\nvery odd", "ValueError: odd"),
        (OSError(), "OSError: ", "OSError: "),
    ],
)
def test_what_happened_without_the_next_step(error: Exception, whole: str, line: str) -> None:
    """Of our own errors the message, of all others the type, too; on one line when there is no room for more."""
    assert errors.told(error) == whole
    assert errors.one_line(error) == line
