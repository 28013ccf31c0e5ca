"""Built cases with a fixed seed: values of each kind and hard negatives, each in a sentence, with where it stands.

The same cases serve the tests and benchmarks/pii. The makers know nothing of the code they test: check digits are
computed here once more, by other means.
"""

import random
from collections.abc import Callable, Iterator

from benchmarks.pii.truth import Case

SENTENCES = (
    "Please write to {} before Friday, or ask at the desk.",
    "{}",
    "The record holds {}.",
    "Contact ({}) for details",
    'He said: "{}", and hung up.',
    "| name | {} | open |",
    "Straße 5, Köln - {} - bitte prüfen.",
    "请联系 {} 谢谢。",
    "请联系{}谢谢",
    "value: {}\nnext line",
    "- {}, since yesterday; the rest follows",
    "<p>{}</p>",
    "Я получил {} вчера.",
)
WORDS = ("anna", "ben", "carla", "dmitri", "elif", "farid", "grace", "hugo", "ines", "jonas", "kofi", "lena", "mei")
HOSTS = ("mailbox", "uni-koeln", "acme-corp", "posteo", "fastpost", "kontor", "blue.sky", "cs.oxbridge", "example-shop")
TOPS = ("com", "de", "org", "co.uk", "io", "fr", "museum", "com.br", "xn--p1ai", "net")
CARDS = (("4", 16), ("4", 13), ("4", 19), ("51", 16), ("55", 16), ("2221", 16), ("34", 15), ("37", 15), ("36", 14),
         ("305", 14), ("6011", 16), ("65", 16), ("3530", 16), ("62", 16), ("6759", 12), ("5018", 13))  # fmt: skip
IBANS = {"GB": "aaaannnnnnnnnnnnnn", "DE": "n" * 18, "FR": "n" * 10 + "c" * 11 + "nn",
         "NL": "aaaannnnnnnnnn", "NO": "n" * 11, "PL": "n" * 24, "MT": "aaaannnnn" + "c" * 18, "CH": "nnnnn" + "c" * 12,
         "ES": "n" * 20, "IT": "a" + "n" * 10 + "c" * 12, "BR": "n" * 23 + "ac", "SE": "n" * 20}  # fmt: skip


def built_cases(per_kind: int = 300, seed: int = 20_260_101) -> list[Case]:
    """Return `per_kind` cases of each kind and of each sort of hard negative."""
    cases = []
    for kind, make in MAKERS.items():
        draw = random.Random(f"{seed} {kind}")
        cases += [_placed(draw, make(draw), kind, kind) for _ in range(per_kind)]
    for what, make in NEGATIVES.items():
        draw = random.Random(f"{seed} not {what}")
        cases += [_placed(draw, make(draw), None, what) for _ in range(per_kind)]
    return cases


def _placed(draw: random.Random, value: str, kind: str | None, what: str) -> Case:
    before, after = draw.choice(SENTENCES).split("{}")
    start = len(before.encode())
    spans = ((start, start + len(value.encode()), kind),) if kind is not None else ()
    return Case(before + value + after, spans, what)


def email(draw: random.Random) -> str:
    local = (
        draw.choice(WORDS) + draw.choice((".", "_", "+", "-", "")) + draw.choice((*WORDS, str(draw.randrange(9999))))
    )
    return f"{draw.choice((local, local.title()))}@{draw.choice(HOSTS)}.{draw.choice(TOPS)}"


def ipv4(draw: random.Random) -> str:
    first = draw.choice([n for n in range(1, 224) if n not in (10, 100, 127, 169, 172, 192, 198, 203)])
    return ".".join(str(n) for n in (first, draw.randrange(256), draw.randrange(256), draw.randrange(1, 255)))


def ipv6(draw: random.Random) -> str:
    groups = [f"{draw.randrange(0x2003, 0x3FFE):x}", *(f"{draw.randrange(0x10000):x}" for _ in range(7))]
    if draw.random() < 0.5:
        first = draw.randrange(3, 6)
        return ":".join(groups[:first]) + "::" + ":".join(groups[first + 1 : first + 2])
    written = ":".join(groups)
    return draw.choice((written, written.upper()))


def credit_card(draw: random.Random) -> str:
    prefix, length = draw.choice(CARDS)
    body = prefix + "".join(str(draw.randrange(10)) for _ in range(length - len(prefix) - 1))
    digits = next(body + str(last) for last in range(10) if passes_luhn(body + str(last)))
    joint = draw.choice(("", "", " ", "-"))
    grouping = {16: (4, 4, 4, 4), 15: (4, 6, 5), 14: (4, 6, 4), 19: (4, 4, 4, 4, 3), 12: (4, 4, 4)}.get(length)
    return digits if grouping is None else joint.join(_groups(digits, grouping))


def _groups(digits: str, grouping: tuple[int, ...]) -> Iterator[str]:
    start = 0
    for length in grouping:
        yield digits[start : start + length]
        start += length


def passes_luhn(digits: str) -> bool:
    doubled = {str(n): sum(map(int, str(2 * n))) for n in range(10)}
    return (sum(map(int, digits[-1::-2])) + sum(doubled[digit] for digit in digits[-2::-2])) % 10 == 0


def iban(draw: random.Random) -> str:
    country = draw.choice(list(IBANS))
    alphabet = {"n": "0123456789", "a": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "c": "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"}
    body = "".join(draw.choice(alphabet[each]) for each in IBANS[country])
    check = 98 - int("".join(str(int(each, 36)) for each in body + country + "00")) % 97
    written = f"{country}{check:02}{body}"
    grouped = " ".join(written[at : at + 4] for at in range(0, len(written), 4))
    return draw.choice((written, written, grouped, written.lower()))


def phone(draw: random.Random) -> str:
    area, exchange, last = draw.choice((212, 312, 415, 617)), draw.randrange(220, 550), draw.randrange(1000, 9999)
    return draw.choice(
        (
            f"({area}) {exchange}-{last}",
            f"{area}-{exchange}-{last}",
            f"+1 {area} {exchange} {last}",
            f"+1{area}{exchange}{last}",
            f"{area}.{exchange}.{last}",
            f"+49 30 {draw.randrange(200000, 999999)}",
            f"+33 1 42 {draw.randrange(10, 99)} {draw.randrange(10, 99)} {draw.randrange(10, 99)}",
            f"020 7946 {draw.randrange(1000, 9999)}",
        )
    )


def key(draw: random.Random) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

    def some(number: int, of: str = alphabet) -> str:
        return "".join(draw.choice(of) for _ in range(number))

    return draw.choice(
        (
            f"AKIA{some(16, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567')}",
            f"ghp_{some(36)}",
            f"github_pat_{some(22)}_{some(59)}",
            f"glpat-{some(20)}",
            f"xoxb-{some(12, '0123456789')}-{some(24)}",
            f"AIza{some(35)}",
            f"sk_live_{some(24)}",
            f"sk-proj-aB3{some(45)}",
            f"sk-ant-api03-aB3{some(90)}",
            f"hf_aB3{some(31)}",
            f"npm_{some(36)}",
            f"pypi-AgEIcHlwaS5vcmc{some(60)}",
            f"SG.{some(22)}.{some(43)}",
            f"eyJhbGciOiJIUzI1NiJ9.eyJ{some(30)}.{some(43)}",
            f"-----BEGIN RSA PRIVATE KEY-----\n{some(64)}\n{some(64)}\n{some(40)}==\n-----END RSA PRIVATE KEY-----",
        )
    )


def digits(draw: random.Random, number: int) -> str:
    return "".join(str(draw.randrange(10)) for _ in range(number))


def wrong_card(draw: random.Random) -> str:
    right = credit_card(draw)
    return right[:-1] + str((int(right[-1]) + draw.randrange(1, 10)) % 10)


def wrong_iban(draw: random.Random) -> str:
    right = iban(draw)
    return right[:2] + f"{(int(right[2:4]) + draw.randrange(1, 97)) % 97:02}" + right[4:]


def not_email(draw: random.Random) -> str:
    name = draw.choice(WORDS)
    return draw.choice(
        (
            f"@{name}.route",
            f"{name}@localhost",
            f"{name}@2x.png",
            f"{name}@{draw.randrange(9)}.{draw.randrange(20)}.{draw.randrange(20)}",
            f"git@github.com:{name}/tools.git",
            f"{name}@host:/srv/data",
            f"https://{name}:secret@db.acme.com/x",
            f"{name}@example.com",
            f"getty@{name}.service",
            f"x @ {name}.T",
            f"{name} at acme dot com",
            f"{name}@",
        )
    )


def not_ip(draw: random.Random) -> str:
    small = ".".join(str(draw.randrange(30)) for _ in range(4))
    return draw.choice(
        (
            small,
            f"version {draw.randrange(40, 90)}.0.{draw.randrange(4000, 9999)}.{draw.randrange(200)}",
            f"v{draw.randrange(9)}.{draw.randrange(60)}.{draw.randrange(60)}.{draw.randrange(60)}",
            f"192.168.{draw.randrange(255)}.{draw.randrange(255)}",
            f"{draw.randrange(100, 255)}.{draw.randrange(256)}.{draw.randrange(256, 999)}.7",
            f"1.3.6.1.4.1.{draw.randrange(9999)}",
            "std::vector<int>::iterator",
            f"a[::{draw.randrange(2, 9)}]",
            f"{draw.randrange(24):02}:{draw.randrange(60):02}:{draw.randrange(60):02}",
            f"fe80::{draw.randrange(4096, 65535):x}:abcd:12ff",
            ":".join(f"{draw.randrange(256):02x}" for _ in range(draw.choice((6, 8, 16, 20)))),
            "dead::beef::cafe",
            "Cafe::Bad::Ace",
        )
    )


def not_phone(draw: random.Random) -> str:
    day, month, year = draw.randrange(1, 29), draw.randrange(1, 13), draw.randrange(1970, 2030)
    return draw.choice(
        (
            f"{year}-{month:02}-{day:02}",
            f"{day:02}.{month:02}.{year}",
            f"{year}-{month:02}-{day:02} 12:30:45",
            f"ISBN 978-3-16-{digits(draw, 6)}-0",
            f"978 0 306 {digits(draw, 5)} 7",
            f"{digits(draw, 3)}-{digits(draw, 2)}-{digits(draw, 4)}",
            f"pp. {draw.randrange(1000, 2000)}-{draw.randrange(2000, 3000)}",
            f"id {digits(draw, 10)}",
            f"{digits(draw, 10)}",
            f"{draw.randrange(1, 9)},{digits(draw, 3)},{digits(draw, 3)}",
            f"3.{digits(draw, 12)}",
            f"{draw.randrange(9)}.{draw.randrange(30)}.{draw.randrange(30)}-{draw.randrange(30)}",
            f"{digits(draw, 8)}-{digits(draw, 4)}-{digits(draw, 4)}-{digits(draw, 4)}-{digits(draw, 12)}",
            f"{draw.randrange(100, 999)} 000 000",
            f"$ {digits(draw, 3)} {digits(draw, 3)} {digits(draw, 3)}",
        )
    )


def not_key(draw: random.Random) -> str:
    return draw.choice(
        (
            "AKIAIOSFODNN7EXAMPLE",
            "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "sk-loading-spinner-container-outer",
            f"hf_hub_download_{draw.choice(WORDS)}_with_retries",
            "-----BEGIN PUBLIC KEY-----",
            "eyJub3QiOiJhIHRva2VuIn0",
            "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
            "npm_config_registry",
            f"risk-{draw.choice(WORDS)}-based-management-of-things",
        )
    )


MAKERS: dict[str, Callable[[random.Random], str]] = {
    "email": email,
    "phone": phone,
    "ipv4": ipv4,
    "ipv6": ipv6,
    "credit_card": credit_card,
    "iban": iban,
    "key": key,
}
NEGATIVES: dict[str, Callable[[random.Random], str]] = {
    "not an e-mail address": not_email,
    "not a telephone number": not_phone,
    "not an IP address": not_ip,
    "wrong check digit of a card": wrong_card,
    "wrong check digits of an IBAN": wrong_iban,
    "not a key": not_key,
}
