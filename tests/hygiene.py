"""What makes a generated project look written by hand. Each check yields its faults."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.projects import Project
from tests.questions import REPOSITORY

Check = Callable[[Project], Iterator[str]]

CHECKS: list[Check] = []


def check(function: Check) -> Check:
    CHECKS.append(function)
    return function


def lines(project: Project) -> Iterator[tuple[str, int, str]]:
    for file in project.files:
        for number, line in enumerate(project.read(file).split("\n"), start=1):
            yield file, number, line


@check
def no_jinja_is_left(project: Project) -> Iterator[str]:
    # `${{` and `${#` belong to GitHub Actions and to shells, and e-mails are templates themselves.
    for file, number, line in lines(project):
        if file.startswith("app/services/auth/templates/"):
            continue
        if file.endswith(".jinja") or re.search(r"(?<!\$)\{[{%#]|[%#]\}", line):
            yield f"{file}:{number}: {line.strip()}"


@check
def lines_end_as_they_should(project: Project) -> Iterator[str]:
    for file, number, line in lines(project):
        if line != line.rstrip() or "\ufeff" in line:
            yield f"{file}:{number}: space or carriage return at the end"
    for file in project.files:
        content = project.read(file)
        if content and (not content.endswith("\n") or content.endswith("\n\n")):
            yield f"{file}: does not end in one newline"


@check
def no_blank_line_too_many(project: Project) -> Iterator[str]:
    for file in project.files:
        content = project.read(file)
        # In Python two stand between definitions: the formatter's business.
        in_python = file.endswith((".py", ".mako", ".j2"))
        if content.startswith("\n") or (not in_python and "\n\n\n" in content):
            yield f"{file}: a blank line too many"
        # Left by a block that `trim_blocks` does not trim, such as `raw`. A dash indents, too.
        if file.endswith((".yml", ".yaml")):
            opened = r"^( *)([\w.\"'-]+:)\n\n(?=\1 +\S)"
            for _, key in re.findall(opened, content.replace("- ", "  "), re.MULTILINE):
                yield f"{file}: a blank line after {key}"


@check
def no_directory_is_empty(project: Project) -> Iterator[str]:
    for directory in project.path.rglob("*/"):
        if not any(directory.iterdir()):
            yield f"{directory.relative_to(project.path)}: empty"


@check
def every_file_parses(project: Project) -> Iterator[str]:
    for file in project.files:
        parse = PARSERS.get(PurePosixPath(file).suffix)
        if parse:
            try:
                parse(project.read(file))
            except (ValueError, SyntaxError, yaml.YAMLError) as error:
                yield f"{file}: {error}"


def _parse_yaml(text: str) -> object:
    return list(yaml.safe_load_all(text))


PARSERS: dict[str, Callable[[str], object]] = {
    ".json": json.loads,
    ".py": ast.parse,
    ".toml": tomllib.loads,
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
}


@check
def ruff_is_content(project: Project) -> Iterator[str]:
    for arguments in (["format", "--check", "--diff"], ["check", "--output-format=concise"]):
        result = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, "--no-cache", "--quiet", "."],
            cwd=project.path,
            check=False,
            capture_output=True,
            encoding="utf-8",
        )
        if result.returncode:
            yield result.stdout + result.stderr


# Words that must not occur where their option was not chosen, by the answers that choose it.
WORDS: list[tuple[str, Callable[[Project], bool]]] = [
    (r"postgres|asyncpg|pgserver|psql", lambda p: p.answers["database"] == "postgresql"),
    (
        r"sqlite|sqlalchemy|sqlmodel|alembic|database|migrat(e|ion)",
        lambda p: p.answers["database"] != "none",
    ),
    (
        # Not `password` or `login` alone: databases and registries have them too.
        (
            r"\bjwt|jwks|\blog(s|ged)? in\b|/login|sign.?up|argon2|pwdlib|refresh.token"
            r"|\bpasswords\b|(current|new|forgot|reset|hash\w*).password"
        ),
        lambda p: p.answers["auth"] in {"jwt", "oauth2"},
    ),
    (r"bearer", lambda p: p.answers["auth"] != "none"),
    (r"oidc|openid|authlib", lambda p: p.answers["auth"] == "oauth2"),
    (r"api[-_ ]?keys?\b", lambda p: p.answers["auth"] == "api_key"),
    (r"docker|\bcompose\b|hadolint", lambda p: p.answers["deploy"] in {"docker", "kubernetes"}),
    (r"kubernetes|kubectl|kustom|\bk8s\b|\bhelm\b", lambda p: p.answers["deploy"] == "kubernetes"),
    (r"vercel|serverless", lambda p: p.answers["deploy"] == "vercel"),
    (r"github actions|\.github/", lambda p: p.answers["ci"] == "github"),
    (r"gitlab", lambda p: p.answers["ci"] == "gitlab"),
    (r"import[-_ ]?linter|lint-imports", lambda p: p.answers["layout"] == "modular"),
    (r"\bMIT\b", lambda p: p.answers["license"] == "mit"),
    (r"apache", lambda p: p.answers["license"] == "apache-2.0"),
    (r"\bbsd\b", lambda p: p.answers["license"] == "bsd-3-clause"),
    (r"proprietary|all rights reserved", lambda p: p.answers["license"] == "proprietary"),
]
NAMING_OTHERS = {
    ".copier-answers.yml",  # names what was not chosen: `auth: none`
    "scripts/deploy_to_vercel.sh",  # Vercel's API takes a bearer token
    "tests/database/test_autogenerate.py",  # migrations run on both databases
}
WORD_PATTERNS = [(re.compile(pattern, re.IGNORECASE), chosen) for pattern, chosen in WORDS]


@check
def nothing_is_mentioned_that_was_not_chosen(project: Project) -> Iterator[str]:
    unwanted = [pattern for pattern, chosen in WORD_PATTERNS if not chosen(project)]
    for file, number, line in lines(project):
        # A directory of another answer is ignored, so that a change of answers does not get it
        # committed.
        if file in NAMING_OTHERS or line.removeprefix("**/") == ".postgresql/":
            continue
        for pattern in unwanted:
            if found := pattern.search(line) or (number == 1 and pattern.search(file)):
                yield f"{file}:{number}: mentions {found[0]!r}: {line.strip()}"


@check
def every_dependency_is_a_reserved_name(project: Project) -> Iterator[str]:
    settings = tomllib.loads(project.read("pyproject.toml"))
    groups = settings.get("dependency-groups", {}).values()
    requirements = (*settings["project"]["dependencies"], *(r for g in groups for r in g))
    names = [re.split(r"[^A-Za-z0-9_.-]", requirement)[0] for requirement in requirements]
    for name in unreserved(names):
        yield f"{name}: not among `dependencies` in extensions/names.jinja"


def unreserved(names: Iterable[str]) -> list[str]:
    """Return the distributions that a project could be called like, and then not depend on."""
    return [name for name in names if f"'{re.sub(r'[-_.]+', '-', name).lower()}'" not in NAMES]


def locked(project: Project) -> list[str]:
    """Return what an installed project has locked, itself apart."""
    lock = tomllib.loads((project.path / "uv.lock").read_text(encoding="utf-8"))
    slug = project.answers["project_slug"]
    return [package["name"] for package in lock["package"] if package["name"] != slug]


NAMES = (REPOSITORY / "extensions" / "names.jinja").read_text(encoding="utf-8")


@check
def documents_point_at_what_exists(project: Project) -> Iterator[str]:
    targets = set(re.findall(r"^([a-z-]+):", project.read("Makefile"), re.MULTILINE))
    for file in project.files:
        if not file.endswith(".md"):
            continue
        text = project.read(file)
        for target in re.findall(r"(?:^\s*(?:\$ )?|`)make ([a-z-]+)", text, re.MULTILINE):
            if target not in targets:
                yield f"{file}: `make {target}` is not in the Makefile"
        for link in _links(text):
            if ":" not in link and not link.startswith("#"):
                target = link.partition("#")[0]
                if not (project.path / file).parent.joinpath(target).exists():
                    yield f"{file}: links to {link}, which is missing"
        for path in _paths(text):
            if not (project.path / path).exists():
                yield f"{file}: names {path}, which is missing"


@check
def documents_name_tests_that_exist(project: Project) -> Iterator[str]:
    tests = set(_tests(project))
    for file in project.files:
        if file.endswith(".md"):
            for test in re.findall(r"`(test_\w+)`", project.read(file)):
                if test not in tests:
                    yield f"{file}: names {test}, which is missing"


def _tests(project: Project) -> Iterator[str]:
    for file in project.files:
        if re.fullmatch(r"tests/(.+/)?test_\w+\.py", file):
            yield from re.findall(r"(?m)^\s*(?:async )?def (test_\w+)", project.read(file))


def _links(markdown: str) -> Iterator[str]:
    for token in _tokens(markdown):
        link = token.attrGet("href") or token.attrGet("src")
        if link:
            yield str(link)


def _paths(markdown: str) -> Iterator[str]:
    """What code in it names of the application, its suite and its scripts."""
    for token in _tokens(markdown):
        if token.type in {"code_block", "code_inline", "fence"}:
            yield from re.findall(
                r"(?<![\w./-])(?:app|migrations|scripts|tests)/[\w./-]*", token.content
            )


def _tokens(markdown: str) -> Iterator[Token]:
    for block in MarkdownIt("gfm-like").parse(markdown):
        yield block
        yield from block.children or []


@check
def example_environment_lists_every_setting(project: Project) -> Iterator[str]:
    settings = set(_settings(project))
    if not settings and ".env.example" not in project.files:
        return
    example = project.read(".env.example")
    listed = set(re.findall(r"^(?:# ?)?([A-Z][A-Z0-9_]+)=", example, re.MULTILINE))
    for name in sorted(settings ^ listed):
        yield f".env.example: {name} is {'missing' if name in settings else 'not a setting'}"


def _settings(project: Project) -> Iterator[str]:
    """Names of the fields of every settings class."""
    for file in project.files:
        if not file.startswith("app/") or not file.endswith(".py"):
            continue
        for node in ast.walk(ast.parse(project.read(file))):
            if isinstance(node, ast.ClassDef) and any(
                isinstance(base, ast.Name) and "Settings" in base.id for base in node.bases
            ):
                for field in node.body:
                    if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                        yield field.target.id.upper()


def faults(project: Project) -> list[str]:
    return [f"{check.__name__}: {fault}" for check in CHECKS for fault in check(project)]


def copy_with(project: Project, target: Path, file: str, content: str) -> Project:
    """The project with one file written or added to, elsewhere."""
    for name in project.files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes((project.path / name).read_bytes())
    path = target / file
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", newline="") as stream:
        stream.write(content)
    return Project(target, project.answers)
