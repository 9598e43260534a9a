"""Writes everything that is made from something else: `python -m tools.generate` in the folder helm/."""

from tools import dashboards, manifests, slo, values_reference
from tools.chart import CHART, ROOT


def parts():
    """The chart's generated parts: their paths and texts."""
    files = {CHART / "README.md": values_reference.reference(), CHART / "monitoring" / "slos.yaml": slo.rules()}
    for name, text in dashboards.files().items():
        files[CHART / "monitoring" / "dashboards" / name] = text
    return files


def rendered():
    """Those that are made from the chart, with the others in it."""
    files = {}
    for profile in manifests.PROFILES:
        for name, text in manifests.manifests(profile).items():
            files[ROOT / "k8s" / profile / name] = text
    return files


def stale(files):
    """What is missing, different, or left over."""
    wrong = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    folders = {path.parent for path in files if path.parent not in {CHART, CHART / "monitoring"}}
    return wrong + [path for folder in folders if folder.exists() for path in folder.iterdir() if path not in files]


def write(files):
    """Brings the files up to date."""
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
