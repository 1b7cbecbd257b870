"""README's first command, in a copy of the project, as a newcomer types it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.builders import ROOT


def test_samples_try_sets_everything_up_and_prints_what_readme_shows(tmp_path: Path) -> None:
    copy = tmp_path / "ecsauth"
    skip = shutil.ignore_patterns(".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=skip)
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("VIRTUAL_ENV", "PYTHONPATH")
    }
    done = subprocess.run(
        [copy / "samples" / "try"],
        cwd="/",
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    shown = re.search(r"\$ samples/try\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown
    assert done.returncode == 0, done.stdout
    lines = [line for line in done.stdout.splitlines() if not line.startswith("WARNING: ")]
    assert lines == shown[1].splitlines()
