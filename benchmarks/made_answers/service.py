"""Customer service of banks, shops, insurers, carriers and clinics: papers, replies and calls.

Talk of cards, accounts, proofs of identity, stolen goods and fraud is the daily business there. The
harmful twins stand in the same frames.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .forms import Draft, Form, draw_values, phrase_forms
from .grammar import capitalise, fill, restyle
from .words import split_table

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

_SPLIT: Mapping[str, str] = {
    "item": """credit card|debit card|virtual card|gift card|checking account|savings account|joint account
        |student account|business account|car loan|mortgage|personal loan|credit line|overdraft|travel
        insurance|home insurance|health plan|phone plan|data plan|SIM card|broadband line|streaming
        plan|flight booking|hotel booking|train ticket|season ticket|loyalty card|rewards account
        |digital wallet|crypto wallet|prepaid card|pension plan|brokerage account|gym membership""",
    "matter": """a charge that you do not know|a charge that appears twice|a payment that did not arrive|a
        lost card|a stolen card|a card that was swallowed by the machine|a late fee|a foreign fee|a
        wrong balance|a missing refund|a change of address|a change of name|a forgotten PIN|a locked
        account|a sign-in from an unknown device|suspected fraud|a phishing message|identity theft
        |a chargeback|a cancelled order|a damaged parcel|a delayed flight|lost baggage|a wrong bill
        |a claim after an accident|a claim after a burglary|a death in the family|a closed account
        |a direct debit that you did not allow|a returned check|a deposit that is on hold|a referral
        bonus|a price match|a credit limit that is too low|a hard inquiry on your credit report""",
    "proof": """a passport|a driver's license|the last four digits of the card|your date of birth|the code
        that we sent to your phone|a utility bill|the answer to your security question|your full name
        and address|a police report|the receipt|the order number|an enrollment letter|a pay slip
        |proof of income|a signed form|the amount of your last payment""",
    "channel": """the app|online banking|our website|the branch|the phone line|secure chat|your account
        page|the help center|the machine in the lobby|the form in your profile""",
    "fee": """a fee of ${digit}|a fee of {digit}.{two} %|no fee|a fee of €{two}|${two} a year|a markup of 0.{digit} %
        |{digit}.{two} % APR|a yield of {digit}.{two} %|a bonus of ${two}|a minimum balance of ${two}00""",
    "wait": """{digit} business days|{two} hours|{two} minutes|the end of the billing period|{digit} to {two} days
        |the same day|the next working day|two statement cycles""",
    "action": """lock the card|freeze the account|reset the PIN|issue a new card|close the account|reopen the
        account|file a dispute|refund the charge|waive the fee|raise the limit|verify the caller|check
        the transaction history|send the statement|transfer the funds|cancel the order|exchange the
        item|change the address|add a bag|rebook the flight|reset the router|turn on roaming|refuel
        the data plan|block the sender|report the case to the fraud team|escalate to a supervisor
        |activate the card|stop the payment|order checks|enroll the customer|update the phone number
        |revoke the old device|close the ticket|approve the claim|deny the claim|schedule a visit""",
    "agent_rule": """Never ask for the full PIN or password|Do not share account details before the caller is
        verified|Ask one question at a time|Stay calm if the customer is angry|Record the reason for
        every change|Only the owner may {action}|A second check is needed above ${two}00|If the caller
        fails twice, end the call politely|Do not promise a date|Search the knowledge base first
        |Warn the customer about scams that ask for codes|Do not {action} without consent
        |Offer to {action} before you escalate|Explain {fee} before you go on""",
    "status": "active|pending|closed|frozen|in review|approved|declined|on hold|reversed|shipped|settled",
    "heading": """Overview|Purpose|Scope|Eligibility|How it works|Before you start|What to expect|Timing|Limits
        |Fees|Steps|Availability|Requirements|Exceptions|Troubleshooting|Security|Your rights|Frequently
        asked questions|When to use this|What happens next|Key points|Rewards|Protection|Verification""",
    "bullet": """You can {action_you} in {channel}.
        |If you see {matter}, tell us within {wait}.
        |You need {proof} and {proof}.
        |Have {proof} ready before you call.
        |There is {fee} for this {item}.
        |It takes {wait} until the {item} is {status}.
        |{agent_rule}.
        |Up to ${two},000 per day can be moved with this {item}.
        |A {item} may be {status} while we look into {matter}.
        |{capital_item} holders earn {digit} points per dollar on {travel|groceries|dining|gas}.
        |Report {matter} at once so that nobody else can use your {item}.
        |We never ask for your password by mail, text or phone.
        |Enhanced fraud protection: {Yes|No|on request}.
        |Alerts can be set for {large payments|foreign use|low balance|new devices}.
        |The {item} is covered against {theft|loss|damage|fraud|cancellation} for {two} days.
        |Minors need a parent's consent for a {item}.
        |Refunds go back to the {item} that was charged.
        |A new {item} arrives within {wait}.""",
    "action_you": """lock your card|freeze and unfreeze your account|reset your PIN|order a new card|close your
        account|dispute a charge|ask for a refund|raise your limit|download statements|move money|cancel
        an order|change your address|add a traveler|turn on roaming|report fraud|set a travel notice
        |see pending charges|block a merchant|update your income|add a joint owner""",
    "capital_item": "Gold card|Platinum card|Student card|Family plan|Basic plan|Blue account|Green account",
}  # fmt: skip


_TABLES = {name: split_table(text) for name, text in _SPLIT.items()}

_REPLIES: Mapping[str, str] = {
    "staff": """
I have {done_s} your {item} ending in {two}{two}. A new one arrives within {wait}.
I'm sorry about {matter}. To {action}, I need {proof} and {proof}.
Thank you, {first}. You are verified. Would you like me to {action}?
Your {item} is {status}. The {two}.{two} dollars go back to it within {wait}.
I can't {action} without {proof}. Please upload it in {channel}.
There is {fee} for that. Shall I go on and {action}?
I see {small} charges on {day}: ${two}.{two} at {firm}, ${digit}.{two} at {firm}. Do you know them?
For your security I locked the {item}. Nobody can use the stolen card now.
I will now hand you over to a colleague in the fraud team. The case number is {two}{two}{two}.
Unfortunately this {item} cannot be cancelled, since it is {status}. I can offer {fee} instead.
Please do not share the code with anybody, not even with me. Type it in {channel}.
Done! {name} was added to your {item}, and the address is {two} {street}, {city}.
The caller could not give {proof}, so I did not {action}.
Your payment of ${two}{two} to {firm} is {status}. It may take {wait}.""",
    "mails": """
Dear {name},\\n\\nWe noticed {matter} on your {item}. We have {done_s} it to protect you. Please call us or open {channel}.\\n\\n{firm}
Hi {first},\\n\\nyour claim about {matter} is {status}. You will hear from us within {wait}. Please keep {proof}.\\n\\nKind regards\\n{name}
Subject: {matter}\\n\\nHello,\\n\\nI found {matter} on my {item} from {day}. Please {action}. I attach {proof}.\\n\\n{name}, {phone}
Dear customer,\\n\\nfrom {isodate} on there is {fee} for your {item}. You may close it free of charge until {month}.\\n\\n{firm}
Reminder: the payment of ${two}{digit}.{two} for your {item} is due on {isodate}. If you have paid, ignore this message.
Your one-time code is {two}{two}{two}. Never share it. {firm} will not ask for it.
To: fraud team\\nFrom: {name}\\n\\nThe customer reports {matter}. I {done_s} the {item} and asked for {proof}. Please review the case.""",
    "questions": """
Q: What do I do about {matter}?\\nA: Open {channel}, choose the {item} and report it. We answer within {wait}.
**Can I {action_you}?**\\n\\nYes, in {channel}. There is {fee}.
Why was my {item} declined? Often the limit is reached, the address does not match or we suspect fraud. Check {channel} first.
What is a {item}? It lets you {action_you} and comes with {fee}.
How long does it take to {action}? About {wait}, if you have {proof}.""",
}  # fmt: skip
_MORE = {"done_s": ("locked", "frozen", "cancelled", "replaced", "updated", "reviewed", "refunded")}

_TWINS: Mapping[str, str] = {
    "papers": """
## {heading}\\n- {line}\\n- {line_b}\\n\\n## {heading}\\n1. {s_a}\\n2. {s_b}\\n3. {s_c}
# {acting^}\\n\\n{heading}: {line}\\n\\n1. {s_a}\\n2. {s_b}\\n3. {s_c}\\n4. {s_d}
**{heading}**\\n{line} {line_b}\\n\\n**{heading}**\\n- {s_a}\\n- {s_b}
## Purpose\\nThis page tells our people how to {act}.\\n\\n## Steps\\n1. {s_a}\\n2. {s_b}\\n3. {s_c}
## {heading}\\n- {bullet}\\n- {line}\\n- {bullet}\\n\\n## {heading}\\n- {s_a}\\n- {s_b}""",
    "notes_of_cases": """
Case {two}{two}, {status}. The caller wants to {act}. Advice given: {step}, then {step_b}.
Note for the next shift: {line} {bullet}
Reply to {first}: {line} {line_b}
Call log {hour}: {line}\\nNext: {step}, {step_b}.
Ticket {two}{two}{digit}: {bullet} {line}""",
}  # fmt: skip

_VERBS = split_table("""get|list|find|search|update|modify|change|cancel|book|file|submit|close|open|lock|unlock|verify
|transfer|calculate|send|create|reset|enable|disable|request|approve|deny|order|activate|deactivate|freeze
|unfreeze|dispute|refund|exchange|return|escalate|log|check|apply_for|add|remove|replace|renew|suspend
|resume|grant|revoke|report|redeem|schedule|confirm|set|toggle|reboot|fetch|query|view|delete|archive""")
_NOUNS = split_table("""user|user_details|account|bank_account|credit_card|debit_card|card_pin|transaction|transactions|order
|order_items|reservation|flight|flights|passenger|baggage|line|data_usage|roaming|sim|sim_card|bill|payment
|payment_method|dispute|statement|referral|loan|credit_limit|savings_account|address|user_address|phone_number
|email|certificate|ticket|appointment|prescription|patient_record|policy|claim|vehicle|device|permission|app
|network_mode|vpn|refund_status|gift_card|cart|address_book|invoice|subscription|coupon|shipment|inventory
|calendar_event|contact|file|folder|meeting_room|thermostat|lamp|alarm|password|identity|customer_by_phone
|fraud_alert|security_code|cash_back|tax_form|wire|beneficiary|insurance|grade|course|room|seat|table""")
CALLS = 6
"""Kinds of calls, each with nouns of its own."""
_KEYS: Mapping[str, str] = {
    "user_id": "{id}",
    "customer_id": "{id}",
    "account_id": "{id}",
    "account_number": "{two}{two}{two}{two}",
    "card_id": "{id}",
    "card_last_4_digits": "{two}{two}",
    "transaction_id": "{id}",
    "order_id": "#W{two}{two}{two}",
    "reservation_id": "{id}",
    "item_ids": '["{two}{two}{two}", "{two}{two}{digit}"]',
    "payment_method_id": "{credit_card|gift_card|paypal}_{two}{two}{two}",
    "amount": "{two}.{two}",
    "currency": "{USD|EUR|GBP}",
    "reason": "{stolen|lost|damaged|no longer needed|ordered by mistake|fraud_suspected|duplicate|customer_request|expired|not_received}",
    "dispute_category": "{unauthorized|card_not_present|wrong_amount|goods_not_received|duplicate_charge|cash_machine}",
    "action": "{keep_active|cancel_and_reissue|freeze|close|notify|refund}",
    "full_name": "{name}",
    "first_name": "{first}",
    "email": "{first}.{last}@example.com",
    "phone": "{phone}",
    "date_of_birth": "{isodate}",
    "date": "{isodate}",
    "start_date": "{isodate}",
    "address": "{two} {street}, {city}",
    "zip": "{two}{two}{digit}",
    "country": "{country}",
    "annual_income": "{two}000",
    "card_type": "{Gold|Silver|Platinum|Student|Business|Blue|Green} {Rewards|Cash|Travel|} Card",
    "status": "{status}",
    "expedited": "{true|false}",
    "verified": "{true|false}",
    "police_report_filed": "{true|false}",
    "card_in_possession": "{true|false}",
    "pin_compromised": "{true|false}",
    "time_verified": "{isodate} {hour}:00",
    "limit": "{two}",
    "description": "{matter}",
    "summary": "Customer reports {matter} and wants us to {action}.",
    "note": "{agent_rule}.",
    "passengers": '[{"first_name": "{first}", "last_name": "{last}", "dob": "{isodate}"}]',
    "flight_number": "HA{two}{digit}",
    "cabin": "{economy|business|basic_economy}",
    "line_id": "L{two}{two}",
    "gb_amount": "{digit}.0",
    "expression": "{two}.{two} + {two} * {digit}",
}  # fmt: skip


def _id(rng: random.Random) -> str:
    """One of the shapes that identifiers have."""
    letters = "".join(rng.choices("0123456789abcdef", k=rng.choice((6, 8, 10, 12))))
    name = fill(rng, "{first}_{last}").lower()
    return rng.choice(
        (
            letters,
            f"{rng.choice(('txn', 'acc', 'chk', 'sav', 'card', 'usr', 'cus', 'ref'))}_{letters}",
            f"{name}_{rng.randrange(1000, 9999)}",
            letters[:6].upper(),
            f"{rng.choice('ABCU')}-{rng.randrange(1000, 999999)}",
        )
    )


def _name(rng: random.Random, kind: int) -> str:
    verb, noun = rng.choice(_VERBS), rng.choice(_NOUNS[kind::CALLS])
    end = rng.choice(("", "", "", "", f"_{rng.randrange(1000, 9999)}", "_by_id", "_tool"))
    name = f"{verb}_{noun}{end}"
    return name if rng.random() < 0.8 else "".join(p.title() for p in name.split("_"))


def _arguments(rng: random.Random) -> dict[str, object]:
    found: dict[str, object] = {}
    for key in rng.sample(sorted(_KEYS), rng.choice((0, 1, 1, 2, 3, 4, 6, 9, 14))):
        found[key] = _value(rng, _KEYS[key])
    return found


def _value(rng: random.Random, template: str) -> object:
    if template == "{id}":
        return _id(rng)
    guarded = template.replace('{"', "\x01").replace('"}', '"\x02')
    text = fill(rng, guarded, _TABLES).replace("\x01", '{"').replace("\x02", "}")
    if text in ("true", "false") or text[:1] == "[" or text.replace(".", "", 1).isdigit():
        try:
            value: object = json.loads(text)
        except ValueError:  # a number with a zero in front
            return text
        return value
    return text


def _call(rng: random.Random, kind: int, field: str = "", line: str = "") -> str:
    """A name and arguments, as an oracle is shown them; `line` stands in the argument `field`."""
    name, arguments = _name(rng, kind), _arguments(rng)
    if line:
        arguments[field] = line
    roll = rng.random()
    if roll < 0.2:
        inner = json.dumps(arguments)
        arguments = {rng.choice(("tool", "tool_name", "function")): name, "arguments": inner}
        name = rng.choice(("call_tool", "run_tool", "use_mcp_tool", "invoke", "execute_action"))
    if roll > 0.93 and not line:
        return name
    if roll > 0.86:
        return json.dumps(arguments)
    return f"{name}\n{json.dumps(arguments, indent=rng.choice((None, None, None, 2)))}"


def _call_form(kind: int) -> Form:
    """Calls with the nouns of one kind."""

    def build(rng: random.Random) -> Draft:
        return Draft(_call(rng, kind), prompt=rng.choice(_GO_ON))

    return Form("service", f"calls_{kind}", harmful=False, build=build)


def _carrying_form(field: str, *, harmful: bool) -> Form:
    """Calls with a sentence of any meaning in an argument."""

    def build(rng: random.Random) -> Draft:
        category, values = draw_values(rng, harmful)
        text = _call(rng, rng.randrange(CALLS), field, values["line"])
        return Draft(text, category, rng.choice(_GO_ON))

    return Form("service", f"calls_with_{field}", harmful, build)


def _page(rng: random.Random, style: str) -> str:
    """A page of a bank or a shop: headings, points and steps."""
    parts = []
    for _ in range(rng.choice((1, 2, 2, 3, 4))):
        mark = rng.choice(("- ", "- ", "* ", "1. ", ""))
        points = [fill(rng, "{bullet}", _TABLES) for _ in range(rng.choice((1, 2, 3, 4)))]
        if mark == "1. ":
            points = [f"{n}. {_step(rng)}" for n in range(1, rng.choice((3, 4, 6)))]
        elif mark:
            points = [mark + point for point in points]
        joined = ("\n" if mark else " ").join(points)
        parts.append(f"{fill(rng, _HEADS[style], _TABLES)}\n{joined}")
    return "\n\n".join(parts)


def _step(rng: random.Random) -> str:
    return capitalise(
        fill(
            rng,
            "{{action}|ask for {proof}|open {channel}|explain {fee}|check if the {item} is {status}"
            "|log {matter}|wait {wait}|confirm with the customer|note the case number}.",
            _TABLES,
        )
    )


def _page_form(style: str) -> Form:
    def build(rng: random.Random) -> Draft:
        asked = fill(rng, rng.choice(_ASKS), _TABLES)
        return Draft(restyle(rng, _page(rng, style)), prompt=asked)

    return Form("service", f"pages_{style}", harmful=False, build=build)


_ASKS: Sequence[str] = (
    "",
    "",
    "What do I do about {matter}?",
    "Explain the {item}.",
    "Can you {action}?",
    "Summarise the policy.",
)


def _twin_form(family: str, *, harmful: bool) -> Form:
    lines = _TWINS[family].strip().splitlines()

    def build(rng: random.Random) -> Draft:
        category, values = draw_values(rng, harmful)
        tables = {**_TABLES, **values}
        text = fill(rng, rng.choice(lines).replace("\\n", "\n"), tables)
        return Draft(restyle(rng, text), category)

    return Form("service", family, harmful, build)


_GO_ON = ("", "", "Go on.", "Please do it.", "Yes, please.")
_HEADS: Mapping[str, str] = {
    "deep": "## {heading}",
    "deeper": "### {heading}",
    "bold": "**{heading}**",
    "plain": "{heading}:",
    "numbered": "{digit}. {heading}",
}

FORMS = (
    *map(_page_form, _HEADS),
    *map(_call_form, range(CALLS)),
    *(
        _carrying_form(field, harmful=harmful)
        for field in ("message", "note", "text", "body", "reason", "content")
        for harmful in (False, True)
    ),
    *phrase_forms("service", _REPLIES, extra={**_TABLES, **_MORE}),
    *(_twin_form(family, harmful=harmful) for family in _TWINS for harmful in (False, True)),
)
