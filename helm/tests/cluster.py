"""Fake Kubernetes API server with some Deployments, for the chart's `lookup`."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KINDS = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": "apps/v1",
    "resources": [{"name": "deployments", "singularName": "deployment", "kind": "Deployment", "namespaced": True, "verbs": ["get", "list"]}],
}


@contextmanager
def cluster(namespace, **replicas):
    """Runs a server with Deployments of these numbers of replicas. Yields its address."""
    items = [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace}, "spec": {"replicas": count}}
        for name, count in replicas.items()
    ]
    found = {"/apis/apps/v1": KINDS, f"/apis/apps/v1/namespaces/{namespace}/deployments": {"apiVersion": "apps/v1", "kind": "DeploymentList", "items": items}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.split("?")[0]
            missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            body = json.dumps(found.get(path, missing)).encode()
            self.send_response(200 if path in found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
