"""Update the project from its template, and check the result.

    make update [ANSWERS="key=value,…"]
    make update-finish

Copier succeeds even if it leaves conflict markers, or removes a changed file that the template no
longer has. This script reports both. It needs Python, git and uv.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

COPIER = "uv tool run copier@9.19.1"
PROJECT = Path(__file__).resolve().parent.parent
ANSWERS = Path(".copier-answers.yml")
# Added to the name of a file that the template removed and that was changed in the project.
KEPT = ".yours"

UNFINISHED, REFUSED = 1, 2

_NOT_TEXT = (OSError, UnicodeError)


def main() -> int:
    """Run the command in the project's directory."""
    parser = argparse.ArgumentParser(prog="scripts/update.py", description="Update the project.")
    parser.add_argument("--answers", default="", help="answers to change: key=value,…")
    parser.add_argument("--check", action="store_true", help="fail if anything is unresolved")
    parser.add_argument("--notices", action="store_true", help="print the news before a deployment")
    parser.add_argument("--markers", nargs="*", help="fail if these files have conflict markers")
    arguments = parser.parse_args()
    os.chdir(PROJECT)
    if arguments.markers is not None:
        return _report("Conflict markers are left:", _markers(map(Path, arguments.markers)))
    if arguments.check:
        return check()
    return notices() if arguments.notices else update(arguments.answers)


def update(answers: str) -> int:
    """Run Copier, and report what must be resolved by hand."""
    before = _check_project()
    command = [*_copier(), "update", "--defaults", "--quiet"]
    for answer in filter(None, answers.split(",")):
        command += ["--data", answer]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        reason = (process.stderr or process.stdout).strip().splitlines()
        _refuse(f"Copier failed: {reason[-1] if reason else process.returncode}")
    after = _recorded("_commit")
    print(f"From release {before} to {after}.")
    _keep_changed_files()
    code = _report("To resolve:", _unresolved())
    _print_notices(before, after)
    if code:
        print("\nResolve each, looking at both sides, then run `make update-finish`.")
    else:
        print("\nRun `make update-finish`, look at `git diff`, then commit.")
    return code


def check() -> int:
    """Refuse to finish while anything is unresolved."""
    return _report("To resolve before the update can be finished:", _unresolved())


def notices() -> int:
    """Print the notices of the releases since the last commit."""
    committed = _git("show", f"HEAD:./{ANSWERS}", check=False)
    _print_notices(_recorded("_commit", committed), _recorded("_commit"))
    print("\nThe update is finished: commit it.")
    return 0


def _check_project() -> str:
    """Return the release that the project is at, or refuse with the way out."""
    if _git("rev-parse", "--is-inside-work-tree", check=False).strip() != "true":
        _refuse("this is not a git repository: run `git init`, commit everything, then try again")
    if _git("status", "--porcelain"):
        _refuse("there are changes that are not committed: commit or stash them, then try again")
    if not ANSWERS.exists():
        _refuse(f"{ANSWERS} is missing: restore it from git; it has the answers and the release")
    release, source = _recorded("_commit"), _recorded("_src_path")
    if not release or not source:
        _refuse(
            f"{ANSWERS} has no release: the project was made from a directory that is not a git "
            "repository; make it again from the address of the template"
        )
    if source.startswith((".", "/")) and not Path(source).exists():
        _refuse(f"the template is not at {source}: correct `_src_path` in {ANSWERS}, and commit it")
    return release


def _copier() -> list[str]:
    """Return the command for Copier, in the version that the template is tested with."""
    uv = os.environ.get("UV", "uv")
    return shlex.split(os.environ.get("COPIER", COPIER.replace("uv", shlex.quote(uv), 1)))


def _recorded(name: str, text: str | None = None) -> str:
    text = ANSWERS.read_text(encoding="utf-8") if text is None else text
    found = re.search(rf"^{name}: (.+)$", text, re.MULTILINE)
    return found[1].strip().strip("'\"") if found else ""


def _keep_changed_files() -> None:
    """Save a copy of each changed file that Copier removed, beside its old place."""
    # The commit that brought the last update, or the project itself.
    base = _git("log", "-1", "--format=%H", "-G^_commit:", "--", str(ANSWERS)).strip()
    for file in _git("ls-files", "--deleted", "-z").split("\0"):
        if not file:
            continue
        # A file of the project's own has no version there; Copier does not remove it.
        if _git("diff", "--name-only", "--relative", base, "HEAD", "--", file):
            kept = Path(file + KEPT)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(_git("show", f"HEAD:./{file}"), encoding="utf-8")


def _unresolved() -> Iterator[str]:
    files = [
        Path(name)
        for name in _git("ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
        if name and Path(name).is_file()
    ]
    yield from _markers(files)
    for file in files:
        if file.suffix == ".rej":
            yield f"{file}: a change that did not fit; make it by hand, then delete this file"
        if file.name.endswith(KEPT):
            place = str(file).removesuffix(KEPT)
            yield (
                f"{file}: the template moved or removed {place}, which you had changed; "
                "take your change to its new place, then delete this file"
            )


def _markers(files: Iterable[Path]) -> Iterator[str]:
    """Describe each conflict, as Copier and git mark them."""
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except _NOT_TEXT:
            continue
        start = middle = None
        for number, line in enumerate(lines, start=1):
            if line.startswith("<<<<<<< "):
                start, middle = number, None
            elif line == "=======" and start:
                middle = number
            elif line.startswith(">>>>>>> "):
                if start and middle:
                    yours, theirs = middle - start - 1, number - middle - 1
                    yield (
                        f"{file}:{start}: you have {_lines(yours)}, "
                        f"the template has {_lines(theirs)} for the same place"
                    )
                else:
                    yield f"{file}:{number}: a part of a conflict marker"
                start = middle = None
        if start:
            yield f"{file}:{start}: a part of a conflict marker"


def _lines(count: int) -> str:
    return {0: "nothing", 1: "1 line"}.get(count, f"{count} lines")


def _report(title: str, faults: Iterable[str]) -> int:
    faults = list(faults)
    if faults:
        print(title, *(f"  {fault}" for fault in faults), sep="\n")
    return UNFINISHED if faults else 0


def _print_notices(before: str, after: str) -> None:
    """Print the notices of the releases after `before`, up to `after`."""
    file = Path("scripts/notices.json")
    notices: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    env = Path(".env").read_text(encoding="utf-8") if Path(".env").is_file() else ""
    lines = []
    for notice in notices:
        if _version(before) < _version(notice["release"]) <= _version(after):
            lines.append(f"  {notice['release']}: {notice['notice']}")
            lines += [
                f"  {notice['release']}: .env has {name}, which is no longer read"
                for name in notice.get("removed_settings", [])
                if re.search(rf"^(export )?{name}=", env, re.MULTILINE)
            ]
    if lines:
        print("\nBefore you deploy:", *lines, sep="\n")


def _version(release: str) -> tuple[int, ...]:
    """Return the numbers of `1.2.3`, `v1.2.3` and `1.2.3-4-gabcdef0`; none for a bare commit."""
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", release)
    return tuple(map(int, found.groups())) if found else ()


def _git(*words: str, check: bool = True) -> str:
    process = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    if check and process.returncode:
        _refuse(f"git {words[0]} failed: {process.stderr.strip()}")
    return process.stdout


def _refuse(reason: str) -> NoReturn:
    print(f"update: {reason}", file=sys.stderr)
    raise SystemExit(REFUSED)


if __name__ == "__main__":
    sys.exit(main())
