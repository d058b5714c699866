"""Making a cluster: from its template where that works, else anew, and then a template is made of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from pytest_kina.cluster import Cluster, content
from pytest_kina.errors import KinaError, NotReadyError, ProvisionError
from pytest_kina.files import tail
from pytest_kina.providers import Place
from pytest_kina.providers.embedded import link, swept, templates, transient
from pytest_kina.providers.embedded.ending import end
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.providers.embedded.recipe import Recipe
from pytest_kina.providers.embedded.start import Start
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase, Stopwatch
from pytest_kina.waiting import Deadline

_log = logging.getLogger(__name__)
_SUPERVISOR_LINES = 20

Measure = Callable[[Phase], AbstractContextManager[None]]


def make(
    spec: ClusterSpec, place: Place, recipe: Recipe, stopwatch: Stopwatch, timeout: float, *, measure: Measure
) -> None:
    """Bring the cluster up in its place; ``stopwatch`` learns how it came about, ``measure`` times its phases.

    A template whose cluster does not get ready is removed, unless a passing cause or the content explains it, and the
    cluster is made anew in the time that is left of ``timeout`` seconds. Raises :class:`ProvisionError`;
    then nothing is left running.
    """
    deadline = Deadline(timeout)
    with starting(place):
        recipe.remember(Layout(place.directory))
    if (template := templates.find(recipe.template) or templates.find(recipe.base)) is not None:
        try:
            _attempt(spec, place, recipe, stopwatch, deadline, measure, template)
        except ProvisionError as error:
            if error.details.get("content") or transient.reason(error):
                raise
            template.discard(f"a cluster made of it did not get ready: {error.message.partition(chr(10))[0]}")
            if deadline.expired:
                raise
        else:
            return
    _attempt(spec, place, recipe, stopwatch, deadline, measure, None)


def _attempt(
    spec: ClusterSpec,
    place: Place,
    recipe: Recipe,
    stopwatch: Stopwatch,
    deadline: Deadline,
    measure: Measure,
    template: templates.Template | None,
) -> None:
    with starting(place):
        with measure(Phase.CREATE):
            start = Start(spec, place, recipe, deadline)
            link.entrust(place.name, start.link)
            stopwatch.amend(start=start.fill(template))
            start.launch()
        with measure(Phase.STARTUP):
            start.settle()
        with measure(Phase.KUBECTL_READY):
            start.prove_access()
        if spec.content and not start.is_whole:
            with measure(Phase.INSTALL):
                content.install(Cluster.open(place.directory), deadline)
        if recipe.etcdutl and not start.is_whole:
            _keep_template(start, recipe.etcdutl, measure)
        if recipe.sweep:
            _take_inventory(start, place, measure)


def _keep_template(start: Start, etcdutl: Path, measure: Measure) -> None:
    try:
        with measure(Phase.TEMPLATE):
            start.keep_template(etcdutl)
    except (KinaError, OSError) as error:  # the cluster is ready all the same; the next one will be fresh, too
        _log.warning("no template could be made: %s", error)


def _take_inventory(start: Start, place: Place, measure: Measure) -> None:
    try:
        with measure(Phase.TEMPLATE):
            start.finish()
            swept.remember(place.directory)
    except (KinaError, OSError) as error:  # the next reset is a restore
        _log.warning("the cluster cannot be swept later: %s", error)


@contextmanager
def starting(place: Place) -> Iterator[None]:
    """Whatever goes wrong in the block: nothing that it started is left, and the error says what happened."""
    try:
        yield
    except BaseException as error:
        end(place)
        if isinstance(error, link.LinkBroken):
            said = tail(Layout(place.directory).log("supervisor"), _SUPERVISOR_LINES)
            raise NotReadyError(
                f"cluster {place.name} could not be started: {error}"
                + (f"\nThe supervisor said:\n{said}" if said else ""),
                next_step="free what is short (ports, processes, memory, disk); nothing of this start is left running",
                cluster=place.name,
                rung="the supervisor works",
                component="supervisor",
            ) from error
        if isinstance(error, OSError):
            raise ProvisionError(
                f"cluster {place.name} could not be started in {place.directory}: {error}",
                next_step="check that the disk has room and that the directory is yours",
                cluster=place.name,
            ) from error
        raise
