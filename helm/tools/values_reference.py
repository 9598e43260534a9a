"""Generates the chart's README.md. The comment above a value in values.yaml is its description."""

import json
import re
import textwrap

import yaml

from tools.chart import CHART

HEAD = """# Helm chart `switchboard`

Installs Switchboard (`api` and `signal-node`) on Kubernetes 1.30 or newer. Redis and MongoDB must
exist already. No secret is a value and the chart creates none: each secret is a key of an existing
Secret, so that an upgrade does not change it.

## Images

Build both images in the project's folder and load them into the cluster. Without Docker, `make
images` makes archives. For a `kind` cluster (`minikube image load` does the same for minikube):

```
make images
kind load image-archive target/images/api.tar
kind load image-archive target/images/signal-node.tar
```

The same with Docker:

```
docker build --target api --tag localhost/switchboard/api:0.1.0 .
docker build --target signal-node --tag localhost/switchboard/signal-node:0.1.0 .
kind load docker-image localhost/switchboard/api:0.1.0 localhost/switchboard/signal-node:0.1.0
```

For other clusters, tag the images with your registry's name, for example
`registry.example.org/switchboard/api:0.1.0`, `docker push` both, and set `image.repository` to
`registry.example.org/switchboard`.

## Evaluation

The page and its sockets need one common address, `frontendUrl`. Therefore an Ingress, a Gateway or
another proxy must route to both Services. This example installs ingress-nginx and forwards it to
<http://localhost:8080>:

```
helm upgrade --install --wait ingress-nginx ingress-nginx --repo https://kubernetes.github.io/ingress-nginx \\
  --namespace ingress-nginx --create-namespace --set controller.service.type=ClusterIP
kubectl create namespace calls
kubectl --namespace calls create secret generic switchboard \\
  --from-literal=JWT_ACCESS_SECRET=$(openssl rand -hex 32) --from-literal=JWT_REFRESH_SECRET=$(openssl rand -hex 32)
helm --namespace calls install --wait calls helm/switchboard --values helm/switchboard/ci/evaluation-values.yaml
helm --namespace calls test calls --logs
kubectl port-forward --namespace ingress-nginx service/ingress-nginx-controller 8080:80
```

With another ingress controller, set `ingress.className` and forward to its Service.

`helm test` tries for a minute, because network policies of a new release take some time. Its pod
stays for its logs until the next test, also after `helm uninstall`.

## Complete values

Each of these files in [ci/](ci) installs as it is, after the addresses and names of Secrets are
yours. [k8s/](../../k8s) has the first two as plain manifests.

| file | for |
|---|---|
| `evaluation-values.yaml` | a first try, with Redis and MongoDB of the chart |
| `production-values.yaml` | external stores, autoscaling, TLS, alerts, dashboards |
| `small-values.yaml` | everything, with coturn, in 1,100m CPU of requests |
| `cluster-tls-values.yaml` | Redis Cluster with TLS and a private CA, IPv6, a cloud load balancer |
| `sentinel-values.yaml` | Redis with Sentinels, TLS with a client certificate |
| `gateway-coturn-values.yaml` | the Gateway API, coturn, no network policies |
| `openshift-values.yaml` | ids that the SCC assigns, DNS on port 5353, PodMonitors |
| `argocd-values.yaml` | Argo CD: fixed digests, numbers of pods for the first sync |
| `mesh-values.yaml` | Istio with STRICT mutual TLS |
| `external-secrets-values.yaml` | Secrets and keys of an external store, agents, workload identity |

[docs/OPERATIONS.md](../../docs/OPERATIONS.md#kubernetes) describes operation and monitoring, and
what to know about autoscaling, Argo CD, meshes and OpenShift.
[docs/RUNBOOKS.md](../../docs/RUNBOOKS.md) has a runbook for each alert.

## Upgrades

Keep your values in a file and pass it to every `helm upgrade`. To keep the values of the release
instead, use `--reset-then-reuse-values`. `--reuse-values` also keeps the old chart's defaults, and
leaves out those of values that are new; the chart then refuses with the names that are missing.
[Upgrade](../../docs/OPERATIONS.md#upgrade) says what a new version does to the data.

## Values

`make k8s` generates this reference from the comments in `values.yaml`. The value in parentheses is
the default.
"""

KEY = re.compile(r"^( *)([A-Za-z0-9_]+):(.*)$")


def reference():
    """Returns the whole file."""
    # values.yaml begins with the values that are in no group.
    text = HEAD + "\n### General\n\n"
    for name, default, description in entries():
        if default is None:
            text += f"\n### `{name}`\n\n" + (f"{wrapped(description)}\n\n" if description else "")
        else:
            text += wrapped(f"- `{name}` ({default}): {description}", "  ") + "\n"
    return text


def wrapped(text, indent=""):
    """Wraps text at 100 columns; `indent` is for all lines but the first."""
    return textwrap.fill(text, 100, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)


def rows():
    """Yields (name, default, description) of each value that has a description."""
    return (entry for entry in entries() if entry[1] is not None)


def entries():
    """Yields the values like `rows`, and (name, None, description) for each group at the top."""
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
            # The members of a group have their own descriptions, unless the operator adds the
            # members.
            group = isinstance(value, dict) and value and not members_are_free(path)
            body = None if group else len(found[1])
            if group and depth == 0:
                yield path[0], None, text
            elif text and not group:
                yield ".".join(path), default_text(value), text
            comment = []
        elif not stripped:
            comment = []


def members_are_free(path):
    """Returns whether the value is a map that an operator fills; it is documented as a whole."""
    return path[-1] in {"resources", "labels", "affinity"}


def at(values, path):
    """Returns the value at a path."""
    for key in path:
        values = values[key]
    return values


def default_text(value):
    """Returns a default value as text, or a reference to values.yaml when it is long."""
    text = json.dumps(value)
    return f"`{text}`" if len(text) <= 60 else "see `values.yaml`"
