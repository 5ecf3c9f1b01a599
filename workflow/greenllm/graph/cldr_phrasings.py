"""Phrasings of questions about the embedded graph, in four languages, some of which it can't answer."""

from greenllm.graph.cldr import CAPITAL, CURRENCY, LANGUAGE, REGION
from greenllm.graph.phrasings import Phrasings

CLDR_PHRASINGS: Phrasings = {
    (CURRENCY,): {
        "en": (
            "What is the currency of {entity}?",
            "Which currency is used in {entity}?",
            "How do people pay in {entity}?",
            "What money do I need in {entity}?",
            "I travel to {entity}: which currency do I need?",
            "Tell me the currency of {entity}.",
            "In {entity}, what is the legal tender?",
            "Which money is valid in {entity}?",
        ),
        "zh": (
            "{entity}的货币是什么？",
            "在{entity}用什么货币？",
            "我去{entity}需要什么货币？",
            "{entity}用什么钱？",
            "{entity}的法定货币是什么？",
        ),
        "de": (
            "Was ist die Währung von {entity}?",
            "{entity}: Welche Währung gilt dort?",
            "Womit bezahlt man hier: {entity}?",
            "Welches Geld brauche ich für {entity}?",
            "Ich reise nach {entity}; welche Währung brauche ich?",
        ),
        "fr": (
            "Quelle est la monnaie de {entity} ?",
            "{entity} : quelle monnaie y a cours ?",
            "Comment paie-t-on ici : {entity} ?",
            "De quel argent ai-je besoin pour {entity} ?",
            "Je pars pour {entity} ; quelle monnaie me faut-il ?",
        ),
    },
    (LANGUAGE,): {
        "en": (
            "What is the official language of {entity}?",
            "Which languages are official in {entity}?",
            "What do people officially speak in {entity}?",
            "In which language are the laws of {entity} written?",
            "Tell me the official languages of {entity}.",
            "I move to {entity}: which language should I learn?",
            "Which tongue do the authorities of {entity} use?",
            "What language is spoken in {entity}?",
        ),
        "zh": (
            "{entity}的官方语言是什么？",
            "{entity}说什么语言？",
            "在{entity}用哪种官方语言？",
            "我去{entity}要学什么语言？",
            "{entity}的法律用什么语言写？",
        ),
        "de": (
            "Was ist die Amtssprache von {entity}?",
            "{entity}: Welche Sprachen sind dort amtlich?",
            "Was spricht man hier: {entity}?",
            "Welche Sprache brauche ich für {entity}?",
            "Ich ziehe nach {entity}; welche Sprache lerne ich?",
        ),
        "fr": (
            "Quelle est la langue officielle de {entity} ?",
            "{entity} : quelles langues y sont officielles ?",
            "Que parle-t-on ici : {entity} ?",
            "Quelle langue me faut-il pour {entity} ?",
            "Je pars vivre ici : {entity} ; quelle langue apprendre ?",
        ),
    },
    (REGION,): {
        "en": (
            "Which region is {entity} part of?",
            "In which part of the world is {entity}?",
            "What region does {entity} belong to?",
            "Where is {entity}?",
            "Where in the world do I find {entity}?",
            "Tell me the region of {entity}.",
        ),
        "zh": (
            "{entity}属于哪个地区？",
            "{entity}在哪里？",
            "{entity}位于哪个地区？",
            "{entity}是哪个地区的一部分？",
            "在世界的哪个地区能找到{entity}？",
        ),
        "de": (
            "Zu welcher Region gehört {entity}?",
            "In welchem Teil der Welt liegt {entity}?",
            "Wo liegt {entity}?",
            "{entity}: Welche Region ist das?",
            "Wo finde ich {entity}?",
        ),
        "fr": (
            "De quelle région {entity} fait-il partie ?",
            "Dans quelle partie du monde se trouve {entity} ?",
            "Où se trouve {entity} ?",
            "{entity} : quelle région est-ce ?",
            "Où est {entity} ?",
        ),
    },
    (REGION, REGION): {
        "en": (
            "On which continent is {entity}?",
            "Which continent does {entity} belong to?",
            "What is the continent of {entity}?",
            "{entity} is on which continent?",
            "Tell me the continent of {entity}.",
            "To which continent do I travel when I visit {entity}?",
        ),
        "zh": (
            "{entity}在哪个大洲？",
            "{entity}属于哪个洲？",
            "{entity}位于哪个大陆？",
            "{entity}是哪个洲的？",
            "去{entity}是去哪个大洲？",
        ),
        "de": (
            "Auf welchem Kontinent liegt {entity}?",
            "Zu welchem Erdteil gehört {entity}?",
            "{entity}: Welcher Kontinent ist das?",
            "Auf welchem Erdteil finde ich {entity}?",
            "Welcher ist der Kontinent von {entity}?",
        ),
        "fr": (
            "Sur quel continent se trouve {entity} ?",
            "À quel continent appartient {entity} ?",
            "{entity} : quel continent est-ce ?",
            "Quel est le continent de {entity} ?",
            "De quel continent {entity} fait-il partie ?",
        ),
    },
    (CURRENCY.back,): {
        "en": (
            "Which countries use the {entity}?",
            "Where can I pay with the {entity}?",
            "In which country is the {entity} the currency?",
            "Where is the {entity} legal tender?",
            "Who pays with the {entity}?",
            "Tell me where the {entity} is used.",
        ),
        "zh": (
            "哪些国家使用{entity}？",
            "在哪里可以用{entity}付款？",
            "{entity}是哪个国家的货币？",
            "哪里用{entity}？",
        ),
        "de": (
            "Wo bezahlt man mit dieser Währung: {entity}?",
            "Welche Länder haben die Währung {entity}?",
            "{entity}: Wo gilt diese Währung?",
            "Wo brauche ich {entity}?",
        ),
        "fr": (
            "Où paie-t-on avec cette monnaie : {entity} ?",
            "Quels pays ont la monnaie {entity} ?",
            "{entity} : où cette monnaie a-t-elle cours ?",
            "Où ai-je besoin de {entity} ?",
        ),
    },
    (CURRENCY.back, LANGUAGE): {
        "en": (
            "What is the official language of the country that uses the {entity}?",
            "Which language is official where people pay with the {entity}?",
            "What do people speak where the {entity} is used?",
            "In the country of the {entity}, which language is official?",
            "I have some {entity}: which language do they speak there?",
        ),
        "zh": (
            "使用{entity}的国家的官方语言是什么？",
            "用{entity}付款的地方说什么语言？",
            "{entity}流通的国家说什么语言？",
            "在用{entity}的国家，官方语言是哪种？",
        ),
        "de": (
            "Welche Amtssprache hat das Land mit der Währung {entity}?",
            "Was spricht man, wo man mit {entity} bezahlt?",
            "{entity}: Welche Sprache ist im Land dieser Währung amtlich?",
            "Welche Sprache brauche ich, wo {entity} gilt?",
        ),
        "fr": (
            "Quelle est la langue officielle du pays dont la monnaie est {entity} ?",
            "Que parle-t-on où l’on paie avec {entity} ?",
            "{entity} : quelle langue est officielle dans le pays de cette monnaie ?",
            "Quelle langue me faut-il où {entity} a cours ?",
        ),
    },
    (LANGUAGE.back, CURRENCY): {
        "en": (
            "What is the currency of the country whose official language is {entity}?",
            "How do people pay where {entity} is the official language?",
            "Which money is used where {entity} is official?",
            "In the country of the language {entity}, what is the currency?",
            "I speak {entity}: which currency do I need where it is official?",
        ),
        "zh": (
            "官方语言是{entity}的国家用什么货币？",
            "说{entity}的国家的货币是什么？",
            "在官方语言为{entity}的地方用什么钱？",
            "以{entity}为官方语言的国家，货币是什么？",
        ),
        "de": (
            "Welche Währung hat das Land mit der Amtssprache {entity}?",
            "Womit bezahlt man, wo {entity} Amtssprache ist?",
            "{entity}: Welches Geld gilt im Land dieser Amtssprache?",
            "Welche Währung gilt, wo man amtlich {entity} spricht?",
        ),
        "fr": (
            "Quelle est la monnaie du pays dont la langue officielle est : {entity} ?",
            "Comment paie-t-on où {entity} est la langue officielle ?",
            "{entity} : quel argent a cours dans le pays de cette langue officielle ?",
            "Quelle monnaie a cours où l’on parle officiellement {entity} ?",
        ),
    },
    (CAPITAL,): {
        "en": (
            "What is the capital of {entity}?",
            "Which city is the capital of {entity}?",
            "Tell me the capital of {entity}.",
            "Where does the government of {entity} sit?",
        ),
        "zh": ("{entity}的首都是什么？", "{entity}的首都在哪里？", "哪个城市是{entity}的首都？"),
        "de": (
            "Was ist die Hauptstadt von {entity}?",
            "{entity}: Welche Stadt ist die Hauptstadt?",
            "Nenne die Hauptstadt von {entity}.",
        ),
        "fr": (
            "Quelle est la capitale de {entity} ?",
            "{entity} : quelle ville est la capitale ?",
            "Donne-moi la capitale de {entity}.",
        ),
    },
}

LANGUAGES = tuple(CLDR_PHRASINGS[CURRENCY,])
