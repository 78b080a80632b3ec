"""What every section of a policy file has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict

__all__ = ["FilePath", "FolderOrId", "Section", "Share", "Word"]

Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
"""A number strictly between 0 and 1."""

Word = Strict(strict=False)
"""Words of a file become members of an enumeration; all else must have its type already."""

FilePath = Annotated[str, Field(min_length=1, json_schema_extra={"format": "path"})]
"""A file or folder; a relative path starts at the folder of the policy that names it."""

FolderOrId = Annotated[str, Field(min_length=1, json_schema_extra={"format": "folder-or-id"})]
"""A folder, as `FilePath`, also as `transformers:FOLDER`; or else an id that is known elsewhere."""


class Section(BaseModel):
    """Unknown fields are errors, and nothing is converted silently."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )
