"""How our own errors look in pytest's report."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project

_OURS = "pytest_kina/"


def test_a_cluster_that_cannot_be_made_is_reported_by_its_message_alone(project: Project) -> None:
    """The error at set-up has what happened and the next step, and no frame of the plugin."""
    project.order(failures={"create": "no room for another cluster"})
    project.write(test_a="def test_it(kina_cluster): ...")
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*ERROR at setup of test_it*", "*no room for another cluster*", "*short test summary*"]
    )
    assert _OURS not in _report(result)


def test_what_an_error_at_set_up_was_made_from_is_not_shown(project: Project) -> None:
    """Its message has all of it already: a missing file of a spec is told once."""
    project.write(
        test_a="import pytest\n@pytest.mark.kina_cluster(crds=['absent.yaml'])\ndef test_it(kina_cluster): ..."
    )
    result = project.run()
    result.assert_outcomes(errors=1)
    shown = _report(result)
    assert shown.count("there is no file or folder") == 1
    assert "direct cause" not in shown


@pytest.mark.parametrize("style", ["auto", "long", "short"])
def test_an_error_of_ours_ends_at_the_line_of_the_test(project: Project, style: str) -> None:
    """The user's own frames are shown down to the call that failed; ours, and what ours came from, are not."""
    project.write(
        test_a="""
        from pytest_kina.spec import ClusterSpec

        def ask():
            ClusterSpec.from_json({"feature_gates": 7})

        def test_it(kina_cluster):
            ask()
        """
    )
    result = project.run(f"--tb={style}")
    result.assert_outcomes(failed=1)
    shown = _report(result)
    assert "test_a.py:7" in shown
    assert "test_a.py:4" in shown
    assert "ClusterSpec.from_json" in shown
    assert "SpecError: not a cluster spec" in shown
    assert _OURS not in shown
    assert "During handling" not in shown


@pytest.mark.parametrize("option", ["--full-trace", "--tb=native"])
def test_everything_is_there_on_request(project: Project, option: str) -> None:
    """``--full-trace`` and ``--tb=native`` show our frames and the chain of causes."""
    project.write(
        test_a="""
        from pytest_kina.spec import ClusterSpec

        def test_it(kina_cluster):
            ClusterSpec.from_json({"feature_gates": 7})
        """
    )
    result = project.run(option)
    result.assert_outcomes(failed=1)
    assert "pytest_kina/spec.py" in result.stdout.str()
    assert "TypeError" in result.stdout.str()


def test_an_error_of_ours_that_the_test_raised_itself_is_left_alone(project: Project) -> None:
    """Pytest's own report stays for an exception that was not raised by the plugin, with its cause."""
    project.write(
        test_a="""
        from pytest_kina.errors import KinaError

        def test_it(kina_cluster):
            try:
                {}["missing"]
            except KeyError as error:
                raise KinaError("mine") from error
        """
    )
    result = project.run()
    result.assert_outcomes(failed=1)
    assert "KeyError: 'missing'" in _report(result)
    assert "KinaError: mine" in _report(result)


def _report(result: pytest.RunResult) -> str:
    text = result.stdout.str()
    return text[text.index("= FAILURES" if "= FAILURES" in text else "= ERRORS") : text.index("short test summary")]
