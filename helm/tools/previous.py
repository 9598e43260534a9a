"""Records the present chart as the version before the next one, for tests/test_upgrade.py.

Run `python -m tools.previous` in helm/ when a version is released.
"""

import shutil

import yaml

from tools.chart import CHART, ROOT, profiles, render

FOLDER = ROOT / "helm" / "tests" / "previous"
NOTE = "# Of the version before the present one. Written by `python -m tools.previous` at its release.\n"
# Fields that Kubernetes does not allow to change. An upgrade that changes one of them fails.
FIXED = {"Deployment": ["selector"], "StatefulSet": ["selector", "serviceName", "volumeClaimTemplates"], "Service": ["clusterIP", "selector"]}


def fixed(objects):
    """Returns the fixed fields of objects, by kind and name."""
    found = {}
    for it in objects:
        if fields := FIXED.get(it["kind"]):
            found[f"{it['kind']}/{it['metadata']['name']}"] = {field: it["spec"].get(field) for field in fields}
    return found


def record():
    """Writes values, values files, and fixed fields."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "ci").mkdir(parents=True)
    (FOLDER / "values.yaml").write_text(NOTE + (CHART / "values.yaml").read_text())
    for path in (CHART / "ci").glob("*-values.yaml"):
        (FOLDER / "ci" / path.name).write_text(NOTE + path.read_text())
    objects = {profile: fixed(it for _, it in render(profile)) for profile in profiles()}
    (FOLDER / "fixed.yaml").write_text(NOTE + yaml.safe_dump(objects))


if __name__ == "__main__":
    record()
