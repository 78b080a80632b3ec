"""Decoding in a process of its own, for pictures whose decoder could hurt everything else.

Pillow decodes PNG, JPEG and GIF beside other threads, but copies a whole WebP picture while it
keeps Python's lock, so that for some hundredths of a second no other thread runs. The decoders of
rarer formats are large libraries (AVIF, HEIF, TIFF) or partly written in Python (BMP). A process
costs a few tenths of a second, but stops no other thread. Its processor time and memory are bounded
where the system can; a picture that brings it down is refused, and the server goes on.

Parent and child talk by pipes, and nothing is written to disk. To the child goes a line of JSON
and the encoded picture; back comes a line of JSON, a refusal or the size, and the pixels.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from guardrail.errors import RequestError
from guardrail.images.codec import Picture, damaged_error, decode_image, measure_size
from guardrail.images.header import sniff
from guardrail.images.limits import ImageLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["decode_apart", "decode_safely", "is_decoded_apart"]

_FEWEST_WEBP_PIXELS = 8_000_000
_IN_THREADS = ("PNG", "JPEG", "GIF")
_BASE_BYTES = 2 << 30  # of addresses: Python, numpy and libraries take most of them and use few
_BYTES_PER_PIXEL = 32
_CPU_S = 30
_WALL_S = 60.0


def is_decoded_apart(data: bytes, size: tuple[int, int]) -> bool:
    """Whether this picture is not decoded in a thread of the server."""
    image_format = sniff(data)
    if image_format == "WEBP":
        return size[0] * size[1] > _FEWEST_WEBP_PIXELS
    return image_format not in _IN_THREADS


def decode_safely(
    data: bytes, *, declared_media_type: str | None, limits: ImageLimits, param: str
) -> Picture:
    """What `decode_image` returns or raises, in a process of its own where that is needed."""
    size = measure_size(data, declared_media_type, limits, param)
    decode = decode_apart if is_decoded_apart(data, size) else decode_image
    return decode(data, declared_media_type=declared_media_type, limits=limits, param=param)


def decode_apart(
    data: bytes, *, declared_media_type: str | None, limits: ImageLimits, param: str
) -> Picture:
    """What `decode_image` returns or raises; to be called in a thread."""
    asked = {
        "declared_media_type": declared_media_type,
        "limits": dataclasses.asdict(limits),
        "param": param,
    }
    command = [sys.executable, "-P", "-m", __name__]
    with subprocess.Popen(  # noqa: S603 (this very file)
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # each would reserve memory
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        alarm = threading.Timer(_WALL_S, child.kill)
        alarm.start()
        try:
            _write(child.stdin, json.dumps(asked).encode() + b"\n", data)
            return _answer(child.stdout, param)
        except (OSError, EOFError, ValueError):  # the child is gone
            raise damaged_error(param) from None
        finally:
            alarm.cancel()
            child.kill()


def _write(pipe: IO[bytes], *parts: bytes) -> None:
    for part in parts:
        left = memoryview(part)
        while left:
            left = left[pipe.write(left) :]
    pipe.close()


def _answer(pipe: IO[bytes], param: str) -> Picture:
    told = json.loads(_line(pipe))
    if "message" in told:
        raise RequestError(told["message"], status=told["status"], param=param, code=told["code"])
    pixels = np.empty(told.pop("shape"), np.uint8)
    _fill(pipe, pixels)
    pixels.setflags(write=False)
    return Picture(pixels, **told)


def _line(pipe: IO[bytes]) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = pipe.read(1)  # what follows the line must stay in the pipe
        if not piece:
            raise EOFError
        line += piece
    return bytes(line)


def _fill(pipe: Any, pixels: NDArray[np.uint8]) -> None:
    left = pixels.reshape(-1).data
    while left:
        count = pipe.readinto(left)
        if not count:
            raise EOFError
        left = left[count:]


# The child


def main() -> None:
    """Reads one picture from stdin and writes its pixels to stdout."""
    asked = json.loads(sys.stdin.buffer.readline())
    asked["limits"] = ImageLimits(**asked["limits"])
    _bound_resources(asked["limits"])
    for part in _parts(sys.stdin.buffer.read(), asked):
        sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


def _parts(data: bytes, asked: dict[str, Any]) -> Sequence[bytes | memoryview]:
    try:
        picture = decode_image(data, **asked)
    except RequestError as error:
        told = {"message": str(error), "status": error.status, "code": error.code}
        return (json.dumps(told).encode() + b"\n",)
    fields = dataclasses.fields(picture)[1:]
    told = {field.name: getattr(picture, field.name) for field in fields}
    head = json.dumps({"shape": picture.pixels.shape, **told}).encode() + b"\n"
    return head, picture.pixels.reshape(-1).data


def _bound_resources(limits: ImageLimits) -> None:
    if sys.platform != "win32":
        import resource

        most_bytes = _BASE_BYTES + _BYTES_PER_PIXEL * limits.max_pixels
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
        resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))


if __name__ == "__main__":
    main()
