# needs: torch gymnasium
# shows: DQN in one file (examples/cleanrl_dqn.py)
from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    example = Path(__file__).resolve().parents[1] / "examples/cleanrl_dqn.py"
    arguments = ["--url", os.environ["PLANEGYM_URL"], "--steps", "1500", "--learning-starts", "500"]
    sys.argv = [str(example), *arguments]
    runpy.run_path(str(example), run_name="__main__")
