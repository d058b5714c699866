"""Label selectors, as ``kubectl`` takes them, in the words of kwok's stages.

Grammar: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

_LABEL = r"(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9](?:[-\w.]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-\w.]*[A-Za-z0-9])?)?"
_EQUALITY = re.compile(rf"({_LABEL})\s*(==|=|!=)\s*({_VALUE})")
_SET = re.compile(rf"({_LABEL})\s+(in|notin)\s+\(\s*({_VALUE}(?:\s*,\s*{_VALUE})*)\s*\)")
_EXISTENCE = re.compile(rf"(!?)\s*({_LABEL})")

Expression = dict[str, Any]


def expressions(selector: str) -> list[Expression]:
    """What kwok calls ``matchExpressions`` for a label selector: ``app=web,tier!=db,zone in (a,b),!old``.

    Raises :class:`ValueError` naming the part that is none. An empty selector is refused too: whoever means all
    objects says so with ``"*"``.
    """
    if selector.strip() == "*":
        return []
    if not selector.strip():
        raise ValueError("the selector is empty; write '*' when everything is meant")
    return [_expression(part.strip()) for part in _parts(selector)]


def _parts(selector: str) -> list[str]:
    """The requirements: between commas that are not within brackets."""
    return re.split(r",(?![^()]*\))", selector)


def _expression(part: str) -> Expression:
    if match := _EQUALITY.fullmatch(part):
        label, operator, value = match.groups()
        return _requirement(label, "NotIn" if operator == "!=" else "In", [value])
    if match := _SET.fullmatch(part):
        label, operator, values = match.groups()
        return _requirement(label, "In" if operator == "in" else "NotIn", re.split(r"\s*,\s*", values.strip()))
    if match := _EXISTENCE.fullmatch(part):
        return _requirement(match[2], "DoesNotExist" if match[1] else "Exists", [])
    raise ValueError(f"{part!r} is no label requirement; expected forms: app=web, app!=web, app in (a,b), app, !app")


def _requirement(label: str, operator: str, values: Sequence[str]) -> Expression:
    made: Expression = {"key": f".metadata.labels[{json.dumps(label)}]", "operator": operator}
    return {**made, "values": list(values)} if values else made
