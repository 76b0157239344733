"""Starts the steps of a local run in the image's environment and as its user, from outside the product's packages.

Python imports this module at start-up when its folder is on PYTHONPATH. In the process that runs the pipeline it
replaces what starts the compiled command of a step; IMAGE_ENVIRONMENT is a JSON object of the image's variables.
"""

import json
import os
import subprocess
import sys

if any("pipelines." in part for part in sys.orig_argv):
    os.umask(0)  # the steps' user writes to the folders of the run and its runner

if any("pipelines.step_server" in part for part in sys.orig_argv):
    from pipelines import step_server

    step_server.FORKS = False
    environment = json.loads(os.environ["IMAGE_ENVIRONMENT"])
    user = {"user": 1000, "group": 1000, "extra_groups": []} if os.getuid() == 0 else {}
    popen = subprocess.Popen

    class StepPopen(popen):
        def __init__(self, command, **options):
            env = options.pop("env", None)
            if isinstance(command, list) and "--executor_input" in command:
                command = [part.replace(sys.executable, "python3") for part in command]
                outside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TMPDIR")}
                env, options = {**outside, **environment}, {**options, **user}
            super().__init__(command, env=env, **options)

    subprocess.Popen = StepPopen
