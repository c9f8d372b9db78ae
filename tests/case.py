"""Generate one project under `build/case` and run its own checks: `make case ANSWERS="…"`."""

import shutil
import subprocess
import sys
from argparse import ArgumentParser

from tests import hygiene
from tests.projects import checks, environment, generate, snapshot
from tests.questions import REPOSITORY


def parse(answers: str) -> dict[str, str]:
    """`a=b,c=d` as a mapping."""
    pairs = (item.partition("=") for item in answers.split(",") if item)
    return {name.strip(): value.strip() for name, _, value in pairs}


def main(answers: str) -> int:
    directory = REPOSITORY / "build" / "case"
    shutil.rmtree(directory, ignore_errors=True)
    project = generate(snapshot(directory / "template"), directory / "project", parse(answers))
    print(f"Generated {project.path}", flush=True)

    failed = []
    if faults := hygiene.faults(project):
        print(*faults, sep="\n", flush=True)
        failed.append("hygiene")
    for name, command in checks(project.answers).items():
        print(f"\n── {name}: {' '.join(command)}", flush=True)
        if subprocess.run(command, cwd=project.path, env=environment(), check=False).returncode:
            failed.append(name)
    print(f"\nFailed: {', '.join(failed)}" if failed else "\nEverything passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("answers", help="preset=custom,layout=modular,…")
    sys.exit(main(parser.parse_args().answers))
