"""The tables of a study: the columns of its account that each shows, and their titles. Each file has one subject."""

from collections.abc import Callable

from greenllm.account.document import Account
from greenllm.account.footprint_document import Footprint
from greenllm.report.table import Table
from greenllm.report.tables.causes import causes
from greenllm.report.tables.comparison import comparison
from greenllm.report.tables.efficiency import efficiency
from greenllm.report.tables.methods import conservation, methods, parameters
from greenllm.report.tables.over_site import factor_ranges, projections, repaid, requests_a_day
from greenllm.report.tables.provenance import data, ledgers, missing, unused
from greenllm.report.tables.quality import hand_over, quality, subsets
from greenllm.report.tables.recommendation import recommendation
from greenllm.report.tables.scopes import indicators, scopes, scores, widening
from greenllm.report.tables.serving import serving
from greenllm.report.tables.sizes import sizes
from greenllm.report.tables.spending import impact, produced, spent
from greenllm.report.tables.thousand import thousand
from greenllm.report.tables.threads import threads
from greenllm.report.tables.training import training

# Tables that a rule of the workflow makes separately.
NAMED: dict[str, Callable[[Account], Table]] = {"efficiency": efficiency, "impact": impact}
# Tables written with the page that are made from the footprint as well, where there is one.
FOOTPRINT: tuple[Callable[[Account, Footprint | None], Table], ...] = (
    thousand, scopes, scores, indicators, widening, factor_ranges, requests_a_day, repaid, projections,
)  # fmt: skip
# Tables written with the page from the account alone.
PAGE: tuple[Callable[[Account], Table], ...] = (
    comparison, causes, threads, recommendation, sizes, quality, subsets, hand_over, serving, training,
    produced, spent,
    methods, parameters, conservation, data, ledgers, missing, unused,
)  # fmt: skip
