"""The look of the report, and its head: outcome, commit, machine, and what was said about the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_kina import __version__
from pytest_kina.gate import outcome as sentence
from pytest_kina.html.svg import escaped

if TYPE_CHECKING:
    from pytest_kina.examination import Outcome

STYLE = """
:root{--bg:#fcfcfb;--card:#fff;--ink:#1c1b1a;--soft:#5f5d59;--rule:#e3e1dc;--good:#1a7f37;--bad:#c62828;
--warn:#9a6700;
--create:#2a78d6;--startup:#1baf7a;--kubectl:#8b5cd6;--reset:#e0871f;--delete:#d6456b;--install:#7a8b1f;
--load:#1297a8;
--other:#b9b6ae;--band:#2a78d622}
@media (prefers-color-scheme:dark){:root{--bg:#161615;--card:#1f1f1d;--ink:#f0efec;--soft:#a9a69f;--rule:#363530;
--good:#4ac26b;--bad:#ff6b6b;--warn:#e3b341;--create:#5598e7;--startup:#33c58f;--kubectl:#a98bea;--reset:#f0a04b;
--delete:#ee7a98;--install:#a8b948;--load:#3fbccb;--other:#67655f;--band:#5598e733}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:1.2rem}h1{font-size:1.45rem;margin:.2rem 0}h2{font-size:1.1rem;
margin:0 0 .6rem}
h3{font-size:.85rem;font-weight:600;margin:.8rem 0 .2rem;overflow-wrap:anywhere}
section{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:1rem;margin:1rem 0}
.outcome{font-weight:600;padding:.5rem .8rem;border-left:5px solid var(--good);background:var(--card);
overflow-wrap:anywhere}
.outcome.failed{border-color:var(--bad);color:var(--bad)}.outcome.none{border-color:var(--warn)}
.facts{color:var(--soft);font-size:.87rem;margin:.4rem 0;overflow-wrap:anywhere}ul{margin:.5rem 0;padding-left:1.2rem}
li{overflow-wrap:anywhere}.plot{overflow-x:auto}svg{display:block;width:100%;min-width:860px;height:auto}
svg text{fill:var(--ink);font:11px system-ui,sans-serif}svg .soft{fill:var(--soft)}.grid{stroke:var(--rule);
stroke-width:1}
table{border-collapse:collapse;font-size:.87rem;width:100%}th{text-align:left;color:var(--soft);font-weight:600}
th,td{padding:.25rem .6rem;border-bottom:1px solid var(--rule);vertical-align:top}.n{text-align:right;
white-space:nowrap;
font-variant-numeric:tabular-nums}td code{white-space:nowrap}code{font-size:.85em}
.v{font-weight:600;white-space:nowrap}.bad{color:var(--bad)}.good{color:var(--good)}.warn{color:var(--warn)}
.p-create{fill:var(--create)}.p-startup{fill:var(--startup)}.p-kubectl_ready{fill:var(--kubectl)}
.p-reset{fill:var(--reset)}.p-delete{fill:var(--delete)}.p-install{fill:var(--install)}.p-image_load{fill:var(--load)}
.p-other{fill:var(--other)}.broken{stroke:var(--bad);stroke-width:2}.band{fill:var(--band)}
.limit{stroke:var(--bad);stroke-width:1.5;stroke-dasharray:5 4}.base{stroke:var(--soft);stroke-width:1.5}
.run{fill:var(--create)}.ignored{fill:none;stroke:var(--soft);stroke-width:1.5}.now{fill:var(--good)}
.now.warn{fill:var(--warn)}.now.bad{fill:var(--bad)}.epoch{stroke:var(--reset);stroke-width:1.5;stroke-dasharray:2 3}
.legend{display:flex;flex-wrap:wrap;gap:.3rem 1rem;font-size:.82rem;color:var(--soft);margin:.3rem 0}
.legend svg{width:.8rem;min-width:.8rem;height:.8rem;display:inline-block;vertical-align:-.1rem;margin-right:.3rem}
.many{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:0 1.2rem}
.many svg{min-width:300px}
@media (max-width:600px){main{padding:.6rem}section{padding:.7rem}
td code{white-space:normal;overflow-wrap:anywhere;display:inline-block;min-width:8.5rem}th,td{padding:.25rem .35rem}}
@media print{:root{--bg:#fff;--card:#fff;--ink:#000;--soft:#444;--rule:#ccc}section{break-inside:avoid;border:0;
padding:0}
.plot{overflow:visible}svg{min-width:0}}
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title><style>{style}</style></head>
<body><main>{content}</main></body></html>
"""


def whole_page(title: str, content: str) -> str:
    """The file: ``title`` is text, ``content`` HTML."""
    return _PAGE.format(style=STYLE, title=escaped(title), content=content)


def header(outcome: Outcome) -> str:
    """The head of the page."""
    judged, document = outcome.judgement, outcome.document
    commit = document.get("commit_info") or {}
    state = "failed" if judged.failed else "" if judged.usable else "none"
    facts = [
        f"commit {str(commit.get('id', ''))[:12]}{' with changes' if commit.get('dirty') else ''}",
        f"branch {commit.get('branch', '')}",
        str(document.get("datetime", ""))[:19].replace("T", " ") + " UTC",
        f"machine {judged.machine}",
        f"pytest-kina {__version__}",
        *(f"incomplete: {why}" for why in outcome.timings.incomplete),
    ]
    notes = "".join(f"<li>{escaped(note)}</li>" for note in (*judged.notes, *outcome.said))
    return (
        f"<h1>{escaped(commit.get('project', 'pytest-kina'))}: timings of Kubernetes clusters</h1>"
        f'<p class="outcome {state}">{escaped(sentence(judged, "fail"))}</p>'
        f'<p class="facts">{escaped(" · ".join(facts))}</p><ul class="facts">{notes}</ul>\n'
    )
