"""Paths of the chart, and functions that render it with Helm."""

import functools
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "switchboard"
# requirements.txt installs Helm into the folder of the Python that runs this.
HELM = Path(sys.executable).parent / "helm"

RELEASE = "calls"
NAMESPACE = "switchboard"


def helm(*arguments, check=True):
    """Runs Helm and returns the completed process. With `check`, a failure raises an exception."""
    command = [str(HELM), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=check)


@functools.cache
def render(values, *more, release=RELEASE):
    """Renders the chart with a values file of `ci/`. Returns (template, object) pairs."""
    out = helm("template", release, CHART, "--namespace", NAMESPACE, "--values", CHART / "ci" / f"{values}-values.yaml", *more).stdout
    return [(source, document) for source, text in sources(out) if (document := yaml.safe_load(text))]


def sources(text):
    """Splits rendered text into (template, text) pairs."""
    for part in text.split("\n---\n"):
        part = part.removeprefix("---\n").strip()
        if part:
            first, _, rest = part.partition("\n")
            yield first.removeprefix("# Source: switchboard/templates/"), rest.strip() + "\n"


def profiles():
    """Returns the names of the values files in `ci/`."""
    return sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
