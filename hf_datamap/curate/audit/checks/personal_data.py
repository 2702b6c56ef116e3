"""Personal data in prompts and responses: mail addresses, phone numbers, payment cards, bank accounts, public IPs.

Candidates are found by form and kept only when a library says that they are valid: phonenumbers (Google's) and
python-stdnum (checksums). What is found is never shown in full.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from hf_datamap.curate.audit.context import AuditContext
from hf_datamap.curate.texts.facts import prompt_text
from hf_datamap.data.example import Example

_MAIL: Final = re.compile(r"\b[\w.+-]{1,64}@((?:[a-z0-9-]{1,63}\.){1,4}[a-z]{2,24})\b", re.IGNORECASE)
_EXAMPLE_DOMAINS: Final = re.compile(r"(?i)(?:^|\.)(?:example\.(?:com|org|net)|test|invalid|domain\.com|email\.com)$")
_PHONE: Final = re.compile(r"\+\d[\d ()./-]{6,18}\d")
_CARD: Final = re.compile(r"\b(?:\d[ -]?){12,18}\d\b")
_IBAN: Final = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")
_ADDRESS: Final = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b")


def personal_data(context: AuditContext) -> None:
    """Rows that hold personal data, by kind; needs the extra ``privacy``."""
    view, log = context.view, context.log
    why = view.layout_error if view.layout is None else _missing()
    if why:
        log.left_out["personal_data"] = log.not_measured["personal_data"] = why
        return
    rows: list[int] = []
    evidence: list[dict[str, object]] = []
    kinds: Counter[str] = Counter()
    for first, batch in view.batches():
        for place, example in enumerate(batch):
            if not isinstance(example, Example):
                continue
            items = [hit for text in (prompt_text(example), *example.responses) for hit in personal_items(text or "")]
            if items:
                rows.append(first + place)
                kinds.update({kind for kind, _ in items})
                if len(evidence) < context.evidence:
                    entry = context.example_rows([first + place])[0]
                    del entry["prompt"]  # the item itself may stand in it
                    evidence.append(
                        entry | {"holds": ", ".join(sorted({f"{kind} {mask(item)}" for kind, item in items}))}
                    )
    log.rows_finding(
        "personal_data",
        np.array(rows, np.int64),
        view.rows,
        "hold personal data"
        + (f" ({', '.join(f'{kind} {count:,}' for kind, count in kinds.most_common())})" if kinds else ""),
        alarm=0.01,
        detail="Valid by form and checksum; that they belong to a person is likely, not certain. Remove or mask them "
        "before publishing.",
        evidence=evidence,
    )


def personal_items(text: str) -> Iterator[tuple[str, str]]:
    """Kind and value of each piece of personal data in a text."""
    digits = any(map(str.isdigit, text))
    for kind, pattern, valid, of_digits in _KINDS:
        if digits if of_digits else "@" in text:
            for match in pattern.finditer(text):
                if valid(match[0]):
                    yield kind, match[0]


def mask(item: str) -> str:
    """The first two characters, and how many more there are."""
    return f"{item[:2]}… ({len(item)} characters)"


def _is_phone(text: str) -> bool:
    import phonenumbers

    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(text)))
    except phonenumbers.NumberParseException:
        return False


def _is_card(text: str) -> bool:
    from stdnum import luhn

    digits = re.sub(r"\D", "", text)
    return digits[0] in "3456" and len(set(digits)) > 3 and bool(luhn.is_valid(digits))


def _is_account(text: str) -> bool:
    from stdnum import iban

    return bool(iban.is_valid(text))


def _is_public(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


def _is_mail(text: str) -> bool:
    return _EXAMPLE_DOMAINS.search(text.rpartition("@")[2]) is None


def _missing() -> str:
    """Why personal data cannot be looked for; empty where it can."""
    try:
        import phonenumbers  # noqa: F401
        import stdnum  # noqa: F401
    except ImportError:
        return "personal data needs two small libraries: pip install 'hf_datamap[privacy]'"
    return ""


#: Kind, form, what makes it valid, and whether it has digits at all (most texts need not be searched).
_KINDS: Final[tuple[tuple[str, re.Pattern[str], Callable[[str], bool], bool], ...]] = (
    ("mail address", _MAIL, _is_mail, False),
    ("phone number", _PHONE, _is_phone, True),
    ("payment card", _CARD, _is_card, True),
    ("bank account", _IBAN, _is_account, True),
    ("IP address", _ADDRESS, _is_public, True),
)
