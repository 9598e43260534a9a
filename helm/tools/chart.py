"""The chart, and Helm to render it with."""

import functools
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "switchboard"
# The programs of requirements.txt are beside the Python that runs this.
HELM = Path(sys.executable).parent / "helm"

RELEASE = "calls"
NAMESPACE = "switchboard"


def helm(*arguments, check=True):
    """Runs Helm; what it says, unless `check` has a failure raised."""
    command = [str(HELM), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=check)


@functools.cache
def render(values, *more, release=RELEASE):
    """The objects of the chart with a file of `ci/`, and more arguments, as (template, object) pairs."""
    out = helm("template", release, CHART, "--namespace", NAMESPACE, "--values", CHART / "ci" / f"{values}-values.yaml", *more).stdout
    return [(source, document) for source, text in sources(out) if (document := yaml.safe_load(text))]


def sources(text):
    """Rendered text in its parts, each with the template that it came from."""
    for part in text.split("\n---\n"):
        part = part.removeprefix("---\n").strip()
        if part:
            first, _, rest = part.partition("\n")
            yield first.removeprefix("# Source: switchboard/templates/"), rest.strip() + "\n"


def profiles():
    """The names of the values in `ci/`."""
    return sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
