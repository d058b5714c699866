"""A small real operator: for each ``Greeting`` it keeps a ConfigMap with the greeting's text.

Run it as its own process, with the kubeconfig of its own ServiceAccount:

    python greeter.py KUBECONFIG NAMESPACE

It watches; it never polls. Ownership is a server-side apply with its own field manager and an owner reference, so that
the garbage collector removes the ConfigMap together with its Greeting, and a field that somebody else owns is left
alone and reported in the Greeting's status.
"""

import sys

from kubernetes import config, dynamic
from kubernetes.dynamic.exceptions import ApiException, ConflictError

MANAGER = "greeter"


class Greeter:
    """Reconciles the greetings of one namespace."""

    def __init__(self, kubeconfig: str, namespace: str) -> None:
        client = dynamic.DynamicClient(config.new_client_from_config(kubeconfig))
        self.greetings = client.resources.get(api_version="example.com/v1", kind="Greeting")
        self.config_maps = client.resources.get(api_version="v1", kind="ConfigMap")
        self.namespace = namespace

    def run(self) -> None:
        """Reconcile all that exists, then every change, for ever."""
        while True:
            listed = self.greetings.get(namespace=self.namespace)
            for greeting in listed.items:
                self.reconcile(greeting.to_dict())
            print("watching", flush=True)
            try:
                for event in self.greetings.watch(
                    namespace=self.namespace, resource_version=listed.metadata.resourceVersion
                ):
                    if event["type"] in {"ADDED", "MODIFIED"}:
                        self.reconcile(event["raw_object"])
            except ApiException as error:
                if error.status != 410:  # Gone: the watch's starting point was compacted, so list anew
                    raise

    def reconcile(self, greeting: dict) -> None:
        """Make the ConfigMap say what the Greeting asks for, and say in the status how that went."""
        name, text = greeting["metadata"]["name"], f"Hello, {greeting['spec']['who']}!"
        owner = {
            "apiVersion": greeting["apiVersion"],
            "kind": greeting["kind"],
            "name": name,
            "uid": greeting["metadata"]["uid"],
        }
        wanted = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "ownerReferences": [owner]},
            "data": {"text": text},
        }
        try:
            self.config_maps.server_side_apply(wanted, namespace=self.namespace, field_manager=MANAGER)
        except ConflictError:
            self.report(greeting, "Conflict", "somebody else owns data.text")
        else:
            self.report(greeting, "Ready", text)

    def report(self, greeting: dict, phase: str, message: str) -> None:
        """Write the status, unless it says so already (a write of our own must not wake us for ever)."""
        status = {"phase": phase, "message": message, "observedGeneration": greeting["metadata"]["generation"]}
        if greeting.get("status") != status:
            patch = {"status": status}
            self.greetings.status.patch(
                body=patch,
                name=greeting["metadata"]["name"],
                namespace=self.namespace,
                content_type="application/merge-patch+json",
            )


if __name__ == "__main__":
    Greeter(*sys.argv[1:]).run()
