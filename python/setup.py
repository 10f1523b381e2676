"""Puts the server's binary into the wheel: planegym/bin/planegym.

It is the file that PLANEGYM_WHEEL_BINARY names, for the platform of
PLANEGYM_WHEEL_PLATFORM (release/build does that), or else what Go makes of the
clone around this folder. Where there is neither, or PLANEGYM_WHEEL_BINARY is
"none", the wheel has no binary and fits every platform.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import setuptools
from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
MODULE = "module github.com/planegym/planegym\n"


def binary() -> str | None:
    """The binary to include: a path, "build" for what Go makes, or None."""
    named = os.environ.get("PLANEGYM_WHEEL_BINARY", "")
    if named:
        return None if named == "none" else named
    mod = HERE.parent / "go.mod"
    if mod.is_file() and mod.read_text(errors="replace").startswith(MODULE) and shutil.which("go"):
        return "build"
    return None


class Build(build_py):
    """Adds the binary to the built package; the source folder stays as it is."""

    def run(self) -> None:
        super().run()
        source = binary()
        if source is None or self.editable_mode:  # an editable one is a clone, which launch builds
            return
        folder = Path(self.build_lib).resolve() / "planegym" / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        platform = os.environ.get("PLANEGYM_WHEEL_PLATFORM", sys.platform)
        target = folder / ("planegym.exe" if platform.startswith("win") else "planegym")
        if source != "build":
            shutil.copyfile(source, target)
            notices = Path(source).with_name("THIRD_PARTY_NOTICES")
            if notices.is_file():
                shutil.copyfile(notices, folder / notices.name)
        else:
            command = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(target)]
            print("building the server with Go; the first time takes a minute or two", flush=True)
            done = subprocess.run(
                [*command, "./cmd/planegym"],
                cwd=HERE.parent,
                env={**os.environ, "CGO_ENABLED": "0"},
                check=False,
            )
            if done.returncode:
                raise SystemExit(
                    "go build ./cmd/planegym failed, see above. PLANEGYM_WHEEL_BINARY=none "
                    "installs the client without the server."
                )
        target.chmod(0o755)


class Wheel(bdist_wheel):
    """Of any Python, and of the binary's platform."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = binary() is None

    def get_tag(self) -> tuple[str, str, str]:
        if self.root_is_pure:
            return "py3", "none", "any"
        named = os.environ.get("PLANEGYM_WHEEL_PLATFORM")
        return "py3", "none", named or super().get_tag()[2]


class Distribution(setuptools.Distribution):
    """Whose wheel goes where platforms' files go, if it has a binary."""

    def has_ext_modules(self) -> bool:
        return binary() is not None


setup(distclass=Distribution, cmdclass={"build_py": Build, "bdist_wheel": Wheel})
