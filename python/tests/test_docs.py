"""The programs of docs/python.md and docs/scale.md run; those whose library is missing are
skipped by name."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
if not DOCS.is_dir():
    pytest.skip("the pages are in the repository", allow_module_level=True)
BLOCKS = [
    (f"{page}-{i}", body)
    for page in ("python", "scale")
    for i, body in enumerate(
        re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.DOTALL)
    )
]


@pytest.mark.parametrize(("name", "code"), BLOCKS, ids=[n for n, _ in BLOCKS])
def test_block(name: str, code: str, binary: str, tmp_path: Path) -> None:
    needs = re.match(r"# needs: (.*)\n", code)
    modules = [m.strip() for m in needs[1].split(",")] if needs else []
    if "rgb_array" in code:
        modules.append("pygame")
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{name}: no {module}")
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=1800,
        env={**os.environ, "PYTHONPATH": path, "PLANEGYM_BIN": binary, "SDL_VIDEODRIVER": "dummy"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
