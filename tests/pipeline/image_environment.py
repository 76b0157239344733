"""The environment of the component image, made by the Dockerfile's own instructions in a folder.

A copy of this Python stands for the base image's. Paths of the image lie under the folder: `/app`, `/opt`.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "components" / "Dockerfile"


def instructions():
    """Keyword and argument of each instruction; a here-document belongs to its RUN."""
    lines = iter(DOCKERFILE.read_text(encoding="utf-8").splitlines())
    for line in lines:
        keyword, _, argument = line.partition(" ")
        if not line or line.startswith("#"):
            continue
        if document := re.search(r"<<'(\w+)'", argument):
            while document[1] not in argument.splitlines()[1:]:
                argument += f"\n{next(lines)}"
        yield keyword, argument


def build(folder):
    """Replay the Dockerfile in a folder; the image's variables, with its paths under the folder."""
    python = folder / "python"
    shutil.copytree(sys.base_prefix, python, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "test"))
    workdir, variables = folder, {"PATH": f"{python / 'bin'}:/usr/bin:/bin", "LD_LIBRARY_PATH": str(python / "lib")}
    for keyword, argument in instructions():
        argument = re.sub(r"(?<![\w.])/(app|opt)\b", rf"{folder}/\1", argument)
        if keyword == "WORKDIR":
            workdir = Path(argument)
            workdir.mkdir(parents=True)
        elif keyword == "COPY" and not argument.startswith("--from"):
            *sources, target = argument.split()
            for source in sources:
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                copy(ROOT / source, workdir / (target if (ROOT / source).is_dir() else Path(source).name))
        elif keyword == "ENV":
            for assignment in argument.split():
                name, _, value = assignment.partition("=")
                variables[name] = value.replace("$PATH", variables["PATH"])
        elif keyword == "RUN":
            environment = {"HOME": str(folder), **variables, "PIP_INDEX_URL": os.environ.get("PIP_INDEX_URL", "")}
            environment = {name: value for name, value in environment.items() if value}
            subprocess.run(["sh", "-ec", argument], cwd=workdir, env=environment, check=True)
    return variables
