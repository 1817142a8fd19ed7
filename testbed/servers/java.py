"""Java programs from Maven artifacts: fetched and built once into a cache, and run from there.

The project files are package data of `deploy`; a changed file is a new cache entry. Needs Java 17 and, once, Maven.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from schemas.errors import Misconfigured

NEEDED_JAVA = 17
NO_JAVA = (
    "Java 17 or newer is needed and `java` is not on the path. Install it (Debian: apt-get install openjdk-17-jre)."
)
NO_MAVEN = (
    "Maven is needed once to fetch {name} and `mvn` is not on the path. Install it (Debian: apt-get install maven)."
)


def cache_directory() -> Path:
    """Where fetched programs are kept: `VITALWIRE_CACHE`, else the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("VITALWIRE_CACHE") or Path(base) / "vitalwire")


def java_command() -> str:
    """The path of a `java` that is new enough; Misconfigured if there is none."""
    java = shutil.which("java")
    if java is None:
        raise Misconfigured(NO_JAVA)
    output = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=30).stderr  # noqa: S603
    version = re.search(r'version "(\d+)', output)
    if version is None or int(version[1]) < NEEDED_JAVA:
        raise Misconfigured(f"Java {NEEDED_JAVA} or newer is needed; {java} is older. Put a newer one on the path.")
    return java


def is_available(name: str) -> bool:
    """Whether this program can run: Java, and the jars or the Maven that fetches them."""
    try:
        java_command()
    except Misconfigured:
        return False
    return _place(name).is_dir() or shutil.which("mvn") is not None


def jars(name: str) -> Path:
    """The directory with every jar of `deploy/local/<name>`, built on first use (one process builds, others wait)."""
    place = _place(name)
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            _build(name, place)
    return place


def _sources(name: str) -> dict[str, bytes]:
    root = files("deploy") / "local" / name
    return dict(sorted(_walk(root, "")))


def _walk(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            if entry.name not in {"__pycache__", "target"}:
                yield from _walk(entry, f"{path}{entry.name}/")
        elif entry.name.endswith((".xml", ".java")):
            yield path + entry.name, entry.read_bytes()


def _place(name: str) -> Path:
    content = hashlib.sha256()
    for path, data in _sources(name).items():
        content.update(f"{path}\0{len(data)}\0".encode() + data)
    return cache_directory() / "java" / f"{name}-{content.hexdigest()[:16]}"


def _build(name: str, place: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise Misconfigured(NO_MAVEN.format(name=name))
    work = place.with_name(f"{place.name}.building")
    shutil.rmtree(work, ignore_errors=True)
    for path, data in _sources(name).items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_bytes(data)
    log = place.with_name(f"{name}.log")
    command = [maven, "--batch-mode", "--file", str(work / "pom.xml"), "package", f"-Dlib={work / 'lib'}"]
    with log.open("wb") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)  # noqa: S603
    if done.returncode != 0:
        raise Misconfigured(
            f"Maven could not fetch or build {name}. Its output is in {log}; check the network and retry."
        )
    (work / "lib").rename(place)
    shutil.rmtree(work)
