"""Seeded sampling: the right distribution, one row's luck apart from the next one's."""

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch")

from guardrail.upstreams.local_generate import SeededSampling  # noqa: E402 (needs torch)


def draws(seeds, logits, steps=1):
    sampling = SeededSampling(seeds)
    scores = torch.tensor(logits, dtype=torch.float32).repeat(len(seeds), 1)
    return torch.stack([sampling(None, scores).argmax(-1) for _ in range(steps)], 1).tolist()


def test_its_frequencies_are_those_of_softmax():
    logits = np.log([0.5, 0.25, 0.15, 0.07, 0.03])
    drawn = draws(range(4000), logits)
    counts = np.bincount([row[0] for row in drawn], minlength=5)
    assert stats.chisquare(counts, 4000 * np.exp(logits)).pvalue > 1e-3


def test_steps_of_one_row_are_independent_draws():
    drawn = np.array(draws(range(500), [0.0, 0.0], steps=8))
    table = np.array([np.bincount(drawn[drawn[:, 0] == k, 7], minlength=2) for k in (0, 1)])
    assert stats.chi2_contingency(table).pvalue > 1e-3
    assert len({tuple(row) for row in drawn.tolist()}) > 200


def test_a_row_depends_on_its_seed_and_not_on_its_company():
    logits = list(np.linspace(0, 2, 50))
    alone = [draws([seed], logits, steps=5)[0] for seed in (1, 2, 3)]
    assert draws([3, 1, 9, 2, 1], logits, steps=5) == [
        alone[2], alone[0], draws([9], logits, steps=5)[0], alone[1], alone[0],
    ]  # fmt: skip
    assert len({tuple(row) for row in alone}) == 3


def test_a_forbidden_token_is_never_drawn():
    drawn = draws(range(300), [0.0, float("-inf"), 0.0, float("-inf")])
    assert {row[0] for row in drawn} == {0, 2}


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_the_whole_range_of_seeds_is_taken(seed):
    assert draws([seed], [0.0, 1.0, 2.0]) == draws([seed], [0.0, 1.0, 2.0])


def test_the_scores_keep_their_type_and_place():
    scores = torch.zeros((2, 7), dtype=torch.bfloat16)
    noisy = SeededSampling([1, 2])(None, scores)
    assert noisy.dtype == torch.bfloat16
    assert torch.isfinite(noisy).all()
