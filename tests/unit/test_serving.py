"""Which certificate requests of kubelets are approved: those of expected nodes for themselves, as servers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_kina.providers.containers.serving import approve_serving

HONEST = {
    "signerName": "kubernetes.io/kubelet-serving",
    "username": "system:node:n",
    "groups": ["system:nodes"],
    "usages": ["digital signature", "server auth"],
}


class Api:
    """Certificate requests, and what is done to them; stands in for the probe."""

    def __init__(self, *specs: dict[str, Any], answer: int = 200) -> None:
        self.items = [{"metadata": {"name": f"csr-{n}"}, "spec": spec, "status": {}} for n, spec in enumerate(specs)]
        self.answer = answer
        self.approved: list[str] = []

    def get(self, _path: str) -> tuple[int, bytes]:
        """All requests."""
        return self.answer, json.dumps({"items": self.items}).encode()

    def request(self, _method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Approve one."""
        name = path.split("/")[-2]
        self.approved.append(name)
        assert json.loads(body)["status"]["conditions"][0]["type"] == "Approved"
        for item in self.items:
            if item["metadata"]["name"] == name:  # type: ignore[index]
                item["status"] = {"conditions": [{"type": "Approved"}], "certificate": "x"}
        return 200, b""


def test_honest_requests_are_approved_once() -> None:
    """Approved at the first look, nothing to do at the second."""
    api = Api(HONEST)
    assert approve_serving(api, ["n"]) == "no certificate yet for n"  # type: ignore[arg-type]
    assert approve_serving(api, ["n"]) == ""  # type: ignore[arg-type]
    assert api.approved == ["csr-0"]


@pytest.mark.parametrize(
    "change",
    [
        {"signerName": "kubernetes.io/kube-apiserver-client"},
        {"username": "system:node:other"},
        {"username": "mallory"},
        {"groups": ["system:authenticated"]},
        {"groups": None},
        {"usages": ["client auth"]},
        {"usages": ["server auth", "client auth"]},
        {"usages": []},
    ],
)
def test_other_requests_are_left_alone(change: dict[str, Any]) -> None:
    """Another signer, another node, no node, a client's certificate."""
    api = Api({**HONEST, **change})
    assert approve_serving(api, ["n"]) == "no certificate yet for n"  # type: ignore[arg-type]
    assert api.approved == []


def test_server_that_refuses_is_told() -> None:
    """The list cannot be read yet."""
    assert "was answered with 403" in approve_serving(Api(answer=403), ["n"])  # type: ignore[arg-type]
