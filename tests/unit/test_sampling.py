"""The choice of a token by its logits, and the end of an answer at a stop string."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenllm.engines.stop_strings import StopStrings
from greenllm.engines.token_choice import sampled, score

LOGITS = np.log(np.array([0.5, 0.1, 0.3, 0.1], dtype=np.float32))


@pytest.mark.parametrize(
    ("temperature", "top_p", "expected"),
    [
        (1, 1, [0.5, 0.1, 0.3, 0.1]),
        (1, 0.7, [0.625, 0, 0.375, 0]),  # the two most likely tokens have 0.8, the first alone less than 0.7
        (1, 0.4, [1, 0, 0, 0]),
        (1, 0, [1, 0, 0, 0]),
        (0.5, 1, [25 / 36, 1 / 36, 9 / 36, 1 / 36]),  # p² normalised
        (1e-300, 1, [1, 0, 0, 0]),
        (1e-320, 1, [1, 0, 0, 0]),
    ],
)
@pytest.mark.filterwarnings("error")
def test_tokens_are_sampled_as_often_as_their_probability_says(
    temperature: float, top_p: float, expected: list[float]
) -> None:
    draws = 3600
    found = Counter(sampled(LOGITS, temperature, top_p, (draw + 0.5) / draws) for draw in range(draws))
    assert [found[token] / draws for token in range(4)] == pytest.approx(expected, abs=1 / draws)


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=50), st.floats(0, 1), st.floats(0, 1))
def test_every_logits_have_a_sample_of_the_nucleus(values: list[float], top_p: float, uniform: float) -> None:
    logits = np.array(values, dtype=np.float32)
    token = sampled(logits, 1.0, top_p, min(uniform, 0.999999))
    weights = np.exp(logits.astype(float) - logits.max())
    more_likely = weights[weights > weights[token]].sum() / weights.sum()
    assert more_likely <= top_p + 1e-9


def test_a_score_has_the_log_probability_and_the_most_likely_tokens_first() -> None:
    scored = score(LOGITS, 1, 3)
    assert scored.log_probability == pytest.approx(np.log(0.1))
    assert [id for id, _ in scored.alternatives] == [0, 2, 1]
    assert [np.exp(one) for _, one in scored.alternatives] == pytest.approx([0.5, 0.3, 0.1])
    assert score(LOGITS, 1, 0).alternatives == ()
    assert len(score(LOGITS, 1, 20).alternatives) == 4


@given(
    st.text("ab", max_size=30),
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=4),
    st.lists(st.integers(1, 5), min_size=30),
)
def test_an_answer_ends_before_the_first_stop_string_however_it_is_cut_into_pieces(
    text: str, stop: list[str], lengths: list[int]
) -> None:
    stops, shown, start = StopStrings(stop), "", 0
    for length in lengths:
        piece = text[start : start + length]
        start += length
        shown += stops.add(piece)
        if stops.found:
            break
        assert text.startswith(shown)  # what is shown is never taken back
    first_end = min((text.find(one) + len(one) for one in stop if one in text), default=None)
    if first_end is None:
        assert shown + stops.rest() == text
    else:
        assert stops.found
        assert not any(one in shown for one in stop)
        assert len(shown) < first_end
