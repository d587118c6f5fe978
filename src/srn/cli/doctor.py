"""`srn doctor`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any

import typer

from srn.cli import options
from srn.evaluation.self_test import Check, environment, self_test
from srn.files import NUMBERS_JSON, is_standard_output, write_json


def doctor(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for all of it; `-`: the standard output."), NUMBERS_JSON
    ] = None,
    weights: options.Weights = None,
    engine: options.Engine = options.ENGINE,
) -> None:
    """Tell versions, providers, threads, weights and extras, and test the landmarks on a portrait.

    The exit code is 1 if a check fails. With `--device`, `--runtime`, `--precision` or `--weights` those are tested.

    Example: `srn doctor --json doctor.json`
    """
    about = environment(engine.threads)
    checks = self_test(functools.partial(options.open_landmarker, weights, "balanced", False, engine, None))
    if json_file is not None:
        whole = all(check.holds for check in checks)
        write_json(json_file, {**about, "checks": [check._asdict() for check in checks], "healthy": whole})
    if json_file is None or not is_standard_output(json_file):
        _print(about, checks)
    failed = [f"{check.name}: {check.seen}" for check in checks if not check.holds]
    options.exit_if_failed(failed)


def _print(about: dict[str, Any], checks: list[Check]) -> None:
    load = about["load_average"]
    lines = {
        "versions": ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        "system": about["system"],
        "processor": about["processor"],
        "threads": f"{about['threads']} of {about['cores']} usable cores"
        + ("" if load is None else f", load {load:.1f}"),
        "providers": ", ".join(about["providers"]),
    }
    here = [one for one in about["weights"] if one["path"] is not None]
    for one in here:
        lines[f"weights {one['name']}"] = f"{one['sha256'][:12]}  {one['state']}"
    if away := len(about["weights"]) - len(here):
        lines["weights elsewhere"] = f"{away} more, in models/ of the repository (srn weights --help)"
    for name, packages in about["extras"].items():
        missing = [package for package, version in packages.items() if version is None]
        there = [f"{package} {version}" for package, version in packages.items() if version is not None]
        what = f"not installed: {', '.join(missing)} (pip install 'srn[{name}]')" if missing else ", ".join(there)
        lines[f"extra {name}"] = what
    width = max(map(len, lines))
    for name, text in lines.items():
        options.say(f"{name:<{width}}  {text}")
    for check in checks:
        options.say(f"{'ok' if check.holds else 'FAILED':<{width}}  {check.name}: {check.seen}")
