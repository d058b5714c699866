"""The commands gate, compare, accept, report and ab, as a CI job calls them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_kina.cli import main
from pytest_kina.gate import Rules, judge, load, measured
from tests.support.gate_runs import MACHINE, around, document, name, write
from tests.support.outcomes import lives, outcome

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: a place of its own, with a history of ten runs of ``create``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    for at in range(10):
        path = write(tmp_path / "old.json", document({"create": around(1 + at / 100)}, run=f"run {at}"))
        assert main(["gate", str(path), "--save"]) == 0
    return tmp_path


def _file(project: Path, file: str, *seconds: float, **more: Any) -> str:
    return str(write(project / file, document({"create": seconds}, run=file, **more)))


def _printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return dict(json.loads(capsys.readouterr().out))


def test_a_good_run_exits_with_0(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fine is 0, and the last line says passed."""
    assert main(["gate", _file(project, "new.json", *around(1.0))]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "gate passed: 1 series"


def test_a_doubling_exits_with_1(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Regressed is 1."""
    assert main(["gate", _file(project, "new.json", *around(2.2))]) == 1
    assert "gate FAILED" in capsys.readouterr().out


def test_over_budget_exits_with_1_without_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Over budget is 1."""
    assert main(["gate", _file(tmp_path, "new.json", *around(20.0)), "--store", str(tmp_path / "none")]) == 1
    assert "OVER-BUDGET" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["{", "[]", '{"benchmarks": []}', "", None])
def test_unusable_files_exit_with_2_and_a_sentence(
    project: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """No usable data is 2, never a pass."""
    if content is not None:
        (project / "bad.json").write_text(content)
    assert main(["gate", "bad.json"]) == 2
    assert "no usable data: bad.json" in capsys.readouterr().out


def test_an_incomplete_run_exits_with_2_and_is_not_stored(project: Path) -> None:
    """Half a run is neither a pass nor part of the history."""
    path = _file(project, "new.json", *around(1.0), complete=False, incomplete=["gw0 died"])
    assert main(["gate", path, "--save"]) == 2
    assert len(load(project / ".kina-bench", MACHINE).runs) == 10


def test_the_gravest_of_several_files_decides(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A regression beats unusable data, which beats fine; each file gets its lines."""
    good, slow = _file(project, "good.json", *around(1.0)), _file(project, "slow.json", *around(2.2))
    assert main(["gate", good, "none.json"]) == 2
    assert main(["gate", good, "none.json", slow]) == 1
    assert "slow.json:" in capsys.readouterr().out


def test_a_second_measuring_acquits_or_confirms(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--confirm is the second look."""
    slow = _file(project, "slow.json", *around(2.2))
    assert main(["gate", slow, "--confirm", _file(project, "fine.json", *around(1.0))]) == 0
    assert "not confirmed" in capsys.readouterr().out
    assert main(["gate", slow, "--confirm", _file(project, "again.json", *around(2.3))]) == 1
    assert "; confirmed, measured again" in capsys.readouterr().out


def test_a_run_cannot_confirm_itself_nor_can_another_machine(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second look must be one."""
    slow = _file(project, "slow.json", *around(2.2))
    assert main(["gate", slow, "--confirm", slow]) == 2
    assert "holds the same run" in capsys.readouterr().out
    assert main(["gate", slow, "--confirm", _file(project, "other.json", *around(1.0), machine="other")]) == 2
    assert main(["gate", slow, slow, "--confirm", slow]) == 2


def test_saving_appends_accepted_runs_and_rejected_ones(project: Path) -> None:
    """With --save good runs join the baseline, regressed ones are kept beside it."""
    main(["gate", _file(project, "good.json", *around(1.0)), "--save"])
    main(["gate", _file(project, "slow.json", *around(2.5)), "--save"])
    assert [run.accepted for run in load(project / ".kina-bench", MACHINE).runs][-2:] == [True, False]


def test_an_unwritable_store_exits_with_2(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that should be saved and cannot is said."""
    (project / "file").write_text("")
    assert main(["gate", _file(project, "new.json", *around(1.0)), "--save", "--store", "file"]) == 2
    assert "cannot be written" in capsys.readouterr().out


def test_a_missing_baseline_is_an_error_when_required(project: Path) -> None:
    """A machine that the store has never seen passes only when nobody asks for a baseline."""
    path = _file(project, "new.json", *around(1.0), machine="never seen")
    assert main(["gate", path]) == 0
    assert main(["gate", path, "--require-baseline"]) == 1


def test_accepting_lets_the_next_run_pass(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After `accept` the slower figure is the beginning of a new baseline."""
    slow = _file(project, "slow.json", *around(2.2))
    assert main(["gate", slow]) == 1
    assert main(["accept", "create", "--reason", "etcd moved", "--machine", MACHINE]) == 0
    assert "a new baseline begins" in capsys.readouterr().out
    assert main(["gate", slow]) == 0


def test_accepting_needs_a_series_and_a_reason(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong arguments are 2 and say what there is."""
    assert main(["accept", "nothing", "--reason", "x", "--machine", MACHINE]) == 2
    assert name("create") in capsys.readouterr().err
    assert main(["accept", "create", "--reason", " ", "--machine", MACHINE]) == 2


def test_comparing_exits_by_what_it_sees(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 alike, 1 slower, 2 nothing in common."""
    one, two = _file(project, "one.json", *around(1.0)), _file(project, "two.json", *around(2.0))
    empty = str(write(project / "empty.json", document({})))
    assert [main(["compare", *pair]) for pair in ((one, one), (one, two), (two, one), (one, empty))] == [0, 1, 0, 2]
    assert "no series in common" in capsys.readouterr().err


def test_json_output_follows_its_schema(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What programs read is described in docs/schemas."""
    one, two = _file(project, "one.json", *around(1.0)), _file(project, "two.json", *around(2.2))
    capsys.readouterr()
    for arguments, schema in (
        (["gate", one, two, "none.json"], "gate-output"),
        (["compare", one, two], "comparison"),
    ):
        main([*arguments, "--json"])
        jsonschema.validate(_printed(capsys), json.loads((SCHEMAS / f"{schema}.schema.json").read_text()))


def test_stored_files_follow_their_schemas(project: Path) -> None:
    """Runs and epoch markers of the store are described, too, and the schema is strict about what matters."""
    main(["accept", "all", "--reason", "x", "--machine", MACHINE])
    run_schema, epoch_schema = (
        json.loads((SCHEMAS / f"{kind}.schema.json").read_text()) for kind in ("stored-run", "epoch")
    )
    files = sorted((project / ".kina-bench" / MACHINE).iterdir())
    assert len(files) == 11
    for path in files:
        jsonschema.validate(json.loads(path.read_text()), epoch_schema if path.suffix == ".epoch" else run_schema)
    broken = json.loads(files[0].read_text())
    del broken["kina"]["gate"]["accepted"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, run_schema)


def test_report_shows_figures_and_what_the_gate_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stored run tells its figures and its verdict; a fresh one its figures."""
    stored = max((project / ".kina-bench" / MACHINE).iterdir())
    capsys.readouterr()
    assert main(["report", str(stored)]) == 0
    text = capsys.readouterr().out
    assert "create[embedded-k8s1.36-api-n0-fresh-c1]" in text
    assert "gate passed: 1 series" in text
    assert "stored and accepted" in text
    many = _file(project, "many.json", *around(1.0, 21))
    assert main(["report", many, "--json"]) == 0
    assert _printed(capsys)["runs"][0]["series"][name("create")]["rounds"] == 21
    assert main(["report", "none.json"]) == 2


def test_report_shows_what_the_gate_said_when_the_run_ended(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of --kina-bench-json has the verdicts of its run; they are shown, not made anew."""
    verdict = judge(
        measured(document({"create": around(9.0)}), place="x"), load(project / ".kina-bench", MACHINE), Rules()
    )
    said = {"verdicts": [one.to_json() for one in verdict.verdicts], "notes": ["measured 3 of 4 further clusters"]}
    path = str(write(project / "run.json", document({"create": around(9.0)}, **said)))
    capsys.readouterr()
    assert main(["report", path]) == 0
    text = capsys.readouterr().out
    assert "REGRESSED" in text
    assert "note: measured 3 of 4 further clusters" in text
    assert main(["report", path, "--json"]) == 0
    assert _printed(capsys)["runs"][0]["gate"]["verdicts"][0]["name"] == "REGRESSED"


def test_report_writes_a_page_of_a_run_that_ended_earlier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a run's own file: everything that --kina-html shows, with the trend of the store."""
    made = outcome(tmp_path, lives(5, 3.0), runs=6)
    kina = {**made.document["kina"], "events": [one.to_json() for one in made.timings.events]}
    kina |= {
        "metrics": [one.to_json() for one in made.metrics],
        "verdicts": [one.to_json() for one in made.judgement.verdicts],
    }
    path = write(tmp_path / "run.json", {**made.document, "kina": kina})
    page = tmp_path / "page.html"
    assert main(["report", str(path), "--html", str(page), "--store", str(tmp_path / "store")]) == 0
    assert capsys.readouterr().out == f"kina report: {page}\n"
    text = page.read_text()
    for part in ("gate FAILED", "What happened when", "Samples of this run", "Trend over accepted runs", "420 MiB"):
        assert part in text
    assert text.split("<h3>create")[1].split("<h3>")[0].count('class="run"') == 6


def test_report_writes_a_page_of_a_stored_run_as_it_was_judged(project: Path) -> None:
    """Without events, and with the runs before it only; a run without verdicts is judged for its page."""
    stored = sorted((project / ".kina-bench" / MACHINE).iterdir())
    assert main(["report", str(stored[6]), "--html", "page.html"]) == 0
    text = (project / "page.html").read_text()
    assert "What happened when" not in text
    assert text.count('class="run"') == 6
    assert main(["report", _file(project, "slow.json", *around(2.2)), "--html", "page.html"]) == 0
    text = (project / "page.html").read_text()
    assert "gate FAILED" in text
    assert text.count('class="run"') == 10


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["a.json", "b.json", "--html", "page.html"], "--html with 2 files"),
        (["a.json", "--html", "missing/page.html"], "missing/page.html cannot be written: No such file"),
    ],
)
def test_report_says_what_a_page_cannot_be_made_of(
    project: Path, arguments: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One page per run, in a place that can be written: otherwise exit code 2 and a sentence."""
    for file in ("a.json", "b.json"):
        _file(project, file, *around(1.0))
    assert main(["report", *arguments]) == 2
    assert what in capsys.readouterr().err
    assert not (project / "page.html").exists()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--base", "HEAD", "--rounds", "4"], "fewer than 5"),
        ([], "both sides are the same"),
        (["--base", "no-such-ref"], "no-such-ref"),
        (["--base-env", "NONSENSE"], "expected NAME=VALUE"),
    ],
)
def test_ab_refuses_what_can_show_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong arguments cost no cluster."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.chdir(tmp_path)
    assert main(["ab", *arguments]) == 2
    assert what in capsys.readouterr().err


def test_the_project_names_the_store_and_the_number_of_samples(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What [tool.kina] says holds for the commands, too, and options come first."""
    (project / "pyproject.toml").write_text('[tool.kina]\ngate_store = "elsewhere"\ngate_samples = 7\n')
    path = _file(project, "new.json", *around(1.0))
    assert main(["gate", path, "--save"]) == 0
    assert [run.number for run in load(project / "elsewhere", MACHINE).runs] == [1]
    capsys.readouterr()
    assert main(["gate", path, "--store", ".kina-bench"]) == 0
    assert "fewer than 7 samples" in capsys.readouterr().out
    assert main(["gate", path, "--store", ".kina-bench", "--samples", "5"]) == 0
    assert "fewer than" not in capsys.readouterr().out


@pytest.mark.parametrize("samples", ["0", "2", "-1"])
def test_too_small_a_number_of_samples_is_refused(
    project: Path, samples: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A gate that nothing can fail is not what was asked for."""
    assert main(["gate", _file(project, "new.json", *around(1.0)), "--samples", samples]) == 2
    assert "nothing fails" in capsys.readouterr().err
