"""The text of a served policy: where it stands, whether it can be changed, and changing it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from guardrail.errors import ConfigError, RequestError
from guardrail.files import read_file
from guardrail.policy.document import LARGEST_BYTES
from guardrail.policy.load import parse_policy
from guardrail.policy.shipped import shipped_folder

if TYPE_CHECKING:
    from guardrail.api.deployment import Deployment
    from guardrail.api.policy_set import ServedPolicy

__all__ = ["PolicyText", "digest_text", "find_served", "read_policy_text", "write_policy_text"]

_SHIPPED = (
    "This policy ships with guardrail, and so there is no file to write. Download the text, save "
    "it as a file, and start the server with --policy FILE."
)
_NOT_READ = (
    "This server was started with a policy that it cannot read again, so none can be put in force."
)
_NOT_ALLOWED = "The server may not write this file; download the text and put it there yourself."
_UNKNOWN = "there is no policy of this name on this server"


@dataclass(frozen=True, slots=True)
class PolicyText:
    """A served policy as it is written.

    Attributes:
        served: the policy that decides.
        file: where the text stands; None for one that was made in Python.
        text: the whole text.
        is_served: whether the text is the policy that decides, as far as decisions go; False where
            the file was changed and not read yet, or has a mistake.
        problem: why the file cannot be changed from here; empty where it can.
    """

    served: ServedPolicy
    file: Path | None
    text: str
    is_served: bool
    problem: str

    @property
    def name(self) -> str:
        return self.served.name

    @property
    def digest(self) -> str:
        """Of the text."""
        return digest_text(self.text)

    @property
    def parsed_as(self) -> str:
        """The name of the file for messages, at which relative paths start."""
        return f"{self.name}.yaml" if self.file is None else str(self.file)


def digest_text(text: str) -> str:
    """SHA-256 (hex) of a text's bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def find_served(deployment: Deployment | None, name: str) -> ServedPolicy:
    """Raises RequestError (404) where no policy of this name decides."""
    policies = () if deployment is None else deployment.current.policies
    found = next((one for one in policies if one.name == name), None)
    if found is None:
        raise RequestError(_UNKNOWN, status=404)
    return found


def read_policy_text(deployment: Deployment, served: ServedPolicy) -> PolicyText:
    """The text of a policy, read now.

    Raises:
        RequestError: its file cannot be read, or is no UTF-8.
    """
    policy = served.listed.policy
    if not policy.documents:
        fields = policy.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        text = yaml.safe_dump({"name": policy.name, **fields}, sort_keys=False, allow_unicode=True)
        return PolicyText(served, None, text, is_served=True, problem=_NOT_READ)
    file = Path(policy.documents[0].file)
    try:
        text = read_file(file, "policy", max_bytes=LARGEST_BYTES).decode()
    except (ConfigError, UnicodeDecodeError) as error:
        raise RequestError(
            f"the file of the policy '{served.name}' cannot be read; the server's operator can "
            "tell why",
            status=500,
        ) from error
    return PolicyText(
        served, file, text, _is_served(text, file, served), _find_problem(deployment, file)
    )


def _is_served(text: str, file: Path, served: ServedPolicy) -> bool:
    try:
        return parse_policy(text.encode(), file=str(file)) == served.listed.policy
    except ConfigError:
        return False


def _find_problem(deployment: Deployment, file: Path) -> str:
    """Why the file cannot be changed from here."""
    real = file.resolve()
    if real.parent == shipped_folder().resolve():
        return _SHIPPED
    if not deployment.reads_files:
        return _NOT_READ
    may_write = os.access(real, os.W_OK) and os.access(real.parent, os.W_OK | os.X_OK)
    return "" if may_write else _NOT_ALLOWED


def write_policy_text(file: Path, text: str) -> None:
    """Puts a whole new file in place of the old one, with its mode; links stay.

    Raises:
        OSError: it cannot be written; the old one is as it was.
    """
    real = file.resolve()
    handle, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())
        shutil.copymode(real, name)
        with suppress(PermissionError):
            about = real.stat()
            os.chown(name, about.st_uid, about.st_gid)
        Path(name).replace(real)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
