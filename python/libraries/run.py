"""Run planegym with the libraries that people use, each in an environment of its own,
since their pins conflict; print the table of docs/python.md.

    python libraries/run.py                      # all; the first time fetches gigabytes
    python libraries/run.py sb3 minari
    python libraries/run.py --torch-index https://download.pytorch.org/whl/cpu

A check is a file beside this one: it reads PLANEGYM_URL and fails by an exception. Its
first lines say what it needs (`# needs: …`) and what it shows (`# shows: …`). After it run
the programs of docs/python.md that need the library. By hand or weekly: the libraries'
newest versions are installed, unless a version is pinned there.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import planegym  # noqa: E402


def name(check: Path) -> str:
    """The library of check_LIBRARY.py."""
    return check.stem.removeprefix("check_")


def head(check: Path, word: str) -> str:
    """What a check's first lines say after a word."""
    found = re.search(rf"^# {word}: (.*)$", check.read_text(), re.MULTILINE)
    return found[1] if found else ""


MODULES = {"sb3": "stable_baselines3", "rllib": "ray", "cleanrl": "torch"}


def programs(check: Path) -> list[str]:
    """The programs of docs/python.md whose first need is a check's library."""
    page = HERE.parents[1] / "docs/python.md"
    found = re.findall(r"```python\n(.*?)```", page.read_text() if page.exists() else "", re.DOTALL)
    module = MODULES.get(name(check), name(check))
    return [code for code in found if re.match(rf"# needs: {module}\b", code)]


def environment(check: Path, args: argparse.Namespace) -> Path:
    """The Python of a check's environment, made where it is missing."""
    folder = args.venvs / name(check)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if python.exists():
        return python
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    needs = head(check, "needs").split()
    if args.torch_site:
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "zz_torch.pth").write_text(f"{args.torch_site}\n")
    elif "torch" in needs and args.torch_index:
        index = ["--index-url", args.torch_index]
        subprocess.run([python, "-m", "pip", "install", "-q", "torch", *index], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", *needs], check=True)
    return python


def versions(python: Path, needs: list[str]) -> str:
    """The versions of the first two packages that a check needs."""
    names = [re.split(r"[\[=<>]", n)[0] for n in needs if n not in ("torch", "gymnasium")][:2]
    code = (
        "import importlib.metadata as m, sys\n"
        "print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    )
    names = list(dict.fromkeys([*names, "gymnasium"]))
    done = subprocess.run([python, "-c", code, *names], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="checks to run; default: all")
    cache = Path.home() / ".cache/planegym/libraries"
    parser.add_argument("--venvs", type=Path, default=cache, help="folder of the environments")
    parser.add_argument("--torch-index", help="where pip finds torch, such as the CPU wheels")
    parser.add_argument("--torch-site", help="site-packages with a torch for all of them to share")
    args = parser.parse_args()
    checks = sorted(HERE.glob("check_*.py"))
    if args.names:
        unknown = set(args.names) - set(map(name, checks))
        if unknown:
            parser.error(f"no check {sorted(unknown)[0]}; there are {list(map(name, checks))}")
        checks = [p for p in checks if name(p) in args.names]
    failed = 0
    print("| library | versions | checked | |\n|---|---|---|---|", flush=True)
    with planegym.launch() as server:
        for check in checks:
            python = environment(check, args)
            began = time.monotonic()
            for program in [[str(check)], *(["-c", code] for code in programs(check))]:
                with tempfile.TemporaryDirectory() as folder:
                    done = subprocess.run(
                        [python, "-W", "ignore", *program],
                        capture_output=True,
                        text=True,
                        check=False,
                        cwd=folder,
                        env={
                            **os.environ,
                            "PLANEGYM_BIN": server.command[0],
                            "PLANEGYM_URL": server.url,
                            "PYTHONPATH": str(HERE.parent),
                            "SDL_VIDEODRIVER": "dummy",
                        },
                    )
                if done.returncode:
                    break
            result = f"{time.monotonic() - began:.0f} s"
            if done.returncode:
                failed += 1
                result = "**failed**"
                print(done.stdout[-2000:], done.stderr[-4000:], sep="\n", file=sys.stderr)
            what = versions(python, head(check, "needs").split())
            print(f"| {name(check)} | {what} | {head(check, 'shows')} | {result} |", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
