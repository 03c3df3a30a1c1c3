"""What is shipped: the wheel holds every module of the source folders, and nothing beside them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("cascade", "validators")
BUILD_FILES = ("pyproject.toml", "README.md", "LICENSE")


def copy_checkout(target: Path, *, symlink: bool = True) -> Path:
    """Copies what a build reads, so that building leaves nothing in the checkout."""
    target.mkdir()
    for name in BUILD_FILES:
        shutil.copy(ROOT / name, target)
    for name in SOURCES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, target / name, symlinks=True, ignore=ignore)
    if not symlink:
        (target / "cascade" / "validators").unlink()
    return target


def build(kind: str, source: Path) -> Path:
    """Builds the "wheel" or "sdist" of `source` with the installed setuptools, offline."""
    script = f"from setuptools import build_meta; print(build_meta.build_{kind}('dist'))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return source / "dist" / done.stdout.splitlines()[-1]


def shipped(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def source_files() -> set[str]:
    """Every file of the two source folders, under the name it has in the wheel."""
    files: set[str] = set()
    for folder, package in (("cascade", "cascade"), ("validators", "cascade/validators")):
        for path in (ROOT / folder).rglob("*"):
            relative = path.relative_to(ROOT / folder)
            through_symlink = folder == "cascade" and relative.parts[0] == "validators"
            if path.is_file() and "__pycache__" not in relative.parts and not through_symlink:
                files.add(f"{package}/{relative.as_posix()}")
    return files


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", copy_checkout(tmp_path_factory.mktemp("wheel") / "checkout"))


def test_the_validators_folder_is_reached_through_a_symlink() -> None:
    link = ROOT / "cascade" / "validators"
    assert link.is_symlink()
    assert link.readlink() == Path("../validators")


def test_the_wheel_holds_every_source_file_and_no_other(wheel: Path) -> None:
    assert shipped(wheel) == source_files()


def test_the_wheel_is_typed_and_takes_no_foreign_top_level_name(wheel: Path) -> None:
    names = shipped(wheel)
    assert "cascade/py.typed" in names
    assert {name.split("/")[0] for name in names} == {"cascade"}


def test_the_wheel_carries_its_licence_and_its_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = next(n.split("/")[0] for n in archive.namelist() if ".dist-info/" in n)
        metadata = archive.read(f"{info}/METADATA").decode()
        scripts = archive.read(f"{info}/entry_points.txt").decode()
        assert f"{info}/licenses/LICENSE" in archive.namelist()
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert scripts.splitlines() == [
        "[console_scripts]",
        "cascade = cascade.cli:main",
        "",
        "[pytest11]",
        "cascade.pytest_plugin = cascade.pytest_plugin",
    ]


def test_a_checkout_without_the_symlink_builds_the_same_wheel(tmp_path: Path, wheel: Path) -> None:
    without = build("wheel", copy_checkout(tmp_path / "checkout", symlink=False))
    assert shipped(without) == shipped(wheel)


def test_the_sdist_builds_the_same_wheel(tmp_path: Path, wheel: Path) -> None:
    sdist = build("sdist", copy_checkout(tmp_path / "checkout"))
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert shipped(build("wheel", unpacked)) == shipped(wheel)
