"""Bill of materials of an image, as SPDX 2.3 in JSON.

It lists the crates that the program is made of (from `cargo metadata` and Cargo.lock), the npm
packages in the page (from the lock files of the page and of the client SDK), and the Debian
packages of the base.
"""

import base64
import hashlib
import json
import re
import subprocess
import tomllib
from datetime import datetime, timezone

NONE = "NOASSERTION"


def package(kind, name, version, license=None, checksum=None, namespace=""):
    """Returns one package. `checksum` is (algorithm, hexadecimal digits)."""
    location = f"{namespace}/{name}".strip("/").replace("@", "%40")
    found = {
        "SPDXID": "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", f"{kind}-{name}-{version}"),
        "name": name,
        "versionInfo": version,
        "downloadLocation": NONE,
        "filesAnalyzed": False,
        "licenseConcluded": NONE,
        # Older crates write `MIT/Apache-2.0`.
        "licenseDeclared": re.sub(r"\s*/\s*", " OR ", license or NONE),
        "copyrightText": NONE,
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": f"pkg:{kind}/{location}@{version.replace('+', '%2B')}"}],
    }
    if checksum:
        found["checksums"] = [{"algorithm": checksum[0], "checksumValue": checksum[1]}]
    return found


def crates(root, crate):
    """Returns the packages that a crate is made of: without dependencies of tests and builds."""
    host = re.search(r"host: (\S+)", subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout)[1]
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", host]
    metadata = json.loads(subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout)
    packages = {it["id"]: it for it in metadata["packages"]}
    nodes = {it["id"]: it for it in metadata["resolve"]["nodes"]}
    waiting = [next(id for id in metadata["workspace_members"] if packages[id]["name"] == crate)]
    seen = set()
    while waiting:
        id = waiting.pop()
        if id not in seen:
            seen.add(id)
            waiting += [it["pkg"] for it in nodes[id]["deps"] if any(kind["kind"] is None for kind in it["dep_kinds"])]
    locked = tomllib.loads((root / "Cargo.lock").read_text())["package"]
    checksums = {(it["name"], it["version"]): it.get("checksum") for it in locked}
    for it in (packages[id] for id in sorted(seen)):
        checksum = checksums.get((it["name"], it["version"]))
        yield package("cargo", it["name"], it["version"], it["license"], checksum and ("SHA256", checksum))


def npm(root):
    """Returns the npm packages that the page contains."""
    locks = [root / "sdk" / "js" / "package-lock.json", root / "web" / "package-lock.json"]
    locked = [item for lock in locks for item in json.loads(lock.read_text())["packages"].items()]
    for path, it in locked:
        if path and not it.get("dev"):
            algorithm, _, digest = it["integrity"].partition("-")
            checksum = (algorithm.upper(), base64.b64decode(digest).hex())
            yield package("npm", path.rpartition("node_modules/")[2], it["version"], it.get("license"), checksum)


def document(root, crate, name, program, debian, epoch, page):
    """Returns the document as bytes. `debian` has (name, version, architecture) of each package."""
    digest = hashlib.sha256(program).hexdigest()
    packages = [*crates(root, crate), *(npm(root) if page else [])]
    packages += [package("deb", it[0], it[1], namespace="debian") for it in debian]
    main = next(it for it in packages if it["name"] == crate)
    main["checksums"] = [{"algorithm": "SHA256", "checksumValue": digest}]
    related = [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": main["SPDXID"]}]
    related += [{"spdxElementId": main["SPDXID"], "relationshipType": "DEPENDS_ON", "relatedSpdxElement": it["SPDXID"]} for it in packages if it is not main]
    text = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"switchboard-{name}",
        # Must differ between documents.
        "documentNamespace": f"https://switchboard.invalid/spdx/{name}/{digest}",
        "creationInfo": {"created": datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), "creators": ["Tool: scripts/images"]},
        "packages": packages,
        "relationships": related,
    }
    return (json.dumps(text, indent=1, ensure_ascii=False) + "\n").encode()
