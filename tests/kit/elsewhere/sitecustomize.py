"""Makes of a Python one on a machine that is not Linux: what only Linux has is not there."""

import ctypes.util  # noqa: F401 - as this machine has it
import os
import subprocess
import sys
import sysconfig
import types

CALLS = ("fork", "forkpty", "waitid", "pidfd_open", "sched_getaffinity", "unshare", "setns")
MODULES = {"fcntl", "resource", "pyseccomp", "triton"}


class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def hide_processes(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith("/proc"):
        raise FileNotFoundError(2, "No such file or directory", arguments[0])


def begin(self, *arguments, begin=subprocess.Popen.__init__, env=None, **named):
    """What is started is on the same machine."""
    if env is not None and "PYTHONPATH" in env:
        here = os.path.dirname(__file__)
        env = {**env, "PYTHONPATH": os.pathsep.join([here, env["PYTHONPATH"]])}
    begin(self, *arguments, env=env, **named)


sysconfig.get_config_vars()  # They are of this machine, and found by the name of its system.
for name in CALLS:
    if hasattr(os, name):
        delattr(os, name)
for name in MODULES:
    sys.modules.pop(name, None)
sys.platform = "darwin"
sys.modules["_scproxy"] = types.SimpleNamespace(_get_proxies=dict, _get_proxy_settings=dict)
sys.meta_path.insert(0, Hidden())
sys.addaudithook(hide_processes)
subprocess.Popen.__init__ = begin
