"""Commands of the kit, each in a fork of one process that has imported what takes seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["Forks"]

ROOT = Path(__file__).parents[2]

SERVE = """
import gc, json, os, sys
import torch, mnist_lab.cli, mnist_lab.compare, mnist_lab.report.files

gc.freeze()
for line in sys.stdin:
    arguments, cwd, environment, output = json.loads(line)
    if pid := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        continue
    for number, name in enumerate((os.devnull, *output)):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["mnist-lab", *arguments]
    mnist_lab.cli.run()
"""


class Forks:
    """The process, which imports the kit that lies in ``path``."""

    def __init__(self, path: Path = ROOT) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(path)},
        )
        self.path = path

    def mnist_lab(
        self, *arguments: object, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end, with ``environment`` added to this process's."""
        asked = [str(argument) for argument in arguments]
        added = {"COLUMNS": "80", "PYTHONPATH": str(self.path), **environment}
        with TemporaryDirectory() as folder:
            files = [f"{folder}/output", f"{folder}/errors"]
            request = [asked, str(cwd or Path.cwd()), {**os.environ, **added}, files]
            print(json.dumps(request), file=self.process.stdin, flush=True)
            status = int(self.process.stdout.readline())
            said = [Path(file).read_text() for file in files]
        return subprocess.CompletedProcess(asked, status, *said)

    def close(self) -> None:
        self.process.communicate()
