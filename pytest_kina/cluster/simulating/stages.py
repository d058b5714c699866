"""What kwok does differently while something is simulated: stages, in kwok's format ``kwok.x-k8s.io/v1alpha1``.

Of the stages that match an object, kwok plays those with a weight and ignores those without. All of ours have one and
the usual ones have none, so ours win as long as they are there; when they are gone, the usual ones take over. Every
status that is made here says so (:data:`SAYS`), and by that the stages in :data:`COMMON` find what to bring back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_kina.cluster.simulating.selectors import Expression

SAYS = "simulated by pytest-kina"
"""The beginning of every message in a status that a simulation has written."""

PROVISIONER = "pytest-kina"
"""``pv.kubernetes.io/provisioned-by`` of the volumes that are made for claims."""

Stage = dict[str, Any]

_FOREVER = 10 * 365 * 86_400_000  # milliseconds; a stage that never comes keeps all others from playing
_WAITING = ".status.containerStatuses[]?.state.waiting"
_READY = '.status.conditions[]? | select(.type == "Ready") | .status'
_ALIVE: Expression = {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}
_BACK_OFF = f"{SAYS}: back-off restarting failed container"
_STARTING = f"{SAYS}: the container starts slowly"

_UNREADY = """
{{ $now := Now }}
phase: %(phase)s
startTime: {{ or .status.startTime $now | Quote }}
conditions:
- {type: Initialized, status: "True", lastTransitionTime: {{ $now | Quote }}}
{{ range $type := list "ContainersReady" "Ready" }}
- type: {{ $type }}
  status: "False"
  reason: ContainersNotReady
  message: containers are not ready
  lastTransitionTime: {{ $now | Quote }}
{{ end }}
"""

_WAITING_CONTAINERS = """
containerStatuses:
{{ range .spec.containers }}
- {name: {{ .name | Quote }}, image: {{ .image | Quote }}, imageID: "", ready: false, started: false, restartCount: 0,
   state: {waiting: {reason: %(reason)s, message: "%(message)s"}}}
{{ end }}
"""

_CRASHED_CONTAINERS = """
containerStatuses:
{{ range .status.containerStatuses }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: false
  started: false
  restartCount: {{ add (atoi (print .restartCount)) 1 }}
  state: {waiting: {reason: CrashLoopBackOff, message: "%(message)s"}}
  lastState:
    terminated:
      exitCode: %(exit_code)d
      reason: Error
      message: "%(message)s"
      startedAt: {{ with .state.running }}{{ .startedAt | Quote }}{{ else }}{{ $now | Quote }}{{ end }}
      finishedAt: {{ $now | Quote }}
{{ end }}
"""

_RUNNING_AGAIN = """
{{ $now := Now }}
phase: Running
conditions:
{{ range $type := list "ContainersReady" "Ready" }}
- {type: {{ $type }}, status: "True", reason: "", message: "", lastTransitionTime: {{ $now | Quote }}}
{{ end }}
containerStatuses:
{{ range .status.containerStatuses }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: true
  started: true
  restartCount: {{ .restartCount }}
  state: {running: {startedAt: {{ $now | Quote }}}}
  {{ with .lastState }}
  lastState:
  {{ YAML . 2 }}
  {{ end }}
{{ end }}
"""

_NOT_READY = """
{{ $now := Now }}
conditions:
- type: Ready
  status: "False"
  reason: KubeletNotReady
  message: "%(message)s"
  lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $now | Quote }}
"""

_VOLUME = """
apiVersion: v1
kind: PersistentVolume
metadata:
  name: pvc-{{ .metadata.uid }}
  annotations: {pv.kubernetes.io/provisioned-by: %(provisioner)s}
spec:
  accessModes:
  {{ YAML .spec.accessModes 1 }}
  capacity: {storage: {{ .spec.resources.requests.storage | Quote }}}
  persistentVolumeReclaimPolicy: Delete
  storageClassName: {{ or .spec.storageClassName "" | Quote }}
  volumeMode: {{ or .spec.volumeMode "Filesystem" | Quote }}
  hostPath: {path: /simulated/{{ .metadata.uid }}}
  claimRef:
    apiVersion: v1
    kind: PersistentVolumeClaim
    namespace: {{ .metadata.namespace | Quote }}
    name: {{ .metadata.name | Quote }}
    uid: {{ .metadata.uid | Quote }}
"""


def failing(chosen: Sequence[Expression], reason: str) -> list[Stage]:
    """Pods whose containers cannot be started, for ``reason``."""
    waiting = f"{_WAITING}.reason"
    template = _UNREADY + _WAITING_CONTAINERS
    status = template % {"phase": "Pending", "reason": reason, "message": f"{SAYS}: {reason}"}
    pending = [*_pods(chosen), _is(".status.phase", "Pending")]
    return [
        _stage("fail", "Pod", [*pending, _is_not(waiting, reason)], status=status),
        _stage("stay", "Pod", [*pending, _is(waiting, reason)], status=status, delay=_FOREVER),
    ]


def slow(chosen: Sequence[Expression], seconds: float) -> list[Stage]:
    """Pods that become Ready late: in the first whole second that is at least ``seconds`` after their start.

    The delay counts from ``startTime`` (whole seconds), so that a new start of kwok does not begin it again.
    """
    template = _UNREADY + _WAITING_CONTAINERS
    words = {"phase": "Pending", "reason": "ContainerCreating"}
    pending = [*_pods(chosen), _is(".status.phase", "Pending")]
    until = f".status.startTime | fromdateiso8601 + {int(-(-seconds // 1)) + 1} | todateiso8601"
    begin = _stage(
        "begin",
        "Pod",
        [*pending, _is_not(f"{_WAITING}.reason", "ContainerCreating")],
        status=template % (words | {"message": _STARTING}),
        followed=True,
    )
    go_on = _stage(
        "go-on",
        "Pod",
        [*pending, _is(f"{_WAITING}.message", _STARTING)],
        status=template % (words | {"message": f"{SAYS}: the container starts now"}),
    )
    go_on["spec"]["delay"] = {"durationFrom": {"jq": {"expression": until}}}
    return [begin, go_on]


def crashing(chosen: Sequence[Expression], *, backoff: float, exit_code: int) -> list[Stage]:
    """Pods whose containers exit as soon as they run, wait ``backoff`` seconds, and run again."""
    pods = [*_pods(chosen), _is(".status.phase", "Running")]
    crashed = (_UNREADY + _CRASHED_CONTAINERS) % {"phase": "Running", "exit_code": exit_code, "message": _BACK_OFF}
    waiting = [*pods, _is(f"{_WAITING}.message", _BACK_OFF)]
    return [
        _stage("crash", "Pod", [*pods, _is(_READY, "True")], status=crashed, followed=True),
        _stage("restart", "Pod", waiting, status=_RUNNING_AGAIN, delay=round(backoff * 1000), followed=True),
    ]


def node_down(name: str) -> list[Stage]:
    """A node whose kubelet reports that it is not ready."""
    node = [{"key": ".metadata.name", "operator": "In", "values": [name]}]
    status = _NOT_READY % {"message": f"{SAYS}: the node is not ready"}
    return [
        _stage("down", "Node", [*node, _is_not(_READY, "False")], status=status),
        _stage("stay", "Node", [*node, _is(_READY, "False")], status=status, delay=_FOREVER),
    ]


def claims(chosen: Sequence[Expression], storage_class: str | None) -> list[Stage]:
    """Claims that get a volume of their own, as from a provisioner; the controller-manager binds the two."""
    of_class = [_is(".spec.storageClassName", storage_class)] if storage_class is not None else []
    unbound: Expression = {"key": ".spec.volumeName", "operator": "DoesNotExist"}
    stage = _stage("provision", "PersistentVolumeClaim", [_ALIVE, unbound, *of_class, *chosen])
    stage["spec"]["steps"] = [{"apply": {"template": _VOLUME % {"provisioner": PROVISIONER}}}]
    return [stage]


def _pods(chosen: Sequence[Expression]) -> list[Expression]:
    return [_ALIVE, *chosen]


def _is(key: str, *values: str) -> Expression:
    return {"key": key, "operator": "In", "values": list(values)}


def _is_not(key: str, *values: str) -> Expression:
    return {"key": key, "operator": "NotIn", "values": list(values)}


def _stage(
    name: str, kind: str, match: Sequence[Expression], *, status: str = "", delay: int = 0, followed: bool = False
) -> Stage:
    """A stage of ours; ``delay`` is in milliseconds, ``followed`` says that another one comes after it."""
    spec: dict[str, Any] = {
        "resourceRef": {"apiGroup": "v1", "kind": kind},
        "selector": {"matchExpressions": list(match)},
        "weight": 1,
    }
    if status:
        spec["next"] = {"statusTemplate": status}
    if delay:
        spec["delay"] = {"durationMilliseconds": delay}
    if followed:
        # A kwok that has just started sees an object twice, as it watches and as it lists its nodes' pods, and the
        # older sight displaces what was planned for the newer one. To play that again may change nothing, so that no
        # event tells of it, and kwok has to go on by itself (kwok 0.8, controllers/pod_controller.go, addStageJob).
        spec["immediateNextStage"] = True
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}, "spec": spec}


def _usual(stage: Stage, **action: Any) -> Stage:
    """A stage without weight: it plays when no simulation wants otherwise."""
    del stage["spec"]["weight"]
    stage["spec"].update(action)
    return stage


_STOPPED_BY_US = f'[{_WAITING}.message // "" | startswith("{SAYS}")] | any'
_RECOVER = [*_pods([_is(".status.phase", "Running")]), _is(_STOPPED_BY_US, "true")]
_MADE_BY_US = _is('.metadata.annotations["pv.kubernetes.io/provisioned-by"]', PROVISIONER)
_RECLAIM = [_ALIVE, _MADE_BY_US, _is(".status.phase", "Released", "Failed")]

COMMON: Mapping[str, Sequence[Stage]] = {
    "Pod": [_usual(_stage("recover", "Pod", _RECOVER, status=_RUNNING_AGAIN))],
    "PersistentVolumeClaim": [_usual(_stage("reclaim", "PersistentVolume", _RECLAIM), steps=[{"delete": True}])],
}
"""What stays until a reset once something of this kind was simulated: it cleans up after simulations.

Containers that a simulation has stopped run again, and volumes of ours go when their claims have gone.
"""
