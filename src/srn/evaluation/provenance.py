"""The circumstances of a result: command, versions, commit, processor."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from datetime import datetime
from importlib import metadata
from pathlib import Path

COMPUTING_PACKAGES = (
    *("numpy", "onnxruntime", "onnxruntime-gpu", "opencv-python-headless", "opencv-python", "openvino", "torch"),
)
"""Of two that hold the same module, one is installed: for a GPU, or with windows."""


def command_line() -> str:
    """Return the running `srn` command, quoted for a shell."""
    return shlex.join(["srn", *sys.argv[1:]])


def processor() -> str:
    """Return the processor's name, if the system tells it, and the number of cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{(names or [platform.processor() or platform.machine()])[0]}, {os.cpu_count()} cores"


def versions_text() -> str:
    """Return the versions of Python and of the packages that compute, and the system, as one line."""
    packages = package_versions(("srn", *COMPUTING_PACKAGES))
    found = {"Python": platform.python_version(), **packages, "system": f"{platform.system()} {platform.machine()}"}
    return ", ".join(f"{name} {version}" for name, version in found.items())


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    found = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def commit() -> str:
    """Return the commit of the source tree; empty for an installed package."""
    run = ["git", "-C", str(Path(__file__).resolve().parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        result = subprocess.run(run, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""


def facts() -> dict[str, str]:
    """Return `command`, `date`, `hardware`, `versions` and, if known, `commit`."""
    found = {
        "command": command_line(),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "hardware": processor(),
        "versions": versions_text(),
        "commit": commit(),
    }
    return {name: value for name, value in found.items() if value}
