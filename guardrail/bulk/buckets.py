"""Pictures in buckets (S3, Google Cloud Storage, Azure, …) by fsspec, which the extra brings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from guardrail.distribution import install_command
from guardrail.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["is_bucket_url", "list_bucket", "open_bucket", "read_from_bucket"]

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def is_bucket_url(place: str) -> bool:
    """Whether this is `SCHEME://…` and not a path."""
    return _URL.match(place) is not None


def open_bucket(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it.

    Raises:
        ConfigError: fsspec or the package of this kind of bucket is not installed, or there is no
            such kind.
    """
    try:
        import fsspec.core
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"a bucket needs the package fsspec; {install_command('bucket')}"
        ) from error
    scheme = url.partition("://")[0]
    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = f"the package {error.name}" if error.name else "another package"
        raise ConfigError(
            f"buckets of the kind '{scheme}' need {package} beside fsspec ({error}); install it"
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"there is no kind of bucket '{scheme}'; give s3://, gs://, az:// or another that "
            "fsspec knows"
        ) from error
    return system, str(path)


def list_bucket(url: str) -> Iterator[tuple[str, str]]:
    """The name and the URL of every file below a URL, a folder at a time.

    Raises:
        ConfigError: there is nothing, or it cannot be listed.
    """
    system, root = open_bucket(url)
    root = root.rstrip("/")
    found = False
    try:
        for folder, _, files in system.walk(root):
            for file in sorted(files):
                found = True
                path = f"{folder.rstrip('/')}/{file}"
                yield path.removeprefix(root).lstrip("/"), system.unstrip_protocol(path)
    except Exception as error:
        raise _bucket_error(f"{url} cannot be listed", error, ConfigError) from error
    if not found:
        raise ConfigError(f"{url}: there is nothing here; check the bucket and the prefix")


def read_from_bucket(url: str, max_bytes: int) -> bytes:
    """The bytes of a file in a bucket; slow.

    Raises:
        RequestError: it cannot be read, or is too large.
        ConfigError: see `open_bucket`.
    """
    system, path = open_bucket(url)
    try:
        with system.open(path, "rb") as stream:
            data: bytes = stream.read(max_bytes + 1)
    except Exception as error:
        raise _bucket_error("the picture cannot be read", error, RequestError) from error
    if len(data) > max_bytes:
        raise RequestError(f"the picture has more than {max_bytes} bytes; give a smaller one")
    return data


def _bucket_error(
    what: str, error: Exception, kind: type[ConfigError] | type[RequestError]
) -> Exception:
    """Providers' libraries raise errors of their own, whose texts may hold keys."""
    if isinstance(error, (ConfigError, RequestError)):
        return error
    why: dict[type[Exception], str] = {
        FileNotFoundError: "it is not there",
        PermissionError: "access is denied",
    }
    return kind(f"{what} ({why.get(type(error), type(error).__name__)}); check name and rights")
