"""The embedded graph: territories, their currencies, official languages and containment, after the Unicode CLDR.

Babel brings CLDR's territories, currencies and languages, but not its containment, which is written out here
(supplemental/territoryContainment, without groupings and what is deprecated; it follows the UN's M49 standard).
"""

import re
from collections.abc import Iterator, Sequence

from babel import Locale
from babel.core import get_global

from greenllm.graph.triples import Graph, Hop, Triple

CURRENCY, LANGUAGE, REGION = Hop("currency"), Hop("official language"), Hop("region")
CAPITAL = Hop("capital")  # asked for, too, though CLDR does not know capitals
RELATIONS = {
    "currency": {"en": "currency", "zh": "货币", "de": "Währung", "fr": "monnaie"},
    "official language": {"en": "official language", "zh": "官方语言", "de": "Amtssprache", "fr": "langue officielle"},
    "region": {"en": "region", "zh": "地区", "de": "Region", "fr": "région"},
}

CONTINENTS = {
    "002": "015 011 017 014 018",
    "019": "021 013 029 005",
    "142": "145 143 030 034 035",
    "150": "154 155 151 039",
    "009": "053 054 057 061",
}
REGIONS = {
    "005": "AR BO BR BV CL CO EC FK GF GS GY PE PY SR UY VE",
    "011": "BF BJ CI CV GH GM GN GW LR ML MR NE NG SH SL SN TG",
    "013": "BZ CR GT HN MX NI PA SV",
    "014": "BI DJ ER ET IO KE KM MG MU MW MZ RE RW SC SO SS TF TZ UG YT ZM ZW",
    "015": "DZ EA EG EH IC LY MA SD TN",
    "017": "AO CD CF CG CM GA GQ ST TD",
    "018": "BW LS NA SZ ZA",
    "021": "BM CA GL PM US",
    "029": "AG AI AW BB BL BQ BS CU CW DM DO GD GP HT JM KN KY LC MF MQ MS PR SX TC TT VC VG VI",
    "030": "CN HK JP KP KR MN MO TW",
    "034": "AF BD BT IN IR LK MV NP PK",
    "035": "BN ID KH LA MM MY PH SG TH TL VN",
    "039": "AD AL BA ES GI GR HR IT ME MK MT PT RS SI SM VA XK",
    "053": "AU CC CX HM NF NZ",
    "054": "FJ NC PG SB VU",
    "057": "FM GU KI MH MP NR PW UM",
    "061": "AS CK NU PF PN TK TO TV WF WS",
    "143": "KG KZ TJ TM UZ",
    "145": "AE AM AZ BH CY GE IL IQ JO KW LB OM PS QA SA SY TR YE",
    "151": "BG BY CZ HU MD PL RO RU SK UA",
    "154": "AX DK EE FI FO GB GG IE IM IS JE LT LV NO SE SJ",
    "155": "AT BE CH DE FR LI LU MC NL",
}
OFFICIAL = ("official", "de_facto_official")  # in the whole territory


def cldr_graph(languages: Sequence[str]) -> Graph:
    """Return the graph of all that has a name in each of `languages` (CLDR codes)."""
    triples = list(_triples())
    nodes = sorted({node for triple in triples for node in (triple.subject, triple.object)})
    labels: dict[str, dict[str, list[str]]] = {}
    for node in nodes:
        names = {language: _label(node, Locale.parse(language)) for language in languages}
        labels[node] = {language: [name] for language, name in names.items() if name}
    nameless = {node for node in nodes if len(labels[node]) < len(languages)}
    for relation, names_of in RELATIONS.items():
        labels[relation] = {language: [name] for language, name in names_of.items()}
    return Graph(triples, labels).without(nameless)


def city_names(graph: Graph, languages: Sequence[str]) -> list[tuple[str, ...]]:
    """Return places that the graph lacks, each named in all `languages`: CLDR's names of the time zones' cities."""
    known = {label for entity in graph.entities for label in graph.all_labels(entity)}
    zones = sorted(zone for zones in get_global("territory_zones").values() for zone in zones if "/" in zone)
    locales = [Locale.parse(language) for language in languages]
    cities = [tuple(_city(zone, locale) for locale in locales) for zone in zones]
    return [names for names in cities if known.isdisjoint(names) and not re.search(r"\d", names[0])]  # not GMT+4


def _city(zone: str, locale: Locale) -> str:
    """Return the name of a time zone's city; CLDR leaves it out where it is as in the zone's id."""
    return str(locale.time_zones.get(zone, {}).get("city") or zone.rsplit("/", 1)[1].replace("_", " "))


def _triples() -> Iterator[Triple]:
    currencies, spoken = get_global("territory_currencies"), get_global("territory_languages")
    for part, whole in _contained():
        yield Triple(f"territory:{part}", REGION.relation, f"territory:{whole}")
    for territory in sorted(code for codes in REGIONS.values() for code in codes.split()):
        for currency, _, ended, tender in currencies.get(territory, ()):
            if ended is None and tender:
                yield Triple(f"territory:{territory}", CURRENCY.relation, f"currency:{currency}")
        for language, facts in spoken.get(territory, {}).items():
            if facts["official_status"] in OFFICIAL:
                # Chinese is Chinese, in whichever script.
                yield Triple(f"territory:{territory}", LANGUAGE.relation, f"language:{language.split('_')[0]}")


def _contained() -> Iterator[tuple[str, str]]:
    for wholes in (CONTINENTS, REGIONS):
        for whole, parts in wholes.items():
            yield from ((part, whole) for part in parts.split())


def _label(node: str, locale: Locale) -> str | None:
    kind, code = node.split(":")
    names = {"territory": locale.territories, "currency": locale.currencies, "language": locale.languages}
    label: str | None = names[kind].get(code)
    return label
