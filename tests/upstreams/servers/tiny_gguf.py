"""Writes a language model of some 60 kB for llama.cpp: it says harmless words at random.

The first dimension of every state is large and the same, whatever was read. The output gives it a
weight for each token: words are likely, the end is less so, and single bytes, which only let the
tokenizer read any text, are never said.

Run it as `python tests/upstreams/servers/tiny_gguf.py FILE`; it needs the package gguf.
"""

import sys

import gguf
import numpy as np

WORDS = tuple("a red blue green small large cat dog house tree boat cup book lamp and with".split())
SIZE, LAYERS, HEADS, CONTEXT = 32, 2, 4, 512
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"

_SPECIAL = ("<unk>", "<s>", "</s>")
_BYTES = tuple(f"<0x{value:02X}>" for value in range(256))
TOKENS = (*_SPECIAL, *_BYTES, *(f"\u2581{word}" for word in WORDS))


def write(path):
    """The model, the same every time."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(SIZE)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(SIZE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(SIZE // HEADS)
    writer.add_vocab_size(len(TOKENS))
    _add_tokenizer(writer)
    for name, values in _tensors().items():
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer):
    kinds = gguf.TokenType
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([0.0] * len(TOKENS))
    writer.add_token_types(
        [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL]
        + [kinds.BYTE] * len(_BYTES)
        + [kinds.NORMAL] * len(WORDS)
    )
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)


def _tensors():
    random = np.random.default_rng(7)

    def small(rows):
        return random.normal(0, 0.02, (rows, SIZE))

    states, output = small(len(TOKENS)), small(len(TOKENS))
    states[:, 0] = 4.0
    output[:, 0] = -4.0
    output[2, 0] = 0.4
    output[-len(WORDS) :, 0] = 0.5
    tensors = {"token_embd.weight": states, "output.weight": output}
    tensors["output_norm.weight"] = np.ones(SIZE)
    for layer in range(LAYERS):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
            tensors[f"blk.{layer}.{part}.weight"] = small(SIZE)
        for part in ("attn_norm", "ffn_norm"):
            tensors[f"blk.{layer}.{part}.weight"] = np.ones(SIZE)
    return tensors


if __name__ == "__main__":
    write(sys.argv[1])
