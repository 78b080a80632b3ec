"""The process and the machine: versions, open files."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from guardrail.distribution import find_stranger
from guardrail.doctor.finding import Finding, error, ok, warning
from guardrail.version import __version__

__all__ = ["LEAST_OPEN_FILES", "examine_open_files", "examine_versions"]

LEAST_OPEN_FILES = 4096
"""A connection takes one, of clients as of upstreams; the shells' usual 1024 is used up by a few
hundred requests at once."""

_PACKAGES = ("aiohttp", "uvicorn", "starlette", "pydantic", "numpy", "scipy", "pillow",
             "onnxruntime", "tokenizers", "torch", "transformers", "litellm",
             "rapidocr")  # fmt: skip


def examine_versions() -> list[Finding]:
    """This package, Python and the libraries that decide most; what support asks for first."""
    found = [f"{name} {v}" for name in _PACKAGES if (v := _find_version(name)) is not None]
    system = f"{platform.system()} {platform.machine()}"
    line = f"guardrail {__version__}, Python {platform.python_version()}, {system}"
    findings = [ok("versions", ", ".join((line, *found)))]
    stranger = find_stranger()
    if stranger is not None:
        findings.append(error("versions", stranger))
    return findings


def examine_open_files(least: int = LEAST_OPEN_FILES) -> list[Finding]:
    """How many files and connections this process may have open."""
    try:
        import resource
    except ImportError:  # not on Windows
        return []
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= least:
        return [ok("open files", f"up to {'any number' if soft < 0 else f'{soft:,}'}")]
    return [
        warning(
            "open files",
            f"at most {soft:,} may be open, connections included",
            f"raise the limit to {least:,} or more: LimitNOFILE= of systemd, --ulimit nofile= of "
            "docker, 'ulimit -n' of the shell that starts the server",
        )
    ]


def _find_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
