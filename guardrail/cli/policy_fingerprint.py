"""`guardrail policy fingerprint`: entries for a list of known pictures."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("fingerprint")
@click.argument("pictures", nargs=-1, required=True,
                type=click.Path(path_type=Path, dir_okay=False))  # fmt: skip
def command(pictures: tuple[Path, ...]) -> None:
    """Print the entries of PICTURES for a list that 'known_pictures' names.

    Two lines for each: the SHA-256 of its file, by which the same file is found, and its perceptual
    hash, by which near copies are; a picture with too little in it has none. Nothing is sent
    anywhere.
    """
    from guardrail.errors import RequestError
    from guardrail.files import read_file
    from guardrail.images.codec import decode_image
    from guardrail.images.known_pictures import says_little
    from guardrail.images.limits import ImageLimits
    from guardrail.images.perceptual import perceptual_hash

    limits = ImageLimits()
    for path in pictures:
        data = read_file(path, "picture", max_bytes=limits.max_bytes, error=RequestError)
        picture = decode_image(data, declared_media_type=None, limits=limits, param=str(path))
        name = "".join(letter if letter.isprintable() else "\ufffd" for letter in path.name)
        click.echo(f"{picture.sha256}  # {name}")
        value = perceptual_hash(picture.pixels)
        if says_little(value):
            click.echo(f"# {name}: there is too little in it to find copies of it by")
        else:
            click.echo(f"{value:016x}  # {name}, and near copies of it")
