"""Writes all generated files. Run `python -m tools.generate` in helm/, or `make k8s`."""

from tools import dashboards, manifests, slo, values_reference
from tools.chart import CHART, ROOT


def parts():
    """Returns path and text of each generated file of the chart."""
    files = {CHART / "README.md": values_reference.reference(), CHART / "monitoring" / "slos.yaml": slo.rules()}
    for name, text in dashboards.files().items():
        files[CHART / "monitoring" / "dashboards" / name] = text
    return files


def rendered():
    """Returns path and text of each manifest in k8s/, rendered from the chart."""
    files = {}
    for profile in manifests.PROFILES:
        for name, text in manifests.manifests(profile).items():
            files[ROOT / "k8s" / profile / name] = text
    return files


def stale(files):
    """Returns the paths of files that are missing, outdated or no longer generated."""
    wrong = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    folders = {path.parent for path in files if path.parent not in {CHART, CHART / "monitoring"}}
    return wrong + [path for folder in folders if folder.exists() for path in folder.iterdir() if path not in files]


def write(files):
    """Writes outdated files and deletes those that are no longer generated."""
    for path in stale(files):
        if path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path])
        else:
            path.unlink()
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    write(parts())
    write(rendered())
