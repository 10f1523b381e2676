"""A real server for the tests: PLANEGYM_BIN, or ./cmd/planegym built once."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import planegym
from fake import Fake

ROOT = Path(__file__).resolve().parents[2]

# Threads of torch that wait for each other on a busy machine are many times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A planegym that can serve."""
    named = os.environ.get("PLANEGYM_BIN")
    if named:
        return named
    go = shutil.which("go")
    if go is None:
        pytest.skip("no Go to build ./cmd/planegym with, and PLANEGYM_BIN is not set")
    out = tmp_path_factory.mktemp("bin") / "planegym"
    subprocess.run([go, "build", "-o", str(out), "./cmd/planegym"], cwd=ROOT, check=True)
    return str(out)


@pytest.fixture(scope="session")
def server(binary: str) -> Iterator[planegym.Server]:
    """One server for all tests that leave it alive."""
    with planegym.launch(binary=binary) as s:
        yield s


@pytest.fixture
def url(server: planegym.Server) -> str:
    return server.url


@pytest.fixture
def fake() -> Iterator[Fake]:
    """A server that does what a test tells it to."""
    with Fake() as f:
        yield f
