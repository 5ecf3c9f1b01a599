"""The messages of a bank's and a shop's customers, each with its intent, made by a grammar of our own.

For each intent there are some sentences with alternatives and slots, an opening, a remark in another intent's words, a
matter already settled and a closing around them, typing errors on top. Some sentences fit two intents and carry either,
so nobody gets all right. A message's group is its template: the sentence with its alternatives chosen and its slots
open, so that a tested wording was never trained on.
"""

import random
import re
from collections.abc import Iterator

from greenllm.tasks.task import one_line

# In a sentence, [a|b|] takes one of its alternatives, which may hold further ones, and {name} a word of SLOTS.
SLOTS = {
    "card": ("card", "debit card", "credit card", "bank card", "new card", "replacement card"),
    "item": (
        "jacket", "pair of shoes", "coffee machine", "headphones", "lamp", "backpack", "phone case", "blender",
        "winter coat", "keyboard", "rug", "watch", "tent", "desk chair", "frying pan", "sweater",
    ),
    "shop": ("the supermarket", "a petrol station", "an online shop", "a restaurant", "the pharmacy", "the station"),
    "person": ("my sister", "my landlord", "a friend", "my daughter", "my colleague", "my plumber"),
    "amount": ("20 euros", "50 pounds", "80 dollars", "120 euros", "300 pounds", "15 dollars", "1,000 euros"),
    "when": ("yesterday", "last week", "Monday", "two days ago", "this morning", "ten days ago", "last Friday"),
    "wait": ("a week", "ten days", "two weeks", "a long time", "several days", "three weeks", "nearly a month"),
    "place": ("Spain", "Japan", "the US", "Turkey", "another country", "Switzerland"),
    "currency": ("dollars", "yen", "Swiss francs", "pounds", "euros"),
    "colour": ("blue", "black", "grey", "green", "red"),
    "size": ("small", "medium", "large", "size 42", "extra large"),
}  # fmt: skip

INTENTS: dict[str, tuple[str, ...]] = {
    # A bank's customers
    "card_arrival": (
        "[I have been|I am still|I'm] waiting [for|on] my {card}[ for {wait}|]",
        "my {card} [has not|hasn't|still has not] [arrived|come|turned up] [after {wait}|yet]",
        "when [will|should|can I expect] my {card} [to arrive|to come in the post|to get here]",
        "[you sent|I ordered] my {card} {when}[,| and] where is it",
        "how long does [a|the] {card} take to [arrive|reach me|be delivered]",
    ),
    "card_lost": (
        "I [lost|have lost|can't find|misplaced] my {card}[ {when}| somewhere|]",
        "[somebody|someone] [stole|took] my {card}[ {when}| at {shop}|]",
        "my [wallet|purse|bag] [was stolen|is gone] [with my {card} in it|and so is my {card}]",
        "[please|can you] [block|freeze|stop] my {card}[,|;] [it is gone|it was stolen|I left it at {shop}]",
        "I [think I|must have] left my {card} [at {shop}|in a taxi|on the train]",
    ),
    "card_declined": (
        "my {card} was [declined|refused|rejected][ at {shop}| {when}|]",
        "why [did|does] my {card} [get declined|not work|get refused] [at {shop}|when I pay|abroad]",
        "[{shop}|the till|the terminal] [would not|wouldn't|did not] [take|accept] my {card}[ {when}|]",
        "I [tried to|could not|couldn't] pay [at {shop}|{amount}] with my {card} [but it failed|{when}]",
        "payment [by|with my] {card} [keeps failing|does not go through]",
    ),
    "card_swallowed": (
        "the [machine|ATM|cash machine] [kept|swallowed|ate|did not give back] my {card}[ {when}|]",
        "my {card} [is stuck|got stuck] in [the|an] [ATM|cash machine|machine]",
        "how do I get my {card} back [from|out of] the [ATM|cash machine]",
        "[an ATM|a cash machine] in {place} [took|retained] my {card}",
    ),
    "pin_forgotten": (
        "I [forgot|can't remember|don't know any more|lost] [my PIN|the PIN of my {card}|the code of my {card}]",
        "what is [my PIN|the PIN of my {card}]",
        "I [typed|entered] the wrong PIN [three times|too often][ at {shop}| {when}|]",
        "[where can I see|can you tell me|please send me] [my PIN|the PIN for my {card}] again",
    ),
    "pin_change": (
        "how [do|can] I [change|choose|set] [my PIN|the PIN of my {card}|a new PIN]",
        "I [want|would like|need] to [change|pick|set] [my PIN|a PIN of my own for my {card}]",
        "[can|may] I [change|choose] my PIN [at an ATM|in the app|by phone|in {place}]",
        "is it possible to [have another PIN|set a different PIN|change the code] for my {card}",
    ),
    "transfer_missing": (
        "[I sent|I transferred] {amount} to {person} {when} [but it is not there|and it has not arrived]",
        "{person} [has not|still hasn't] [got|received] [my transfer|the {amount} I sent]",
        "where is [the money|the {amount}] [I sent|that I transferred] to {person}[ {when}|]",
        "how long [does|will] [a|my] transfer [take|need][ to {place}| to {person}|]",
        "my transfer [to {person}|of {amount}|to {place}] [is still pending|did not arrive]",
    ),
    "transfer_cancel": (
        "[can you|please|how do I] [cancel|stop|undo] [my|the] transfer[ of {amount}|][ to {person}| from {when}|]",
        "I sent {amount} to the wrong [person|account][ {when}|]",
        "I made a mistake [in|with] [my|a] transfer [to {person}|of {amount}] and want it back",
        "I [typed|entered] the wrong [account number|IBAN] [for {person}|when I sent {amount}]",
    ),
    "transfer_fee": (
        "[why was I|why am I] charged [a fee|extra] for [my|the] transfer[ to {place}| to {person}| {when}|]",
        "what does [a|it cost to make a] transfer to {place}[ cost|]",
        "how much [do you charge|is the fee] for [sending|transferring] {amount} to {place}",
        "are there [fees|costs|charges] [for|on] [transfers|sending money] to {place}",
    ),
    "balance_wrong": (
        "my balance [is wrong|looks wrong|does not add up|has not changed][ since {when}|]",
        "I [paid in|deposited] {amount} {when} [but|and] my balance [is the same|has not changed]",
        "[the cash|a cheque of {amount}] I [paid in|deposited] {when} [is not on my account|does not show]",
        "why [is|does] my balance [lower than it should be|not show the {amount} from {when}]",
    ),
    "charged_twice": (
        "I was [charged|billed|debited] twice [at {shop}|for {amount}|for the {item}][ {when}|]",
        "{shop} took {amount} [twice|two times][ {when}|]",
        "[there are two|I see two] [payments|charges] of {amount} [at {shop}|{when}]",
        "the [same payment|{amount} at {shop}] [appears|shows up|was booked] twice",
    ),
    "unknown_payment": (
        "there is a payment of {amount} [I don't recognise|I did not make|that isn't mine]",
        "I [don't know|do not recognise|never made] [a|the] [payment|charge] [of {amount}|at {shop}][ {when}|]",
        "[somebody|someone] [paid|used my account to pay] [{amount}|at {shop}] {when}[,| and] it was not me",
        "what is [this|the] [charge|payment] of {amount} [at {shop}|from {when}]",
    ),
    "cash_limit": (
        "how much [cash|money] can I [withdraw|take out] [a day|at once|in {place}|with my {card}]",
        "what is the [limit|maximum] for [cash|withdrawals] [in {place}|with my {card}|a day]",
        "[can I|can you|please] [raise|increase] [my|the] [withdrawal|cash] limit[ to {amount}|]",
        "the ATM [gave me only {amount}|won't give me more than {amount}]",
    ),
    "exchange_rate": (
        "what [is the|rate do you use as] exchange rate for {currency}",
        "the [rate|exchange rate] [for {currency}|I got in {place}] [was bad|is not right|seems wrong]",
        "how many {currency} do I get for {amount}",
        "[how|when] do you [set|fix|update] the [rate|exchange rate] [for {currency}|when I pay in {place}]",
    ),
    "direct_debit_cancel": (
        "[how do I|please|I want to] [stop|cancel] [the|my] [direct debit|standing order][ of {amount}| to {person}|]",
        "{shop} [still takes|keeps taking] {amount} every month by [direct debit|standing order]",
        "I no longer want to pay {person} {amount} [every month|a month]",
        "[my gym|a magazine|an old contract] [debits|takes] {amount} each month[,| and] [end|stop] that",
    ),
    "loan_request": (
        "[can I|I would like to|I want to|how do I] [borrow|get a loan of|take out a loan of] {amount}",
        "what [interest|rate] do I pay [on|for] a loan[ of {amount}|]",
        "I need [a loan|to borrow money] for [a car|my kitchen|a {item}|a trip to {place}]",
        "[do you give|is there] [credit|a loan] [to students|for {wait}|of more than {amount}]",
    ),
    "account_open": (
        "[how|where] [can|do] I open [an account|a second account|a savings account][ for {person}|]",
        "I [want|would like] to [open|have] [an account|a joint account with {person}|a savings account]",
        "can {person} open an account [from {place}|with you|online]",
        "what [papers|documents] do [I|you] need [for|to open] [an|a new] account",
    ),
    "account_close": (
        "[please|I want to|how do I] close my [account|savings account][ with you| at once|]",
        "I [am leaving|am unhappy with] [you|your bank] and want [my account closed|to close everything]",
        "what [happens to|about] my [money|{amount}] when I close my account",
        "[delete|end] my account[,| and] [I moved to {place}|I don't use it|I have another bank]",
    ),
    # A shop's customers
    "order_status": (
        "where is my [order|parcel|{item}]",
        "[what is the status of|can I track|any news about] my [order|parcel|{item}][ from {when}|]",
        "has my [order|{item}] [been sent|shipped|left the warehouse][ yet|]",
        "I [ordered|bought] [a|the] {item} {when}[,| and] when [will it come|does it get here]",
        "my [parcel|order|{item}] [has not|hasn't] [arrived|come] [yet|after {wait}]",
    ),
    "order_cancel": (
        "[please|can you|I want to|how do I] cancel my [order|order from {when}|order for a {item}]",
        "I [don't want|no longer need] the {item} [I ordered|that I ordered] {when}[,| and] [don't send it|stop it]",
        "I ordered [a|the] {item} by mistake[ {when}|]",
        "[is it|am I] too late to [cancel|stop] [my order|the {item}]",
    ),
    "order_change": (
        "can I [change|swap] the [colour|size] of [the|my] {item} [to {colour}|to {size}|before you send it]",
        "I ordered the {item} in {colour} but [want|meant|need] {size}",
        "[please|can you] [add|put] [a|one more] {item} [to|into] my order[ from {when}|]",
        "please send my [order|{item}] to [another address|{person}|my office] instead",
    ),
    "item_return": (
        "[how|where] [do|can] I [return|send back|give back] [the|my|a] {item}[ from {when}|]",
        "I [want|would like|need] to [return|send back] [the|my] {item}[,| because] [it does not fit|I don't like it]",
        "[can|may] I [return|bring back] [a|the] {item} after {wait}",
        "I need a [return label|label] for [the|my] {item}",
        "the {item} is too [big|small|heavy][,| and] [I'd like to send it back|can I return it]",
    ),
    "refund_missing": (
        "[where is|when do I get|I am waiting for] [my refund|my money back|the {amount}] for the {item}[ I returned|]",
        "I [returned|sent back] the {item} {when} [but|and] [have no refund|did not get my money]",
        "you [promised|owe] me [a refund|{amount}] [for the {item}|{when}]",
        "my refund [of {amount}|for the {item}] [has not come|is missing|is too low]",
    ),
    "item_damaged": (
        "[the|my] {item} [came|arrived|was delivered] [broken|damaged|with a crack|scratched][ {when}|]",
        "the {item} [you sent|I received] [is broken|has a hole|does not switch on]",
        "[the box was crushed|the parcel was open] and the {item} [is damaged|has a scratch]",
        "I [got|received|unpacked] [a broken|a damaged] {item}[ {when}|]",
    ),
    "item_wrong": (
        "[you sent|I got] [the wrong {item}|a {item} instead of a {item}|the {item} in {colour} instead of {colour}]",
        "[this|it] is not [the {item}|what] I ordered[,| but] [a {item}|it is {colour}|it is {size}]",
        "I ordered [{size}|{colour}] and [you sent|got] [{size}|{colour}]",
        "the {item} in the [box|parcel] [is not mine|belongs to somebody else]",
    ),
    "item_missing": (
        "[the|a] {item} [is|was] [missing|not] [from my order|in the parcel]",
        "I ordered two things but [only the {item} came|the {item} was not in the box]",
        "my [order|parcel] [is incomplete|came without the {item}]",
        "[part|half] of my order [is missing|did not come][,| namely the {item}|]",
    ),
    "delivery_fee": (
        "[how much is|what does] [delivery|shipping|postage] [to {place}|for a {item}|cost]",
        "why [do I pay|was I charged] {amount} for [delivery|shipping][ of a {item}|]",
        "is [delivery|shipping] free [above {amount}|to {place}|for a {item}]",
        "do you [charge for|take a fee for] [delivery|sending a {item}]",
    ),
    "discount_code": (
        "my [discount code|voucher|coupon] [does not work|is refused|has expired][ for the {item}|]",
        "[where|how] do I [enter|use] [a|my] [discount code|voucher|coupon]",
        "I [forgot|was not able] to [use|enter] my [voucher|code][ of {amount}|] [for|when I bought] the {item}",
        "[do you have|is there] [a discount|a code|money off] for [students|the {item}|new customers]",
    ),
    "in_stock": (
        "[when|will] [is|you have] the {item} [in {colour}|in {size}|] [be back|available again|in stock]",
        "do you [have|sell] [a|the] {item} in [{colour}|{size}]",
        "the {item} [is sold out|is out of stock][,| and] when can I [buy|get] [it|one]",
        "is the {colour} {item} [available|still there|in stock][ in {size}|]",
    ),
    "invoice_request": (
        "[please send me|I need|can I have] [an invoice|a receipt|the bill] for [the|my] [{item}|order from {when}]",
        "where [do I find|can I download] [the|my] [invoice|receipt] [for the {item}|from {when}]",
        "the [invoice|receipt] for [my order|the {item}] [is missing|has the wrong name|has the wrong address]",
        "my [company|tax office] [needs|wants] [an invoice|a bill] [for the {item}|over {amount}]",
    ),
    "warranty_claim": (
        "[the|my] {item} [broke|stopped working|failed] after {wait}[,| and] [is it under warranty|have I a guarantee]",
        "how long is the [warranty|guarantee] [on|of] [the|a] {item}",
        "[can|will] you [repair|mend] my {item}[,|;] I bought it {when}",
        "I want [a repair|a new one] [on|under] [warranty|guarantee] for my {item}",
    ),
    "payment_methods": (
        "[can|may] I pay [for the {item}|] [by {card}|in {currency}|by invoice|in instalments|with cash]",
        "[which|what] [ways to pay|cards|payment methods] do you [accept|take|offer][ in {place}|]",
        "do you [accept|take] [cheques|{currency}|a {card} from {place}]",
        "is it possible to pay [on delivery|later|in three parts][ for a {item}|]",
    ),
    # Customers of either
    "password_reset": (
        "I [forgot|can't remember|lost] my [password|login]",
        "how [do|can] I [reset|change|get a new] [my|] password[ in the app| on the website|]",
        "the [link|mail] to reset my password [does not work|never came|has expired]",
        "I [can't|cannot] log in[ since {when}|][,| because] my password [is wrong|is not accepted]",
    ),
    "address_change": (
        "I [moved|have moved][ to {place}| {when}|][,| and] [how do I|please] [change|update] my address",
        "[how|where] [do|can] I [change|update] my [address|phone number|e-mail address]",
        "my [address|phone number|name] [has changed|is wrong in your files]",
        "please [note|save] my new [address|phone number][ in {place}|]",
    ),
    "speak_to_person": (
        "[can I|I want to|let me] [speak|talk] to [a person|a human|somebody|your manager]",
        "[connect me|put me through] [to|with] [an agent|a human being|someone real]",
        "[is there|what is] a [number|phone number] [I can call|to reach you]",
        "I don't want [to chat with a robot|a machine][,| but] [give me a person|call me back]",
    ),
}  # fmt: skip

# What really is unclear: either label may stand beside it.
AMBIGUOUS: tuple[tuple[str, str, str], ...] = (
    ("my {card} [does not work|isn't working|stopped working][ {when}| any more|]", "card_declined", "pin_forgotten"),
    ("[it|my delivery] has not [come|arrived] [after {wait}|yet]", "card_arrival", "order_status"),
    ("I want my [money|{amount}] back[ from {when}| please|]", "refund_missing", "transfer_cancel"),
    ("there is something wrong with [a|my] payment [of {amount}|{when}]", "charged_twice", "unknown_payment"),
    ("the {item} is [broken|not working]", "item_damaged", "warranty_claim"),
    ("I did not [get|receive] [everything|the {item}]", "item_missing", "order_status"),
    (
        "what [do you charge|does it cost|is the fee|must I pay] for [sending it|that|this][ to {place}|]",
        "delivery_fee",
        "transfer_fee",
    ),
    ("I can't [get in|use the app] [any more|since {when}]", "password_reset", "speak_to_person"),
)

OPENINGS = ("hi", "hello", "good morning", "hey there", "dear team", "excuse me", "a question", "sorry to bother you")
CLOSINGS = ("thanks", "please help", "it is urgent", "can you check", "many thanks in advance", "I am quite annoyed")
# Beside the matter: each touches another intent's words.
REMARKS = (
    "my {card} came {when}", "I like the {item} by the way", "the app works now", "I have already changed my PIN",
    "your colleague told me to write", "I got my refund for the {item}", "I am in {place} at the moment",
    "my address is right", "the transfer to {person} went well", "I paid {amount} {when}", "I ordered a {item} {when}",
    "my account is fine otherwise", "the delivery was quick", "I have an invoice", "I asked about a loan {when}",
)  # fmt: skip
NEIGHBOURS = dict(
    zip(
        "qwertyuiopasdfghjklzxcvbnm",
        ("wa", "qe", "wr", "et", "ry", "tu", "yi", "uo", "ip", "ol", "qs", "ad", "sf", "dg", "fh", "gj", "hk", "jl",
         "kp", "xa", "zc", "xv", "cb", "vn", "bm", "nk"),
        strict=True,
    )
)  # fmt: skip

# Before the matter, a sentence of another intent that no longer counts.
SETTLED = ("{} - that is settled", "{}, but that is done", "forget that {}", "it is not that {}", "earlier I asked: {}")

AMBIGUOUS_SHARE = 0.1
REMARK_SHARE = 0.25
SETTLED_SHARE = 0.15
CARELESS_SHARE = 0.5  # of the writers; the others make no typing errors
ERROR_RATE = 0.06  # of a careless writer's letters


def messages(rows: int, seed: int) -> Iterator[dict[str, str]]:
    """Make messages, the intents equally likely: `prompt`, `completion` (the intent) and `group` (the template)."""
    rng = random.Random(seed)
    intents = list(INTENTS)
    for _ in range(rows):
        if rng.random() < AMBIGUOUS_SHARE:
            sentence, *labels = rng.choice(AMBIGUOUS)
            intent = rng.choice(labels)
        else:
            intent = rng.choice(intents)
            sentence = rng.choice(INTENTS[intent])
        template = _worded(sentence, rng)
        yield {"prompt": _message(_filled(template, rng), rng), "completion": intent, "group": template}


def _worded(sentence: str, rng: random.Random) -> str:
    """Choose among the alternatives, innermost first."""
    while match := re.search(r"\[([^\[\]]*)\]", sentence):
        sentence = sentence[: match.start()] + rng.choice(match[1].split("|")) + sentence[match.end() :]
    return one_line(sentence)


def _filled(template: str, rng: random.Random) -> str:
    """Put a word into each slot."""
    return re.sub(r"\{(\w+)\}", lambda slot: rng.choice(SLOTS[slot[1]]), template)


def _message(sentence: str, rng: random.Random) -> str:
    """Return the sentence as a customer might type it."""
    parts = [sentence]
    if rng.random() < REMARK_SHARE:
        parts.insert(rng.randrange(2), _filled(rng.choice(REMARKS), rng))
    if rng.random() < SETTLED_SHARE:
        other = _filled(_worded(rng.choice(INTENTS[rng.choice(list(INTENTS))]), rng), rng)
        parts.insert(0, rng.choice(SETTLED).format(other))
    if rng.random() < 0.3:
        parts.insert(0, rng.choice(OPENINGS))
    if rng.random() < 0.3:
        parts.append(rng.choice(CLOSINGS))
    text = rng.choice((", ", ". ", " - ")).join(parts) + rng.choice(("", ".", "?", "!"))
    if rng.random() < 0.6:
        text = text[0].upper() + text[1:]
    return "".join(_typed(character, rng) for character in text) if rng.random() < CARELESS_SHARE else text


def _typed(character: str, rng: random.Random) -> str:
    if rng.random() >= ERROR_RATE:
        return character
    return rng.choice(("", character * 2, rng.choice(NEIGHBOURS.get(character, character))))
