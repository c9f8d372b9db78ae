"""Container images, built and run with what the machine has: a Docker engine, or Buildah as root.

Buildah needs no registry: its base images are made of Debian's packages and of uv's wheel, and get
the public names that the Dockerfile asks for. What it has built runs as the first process of
namespaces of its own, on a root file system that cannot be written.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import which
from tempfile import mkdtemp
from typing import Any, Protocol

import psutil

from tests.deploy.needs import lacks
from tests.deploy.running import running

# Debian's own Python, so that the base can be made without a registry.
PYTHON = "3.13"
PACKAGES = f"python{PYTHON},ca-certificates,openssl"
UV = "0.13.9"

# $1 is the root file system, $2 the user; volumes follow as pairs up to --, then the command.
CONTAINER = """
set -eu
root=$1 user=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
while [ "$1" != -- ]; do mount --bind "$1" "$root$2"; shift 2; done
shift
mount -o remount,ro,bind "$root"
exec chroot --userspec="$user" "$root" /usr/bin/env -i "$@"
"""


@dataclass(frozen=True)
class Image:
    name: str
    size: int
    seconds: float
    """What it took to build."""
    config: dict[str, Any]

    @property
    def variables(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for pair in self.config["Env"])


@dataclass(frozen=True)
class Entry:
    path: str
    mode: int
    owner: int


class Engine(Protocol):
    def build(self, context: Path, name: str) -> Image: ...

    def files(self, image: Image) -> list[Entry]: ...

    def start(
        self,
        image: Image,
        command: list[str],
        variables: Mapping[str, str],
        volumes: Mapping[Path, str],
        log: Path,
    ) -> AbstractContextManager["subprocess.Popen[bytes]"]:
        """Run the command, or the image's own, on the host's network and a read-only root.

        Signals sent to what is returned reach the first process of the container, and its exit
        code is that process's.
        """


def engine(directory: Path) -> Engine:
    if which("docker") and _succeeds("docker", "info"):
        return Docker()
    missing = [name for name in ("buildah", "debootstrap", "unshare") if not which(name)]
    if os.geteuid() != 0:
        missing.append("root")
    if missing:
        lacks(f"no Docker engine, and for Buildah there is no {', no '.join(missing)}")
    return Buildah(directory)


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _output(command: list[str], **options: Any) -> str:  # noqa: ANN401, passed on
    result = subprocess.run(
        command,
        check=False,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **options,
    )
    assert result.returncode == 0, result.stdout
    return str(result.stdout)


class Docker:
    def build(self, context: Path, name: str) -> Image:
        started = time.monotonic()
        _output(["docker", "build", "--tag", name, str(context)])
        seconds = time.monotonic() - started
        (found,) = json.loads(_output(["docker", "image", "inspect", name]))
        return Image(name, found["Size"], seconds, found["Config"])

    def files(self, image: Image) -> list[Entry]:
        container = _output(["docker", "create", image.name]).strip()
        export = ["docker", "export", container]
        try:
            with (
                subprocess.Popen(export, stdout=subprocess.PIPE) as process,
                tarfile.open(fileobj=process.stdout, mode="r|") as archive,
            ):
                return [Entry(f"/{file.name}", file.mode, file.uid) for file in archive]
        finally:
            _output(["docker", "rm", container])

    @contextmanager
    def start(
        self,
        image: Image,
        command: list[str],
        variables: Mapping[str, str],
        volumes: Mapping[Path, str],
        log: Path,
    ) -> Iterator["subprocess.Popen[bytes]"]:
        options = ["--rm", "--network=host", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL"]
        for name, value in variables.items():
            options += ["--env", f"{name}={value}"]
        for source, target in volumes.items():
            options += ["--volume", f"{source}:{target}"]
        # The client passes signals on, and ends as the container does.
        docker = ["docker", "run", *options, image.name, *command]
        with running(docker, Path("/"), os.environ, log) as process:
            yield process


class Buildah:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._mounted: dict[str, Path] = {}
        storage = ["--root", f"{directory}/store", "--runroot", f"{directory}/run"]
        self._buildah = ["buildah", *storage, "--storage-driver=vfs"]
        registries = directory / "registries.conf"
        registries.write_text('unqualified-search-registries = ["docker.io"]\n')
        self._environment = os.environ | {
            "BUILDAH_ISOLATION": "chroot",
            "CONTAINERS_REGISTRIES_CONF": str(registries),
        }
        self._make_bases()

    def build(self, context: Path, name: str) -> Image:
        options = ["--format=docker", "--pull-never", f"--build-arg=PYTHON_VERSION={PYTHON}"]
        # Where connections need certificates of their own, the build is lent this machine's.
        certificates = "/etc/ssl/certs/ca-certificates.crt"
        settings = self._directory / "uv.toml"
        settings.write_text("system-certs = true\n")
        options += [f"--volume={certificates}:{certificates}:ro"]
        options += [f"--volume={settings}:/etc/uv/uv.toml:ro"]
        started = time.monotonic()
        self._run("build", *options, "--tag", name, str(context))
        seconds = time.monotonic() - started
        found = json.loads(self._run("inspect", "--type=image", name))["Docker"]
        return Image(name, self._size(name), seconds, found["config"])

    def _size(self, name: str) -> int:
        (found,) = json.loads(self._run("images", "--json", name))
        number, unit = found["size"].split()
        return int(float(number) * {"KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])

    def files(self, image: Image) -> list[Entry]:
        root = self._mount(image)
        found = []
        for directory, directories, names in os.walk(root):
            for name in (*directories, *names):
                path = Path(directory, name)
                status = path.lstat()
                found.append(Entry(f"/{path.relative_to(root)}", status.st_mode, status.st_uid))
        return found

    @contextmanager
    def start(
        self,
        image: Image,
        command: list[str],
        variables: Mapping[str, str],
        volumes: Mapping[Path, str],
        log: Path,
    ) -> Iterator["subprocess.Popen[bytes]"]:
        pairs = [str(part) for pair in volumes.items() for part in pair]
        given = [f"{name}={value}" for name, value in (image.variables | dict(variables)).items()]
        arguments = [str(self._mount(image)), image.config["User"], *pairs, "--"]
        inside = [f"--chdir={image.config['WorkingDir']}", *given]
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", CONTAINER]
        with running(
            [*unshare, "sh", *arguments, *inside, *(command or image.config["Cmd"])],
            Path("/"),
            os.environ,
            log,
        ) as process:
            # `unshare` itself would not pass them on.
            process.send_signal = partial(_signal_child, process)  # type: ignore[method-assign]
            yield process

    def _mount(self, image: Image) -> Path:
        if image.name not in self._mounted:
            container = self._run("from", "--pull-never", image.name).strip()
            self._mounted[image.name] = Path(self._run("mount", container).strip())
        return self._mounted[image.name]

    def _make_bases(self) -> None:
        uv = self._directory / "uv"
        _output(["uv", "pip", "install", "--quiet", "--target", str(uv), f"uv=={UV}"])
        self._make_image(f"ghcr.io/astral-sh/uv:{UV}", uv / "bin" / "uv", "/uv")
        key = hashlib.sha256(PACKAGES.encode()).hexdigest()[:8]
        root = _cache() / f"python-{PYTHON}-trixie-{key}"
        if not root.exists():
            _make_root(root)
        self._make_image(f"docker.io/library/python:{PYTHON}-slim-trixie", root, "/")

    def _make_image(self, name: str, source: Path, target: str) -> None:
        container = self._run("from", "scratch").strip()
        self._run("add", "--quiet", container, str(source), target)
        path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
        self._run("config", "--env", path, container)
        self._run("commit", "--quiet", "--format=docker", container, name)
        self._run("rm", container)

    def _run(self, command: str, *arguments: str) -> str:
        return _output([*self._buildah, command, *arguments], env=self._environment)


def _cache() -> Path:
    directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return directory / "fastapi-template"


def _make_root(target: Path) -> None:
    """Install Debian with its Python, where images of Python have theirs."""
    target.parent.mkdir(parents=True, exist_ok=True)
    root = Path(mkdtemp(dir=target.parent))
    try:
        _fill_root(root)
        root.rename(target)
    except OSError:
        # Another run has made it meanwhile.
        if not target.exists():
            raise
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _fill_root(root: Path) -> None:
    mirror = "http://deb.debian.org/debian"
    debootstrap = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}"]
    _output([*debootstrap, "trixie", str(root), mirror])
    for name in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
        shutil.rmtree(root / name)
    for name in ("python", "python3", f"python{PYTHON}"):
        (root / "usr" / "local" / "bin" / name).symlink_to(f"/usr/bin/python{PYTHON}")
    root.chmod(0o755)


def _signal_child(process: "subprocess.Popen[bytes]", number: int) -> None:
    if process.poll() is None:
        for child in psutil.Process(process.pid).children():
            child.send_signal(number)
