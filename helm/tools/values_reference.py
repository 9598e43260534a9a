"""README.md of the chart, from the comments in values.yaml: the lines above a value are what is told of it."""

import json
import re

import yaml

from tools.chart import CHART

HEAD = """# The chart `switchboard`

Runs Switchboard, `api` and `signal-node`, on Kubernetes 1.30 or newer, with a Redis and a MongoDB that are there already. No secret is a value, and none is
made by the chart: each is a key of a Secret that exists, so that an upgrade changes none.

## Images

Build both, in the project's folder, and bring them to where the cluster finds them. For a cluster of `kind` on this machine (`minikube image load` does the same for minikube):

```
docker build --target api --tag localhost/switchboard/api:0.1.0 .
docker build --target signal-node --tag localhost/switchboard/signal-node:0.1.0 .
kind load docker-image localhost/switchboard/api:0.1.0 localhost/switchboard/signal-node:0.1.0
```

For other clusters build them with your registry's name, `--tag registry.example.org/switchboard/api:0.1.0` and `.../signal-node:0.1.0`, `docker push` both, and set `image.repository` to
`registry.example.org/switchboard`.

## Try it

The page and its sockets must be at one address, `frontendUrl`, so something has to stand in front of both Services: an Ingress, a Gateway, or a proxy of yours. Here it is ingress-nginx,
which `kubectl port-forward` brings to <http://localhost:8080>:

```
helm upgrade --install --wait ingress-nginx ingress-nginx --repo https://kubernetes.github.io/ingress-nginx \\
  --namespace ingress-nginx --create-namespace --set controller.service.type=ClusterIP
kubectl create namespace calls
kubectl --namespace calls create secret generic switchboard \\
  --from-literal=JWT_ACCESS_SECRET=$(openssl rand -hex 32) --from-literal=JWT_REFRESH_SECRET=$(openssl rand -hex 32)
helm --namespace calls install --wait calls helm/switchboard --values helm/switchboard/ci/evaluation-values.yaml
helm --namespace calls test calls
kubectl port-forward --namespace ingress-nginx service/ingress-nginx-controller 8080:80
```

With another controller set `ingress.className`, and forward to its Service.

[ci/](ci) has complete values: for trying it out, for production, for Redis Cluster with TLS, for the Gateway API with coturn. [k8s/](../../k8s) has the first two
as plain manifests. [docs/OPERATIONS.md](../../docs/OPERATIONS.md) has what to watch,
[docs/RUNBOOKS.md](../../docs/RUNBOOKS.md) what to do when an alert fires.

## Values

Made from the comments in `values.yaml` by `make k8s`.

| value | default | |
|---|---|---|
"""

KEY = re.compile(r"^( *)([A-Za-z0-9_]+):(.*)$")


def reference():
    """The whole file."""
    return HEAD + "".join(f"| `{name}` | {default} | {text} |\n" for name, default, text in rows())


def rows():
    """(name, default, description) of each value that has a description."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    path, comment, body = [], [], None
    for line in (CHART / "values.yaml").read_text().splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            comment.append(stripped.lstrip("# "))
        elif (found := KEY.match(line)) and not (body is not None and len(found[1]) > body):
            depth = len(found[1]) // 2
            path = [*path[:depth], found[2]]
            value = at(values, path)
            text = " ".join(comment)
            # A group is told of by its members, unless its members are the operator's.
            group = isinstance(value, dict) and value and not members_are_free(path)
            body = None if group else len(found[1])
            if text and not group:
                yield ".".join(path), shown(value), text.replace("|", "\\|")
            comment = []
        elif not stripped:
            comment = []


def members_are_free(path):
    """Whether the value is a map that an operator fills: it is documented whole."""
    return path[-1] in {"resources", "labels"}


def at(values, path):
    """The value at a path."""
    for key in path:
        values = values[key]
    return values


def shown(value):
    """A default, short enough for a table."""
    text = json.dumps(value)
    return f"`{text}`" if len(text) <= 60 else "see `values.yaml`"
