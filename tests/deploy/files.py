"""The files that deploy and check a project, gathered over all answers, each content once."""

import hashlib
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from tests.matrix import Case

OVERLAYS = ("dev", "staging", "production")
# From a wheel, in the environment that runs the tests.
KUBECTL = str(Path(sys.executable).with_name("kubectl"))


def distinct_files(cases: Iterable[Case], pattern: str, target: Path) -> list[Path]:
    """Copy every distinct content of the files that match into a directory of its own."""
    copies: dict[str, Path] = {}
    for case in cases:
        for file in case.project.files:
            if not PurePosixPath(file).match(pattern):
                continue
            content = case.project.read(file)
            digest = hashlib.sha256(f"{file}\0{content}".encode()).hexdigest()
            if digest not in copies:
                # The first case's name tells where to look; the path below it has a meaning of
                # its own to some tools.
                copies[digest] = target / case.name / file
                copies[digest].parent.mkdir(parents=True, exist_ok=True)
                copies[digest].write_text(content, encoding="utf-8")
    return sorted(copies.values())


def distinct_manifests(cases: Iterable[Case], target: Path) -> list[Path]:
    """Write what kustomize makes of every overlay of every distinct set of manifests."""
    seen = set()
    written = []
    for case in cases:
        manifests = {
            file: case.project.read(file)
            for file in case.project.files
            if file.startswith("deploy/kubernetes/")
        }
        digest = hashlib.sha256(repr(sorted(manifests.items())).encode()).hexdigest()
        if not manifests or digest in seen:
            continue
        seen.add(digest)
        for overlay in OVERLAYS:
            path = target / case.name / f"{overlay}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(kustomize(case.project.path, overlay), encoding="utf-8")
            written.append(path)
    return written


def kustomize(project: Path, overlay: str) -> str:
    directory = project / "deploy" / "kubernetes" / "overlays" / overlay
    return subprocess.run(
        [KUBECTL, "kustomize", str(directory)], capture_output=True, check=True, text=True
    ).stdout
