"""Translation of dates, numbers, amounts of money, measures and lists of countries, after the Unicode CLDR.

Babel formats one value in English and in another language. A row asks for one from the other, in either direction:
`en>zh: May 3, 2024` → `2024年5月3日`. Rows are split by the value, independent of its language, direction and format,
so a tested value is not in the training data. A model can't guess an unseen name of a country, so names come in lists:
the training data have the names of a tested list, but not the list.
"""

import datetime
import random
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import ClassVar

import babel
import numpy as np
from babel import Locale
from babel.core import UnknownLocaleError, get_cldr_version
from babel.dates import format_date
from babel.lists import format_list
from babel.numbers import format_compact_decimal, format_currency, format_decimal, get_currency_precision
from babel.units import format_unit

from greenllm.config.models import EmbeddedData
from greenllm.documents.prediction import Prediction
from greenllm.errors import UserError
from greenllm.tasks.task import DataOrigin, Sums, Task, exactly_right, mean_of

CURRENCIES = ("USD", "EUR", "CNY", "JPY", "GBP", "CHF")
UNITS = ("length-kilometer", "length-meter", "mass-kilogram", "volume-liter", "duration-hour", "duration-day")
TERRITORIES = ("BR", "CA", "CN", "DE", "EG", "ES", "FR", "GR", "IN", "IT", "JP", "KE", "MX", "NO", "PL", "TR")

# A value and how to write it in a language; the identity is the same in all languages and formats.
Value = tuple[str, Callable[[Locale], str]]


def _date(rng: random.Random) -> Value:
    date = datetime.date(2000, 1, 1) + datetime.timedelta(days=rng.randrange(18_262))
    form = rng.choice(("long", "long", "short", "full"))
    return f"date:{date}", lambda locale: format_date(date, format=form, locale=locale)


def _number(rng: random.Random) -> Value:
    if rng.random() < 0.5:
        number = rng.randrange(100, 100_000)
        return f"number:{number}", lambda locale: format_decimal(number, locale=locale)
    size = 10 ** rng.randint(3, 10)
    number = rng.randrange(11, 100) * size // 10
    return f"number:{number}", lambda locale: format_compact_decimal(
        number,
        # Some languages, such as Chinese, have only one compact form, which CLDR calls short.
        format_type="long" if "long" in locale.compact_decimal_formats else "short",
        fraction_digits=1,
        locale=locale,
    )


def _money(rng: random.Random) -> Value:
    currency = rng.choice(CURRENCIES)
    amount = round(rng.randrange(100, rng.choice((10_000, 1_000_000))) / 100, get_currency_precision(currency))
    return f"money:{currency}{amount}", lambda locale: format_currency(
        amount, currency, format_type="name", locale=locale
    )


def _measure(rng: random.Random) -> Value:
    amount, unit = rng.randrange(1, 1_000) / 10, rng.choice(UNITS)
    return f"measure:{unit}{amount}", lambda locale: _measured(amount, unit, locale)


def _measured(amount: float, unit: str, locale: Locale) -> str:
    text: str = format_unit(amount, unit, length="long", locale=locale)
    # CLDR has no long form if the short one is spelled out already; Babel then shows the unit's code.
    if unit in text:
        text = format_unit(amount, unit, length="short", locale=locale)
    return text


def _territories(rng: random.Random) -> Value:
    codes = rng.sample(TERRITORIES, 2)
    # Sorted: the same countries in another order are the same value.
    return f"territories:{','.join(sorted(codes))}", lambda locale: format_list(
        [locale.territories[code] for code in codes], locale=locale
    )


KINDS = {_date: 0.3, _money: 0.2, _measure: 0.2, _number: 0.15, _territories: 0.15}


class Translation(Task):
    """English to another language and back."""

    name = "translation"
    metrics: ClassVar = {
        "exact_match": "share of answers exactly right (0 to 1, higher is better)",
        "chrf": "chrF2 of sacrebleu, character n-gram F-score (0 to 100, higher is better)",
    }
    origin = DataOrigin(
        generator=f"Unicode CLDR {get_cldr_version()} through Babel {babel.__version__}",
        licence="Unicode-3.0",
        near_duplicates=False,
    )

    def rows(self, settings: EmbeddedData) -> Iterator[dict[str, str]]:
        """Make `settings.rows` pairs, each of a new value, language and direction drawn at random."""
        rng = random.Random(settings.seed)
        english = Locale("en")
        others = [_locale(code) for code in settings.languages]
        kinds, weights = list(KINDS), list(KINDS.values())
        for _ in range(settings.rows):
            identity, write = rng.choices(kinds, weights)[0](rng)
            source, target = english, rng.choice(others)
            if rng.random() < 0.5:
                source, target = target, source
            yield {
                "prompt": f"{source}>{target}: {write(source)}",
                "completion": write(target),
                "group": identity,
            }

    def check(self, settings: EmbeddedData) -> None:
        """Raise UserError if CLDR lacks one of the languages, or if one is English."""
        for code in settings.languages:
            _locale(code)

    def score(self, answers: Sequence[Prediction]) -> dict[str, float]:
        """Return the share of exact matches and sacrebleu's corpus chrF."""
        from sacrebleu.metrics import CHRF

        chrf = float(CHRF().corpus_score(*_texts(answers)).score)
        return {"exact_match": float(exactly_right(answers).mean()), "chrf": chrf}

    def sums(self, answers: Sequence[Prediction]) -> dict[str, Sums]:
        """Return exact matches, and chrF's n-gram counts of each answer."""
        from sacrebleu.metrics import CHRF

        chrf = CHRF()
        counts = [_ngram_counts(answer.prediction, answer.completion) for answer in answers]
        of_references = np.array([_ngram_counts(answer.completion, answer.completion) for answer in answers])
        right = of_references.mean(axis=0)
        wrong = np.where(np.arange(len(right)) % 3 == 2, 0.0, right)  # of each order: hypothesis, reference, both
        return {
            "exact_match": mean_of(exactly_right(answers)),
            "chrf": Sums(
                np.array(counts, dtype=np.float64),
                lambda sums: np.array([chrf._compute_score_from_stats(list(row)).score for row in sums]),
                wrong_and_right=np.vstack([wrong, right]),
            ),
        }


@lru_cache(maxsize=2**16)  # an account compares each model's answers with those of several others
def _ngram_counts(prediction: str, completion: str) -> tuple[int, ...]:
    """Return chrF's n-gram counts of one answer, which sacrebleu's own bootstrap sums too, without percentiles."""
    from sacrebleu.metrics import CHRF

    (counts,) = CHRF()._extract_corpus_statistics([prediction], [[completion]])
    return tuple(counts)


def _texts(answers: Sequence[Prediction]) -> tuple[list[str], list[list[str]]]:
    """Return the predictions and the one set of references in sacrebleu's form."""
    return [answer.prediction for answer in answers], [[answer.completion for answer in answers]]


def _locale(code: str) -> Locale:
    try:
        locale = Locale.parse(code, sep="-" if "-" in code else "_")
    except (UnknownLocaleError, ValueError):
        raise UserError(
            f"data.languages: CLDR knows no language {code!r}; expected codes such as zh, de or pt-BR"
        ) from None
    if locale.language == "en":
        raise UserError(f"data.languages: {code!r} is English, which is always included; name other languages")
    return locale
