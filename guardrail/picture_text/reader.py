"""Reads the text in pictures with RapidOCR, offline and in a thread of its own.

The models (PP-OCRv6, Apache-2.0) lie in the wheel of `rapidocr`. Nothing is ever fetched: where
they are missing, reading fails.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from guardrail.distribution import install_command
from guardrail.errors import ConfigError, PictureTextError
from guardrail.offload import READ_PICTURE_TEXT, offload
from guardrail.picture_text.tiles import count_tiles, cut_levels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.types import Pixels

__all__ = ["OcrReader", "PictureReader", "ReadingLimits"]

EXTRA = "ocr"
_LEAST_SCORE = 0.5  # of a line: less certain ones are mostly texture
_MOST_THREADS = 4
_LEAST_SIDE_PX = 8  # nothing smaller holds a letter
_LEAST_CONTRAST = 4  # levels of 256: a tile of one colour says nothing


@dataclass(frozen=True, slots=True)
class ReadingLimits:
    """What the pictures of one request may take to read; beyond it reading fails.

    Attributes:
        max_tiles: tiles of all pictures together, each of 1280 × 1280 pixels at most.
        max_chars: characters of all texts together.
        timeout_s: longest time, waiting for other requests included.
    """

    max_tiles: int = 40
    max_chars: int = 100_000
    timeout_s: float = 60.0


class PictureReader(Protocol):
    """Reads what is written in pictures."""

    async def read(self, pictures: Sequence[Pixels]) -> tuple[str, ...]:
        """The texts found, one for each resolution of each picture that shows any.

        Raises:
            PictureTextError: a picture could not be read, or not within the limits.
        """

    async def aclose(self) -> None:
        """Ends the threads."""


class OcrReader:
    """RapidOCR behind one thread; pictures are read one after the other, in order of arrival.

    Args:
        limits: what one request may take.

    Raises:
        ConfigError: the packages of the extra `ocr` are not installed.
    """

    def __init__(self, limits: ReadingLimits | None = None) -> None:
        missing = [name for name in ("rapidocr", "onnxruntime") if not _is_installed(name)]
        if missing:
            raise ConfigError(
                f"reading needs {', '.join(missing)}, which is not installed; "
                f"{install_command(EXTRA)}, or set it to off",
                field="text_in_pictures",
            )
        self._limits = limits or ReadingLimits()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="guardrail-ocr")
        self._engine: Any = None

    async def read(self, pictures: Sequence[Pixels]) -> tuple[str, ...]:
        """See `PictureReader`."""
        limits = self._limits
        tiles = sum(count_tiles(*picture.shape[:2]) for picture in pictures)
        if tiles > limits.max_tiles:
            raise PictureTextError(
                f"the pictures make {tiles} tiles to read, and at most {limits.max_tiles} are; "
                "send smaller pictures"
            )
        pixels = sum(picture.shape[0] * picture.shape[1] for picture in pictures)
        left = threading.Event()
        try:
            async with asyncio.timeout(limits.timeout_s):
                return await offload(
                    READ_PICTURE_TEXT, pixels, self._read, pictures, left, executor=self._threads
                )
        except TimeoutError:
            raise PictureTextError(
                f"the text in the pictures was not read within {limits.timeout_s:g} s; send "
                "smaller pictures, or ask again when the guard is less busy"
            ) from None
        except PictureTextError:
            raise
        except Exception as error:  # noqa: BLE001 (another package's fault; its text may quote)
            raise PictureTextError(
                f"the text in the pictures could not be read ({type(error).__name__})"
            ) from None
        finally:
            left.set()  # whoever waits no longer: the thread stops at the next tile

    async def aclose(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _read(self, pictures: Sequence[Pixels], left: threading.Event) -> tuple[str, ...]:
        texts: list[str] = []
        for picture in pictures:
            for tiles in cut_levels(picture):
                lines: list[str] = []
                for tile in tiles:
                    if left.is_set():
                        raise PictureTextError("reading was given up")
                    lines += self._read_tile(tile)
                    if sum(map(len, (*texts, *lines))) > self._limits.max_chars:
                        raise PictureTextError(
                            f"the pictures hold more than {self._limits.max_chars} characters; "
                            "send less text at a time"
                        )
                texts += ["\n".join(lines)] if lines else []
        return tuple(texts)

    def _read_tile(self, tile: Pixels) -> list[str]:
        """The lines of one tile, top to bottom."""
        if min(tile.shape[:2]) < _LEAST_SIDE_PX or int(np.ptp(tile)) < _LEAST_CONTRAST:
            return []
        if self._engine is None:
            self._engine = _load()
        found = self._engine(np.ascontiguousarray(tile[:, :, ::-1]))  # BGR
        lines = zip(found.txts or (), found.scores or (), strict=True)
        return [text for text, score in lines if score >= _LEAST_SCORE and text.strip()]


def _load() -> Any:
    """RapidOCR with the models of its wheel. Raises PictureTextError."""
    import rapidocr

    models = Path(rapidocr.__file__).parent / "models"
    if len(list(models.glob("*.onnx"))) < 3:
        raise PictureTextError(
            f"the models of rapidocr are not in {models}; install rapidocr's wheel again"
        )
    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    return rapidocr.RapidOCR(
        params={
            "Global.log_level": "critical",
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
