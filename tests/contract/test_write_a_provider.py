"""The example of the page about writing a provider is a provider."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_kina.testing import checks

PAGE = Path(__file__).parents[2] / "docs" / "write-a-provider.md"


def files() -> dict[str, str]:
    """The Python files on the page, by the names in their first lines."""
    blocks = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return dict(blocks)


def test_the_example_passes_the_suite(pytester: pytest.Pytester) -> None:
    """As it stands on the page; only what it does not claim is skipped."""
    assert sorted(files()) == ["test_webs.py", "webs.py"]
    for name, code in files().items():
        (pytester.path / name).write_text(code)
    result = pytester.runpytest_subprocess("-p", "no:randomly", "-rs", "-W", "error", timeout=300)
    result.assert_outcomes(passed=len(checks()) - 3, skipped=3)
    result.stdout.fnmatch_lines(["*webs does not claim the capability 'reset'*"])


def test_the_example_serves_a_test_run(pytester: pytest.Pytester) -> None:
    """Named as on the page, it makes the cluster of a test, which finds it by its kubeconfig."""
    (pytester.path / "webs.py").write_text(files()["webs.py"])
    pytester.makepyfile(
        """
        import json
        from urllib.request import urlopen

        def test_it(kina_cluster):
            server = json.loads(kina_cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
            with urlopen(server, timeout=5) as answer:
                assert answer.status == 200
            assert (kina_cluster.provider, kina_cluster.version) == ("webs:WebsProvider", "v1.36.0")
        """
    )
    pytester.syspathinsert()
    result = pytester.runpytest_subprocess(
        "-p",
        "no:randomly",
        "--kina-provider=webs:WebsProvider",
        "--kina-ttl=0",
        f"--kina-home={pytester.path / 'home'}",
    )
    result.assert_outcomes(passed=1)
    assert list((pytester.path / "home" / "clusters").iterdir()) == []
