"""k8s/: the chart rendered for those who do not use Helm, one file for each template, and a kustomization that names them."""

from tools.chart import CHART, NAMESPACE, RELEASE, helm, sources

PROFILES = ["evaluation", "production"]
NOTE = "# Made from helm/switchboard and its ci/{}-values.yaml by `make k8s`; change those.\n"


def manifests(profile):
    """Name and text of each file of a profile."""
    out = helm("template", RELEASE, CHART, "--namespace", NAMESPACE, "--values", CHART / "ci" / f"{profile}-values.yaml", "--skip-tests").stdout
    files = {}
    for template, text in sources(out):
        files.setdefault(template.replace("/", "-"), []).append(text)
    note = NOTE.format(profile)
    named = {name: note + "---\n".join(texts) for name, texts in files.items()}
    listed = "".join(f"  - {name}\n" for name in sorted(named))
    head = f"apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: {NAMESPACE}\nresources:\n"
    return {**named, "kustomization.yaml": note + head + listed}
