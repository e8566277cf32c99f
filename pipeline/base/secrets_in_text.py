"""Hides secrets in free text, recognised by how they are written: `password=…`, `Cookie: …`, `bob:…@host`.

Every pattern takes linear time: its repetitions are possessive or bounded, and it starts at the beginning of
a word.
"""

import re

from pipeline.base.secret_names import is_password_name, is_secret_name, is_strong_secret_name
from pipeline.base.urls import HIDDEN

MAX_CHARACTERS = 65_536
"""Longer texts are truncated before they are searched."""
_CUT_BACK = 1024
"""Maximum number of characters by which the text is shortened further, to end at a space and not inside a
secret."""

_USER_INFO = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}:(?:(?!//)\S){1,256}@(?=[\w\[])")
_SCHEME = re.compile(r"\b((?i:Bearer|Basic|Token|Digest))\s++(?=\S*[0-9A-Z=])[A-Za-z0-9+/=._~-]{8,}")
_HEADER = re.compile(r"(?<![\w.-])(?P<name>[A-Za-z][\w-]*+):[ \t]*+(?=[^\s])")
_HEADERS = frozenset({"authorization", "cookie"})
_PAIR = re.compile(
    r"""(?<![\w.-])(?P<name>[\w.-]++)(?P<between>\\?["']\s?(?:[:=]|=>)\s?|\s?(?::=|=>?|->|→)\s?)"""
    r"""(?P<value>\\"(?:(?!\\")[^\r\n])*+(?:\\")?|"(?:[^"\\\r\n]|\\.)*+"?|'(?:[^'\\\r\n]|\\.)*+'?"""
    r"""|[\[{(][^\r\n]*+|(?:[^\s,;&"'})\]]|["'](?=\w))++)"""
)
_LABEL = re.compile(r"(?<![\w.-])(?P<name>[\w.-]++):[ \t]?")
_LABELLED = re.compile(r"(?P<value>[^\s,;]++)(?P<end>[ \t]*+(?:[\r\n,;]|\Z))?")
_LOGIN = re.compile(
    r"(?:\b(?i:auth\w*+|log[ -]?in|user(?:name)?|credentials?|account)\b(?:[^\r\n:]|:\s){0,60}?(?<=\s)"
    r"|(?<!\S)(?:-u|--(?:proxy-)?user)[ =])[\"']?(?P<user>[\w.+@-]{1,64}):(?P<value>[^\s/][^\s\"']*+)"
)
_NAME = re.compile(r"(?<![\w.-])(?:(?i:api|access|private|auth)[ \t]+(?=(?i:key)\b))?[\w.-]++(?=[ \t:])")
_NAME_STEMS = ("pass", "pw", "psk", "secret", "token", "cred", "bearer", "kennwort", "key", "pin", "otp")
_STATES = re.compile(
    r"(?:[ \t]+[\w.@-]{1,40}){0,4}?(?::|[ \t]+(?i:is|was|are|were|ist|war|lautet|est|es|equals|becomes|to)"
    r"(?:[ \t]+(?i:now|still|currently))?:?)(?=[ \t])"
)
_STATED = re.compile(
    r"""[ \t]+(?P<value>"[^"\r\n]++"|'[^'\r\n]++'|`[^`\r\n]++`|[^\s"'`]++)"""
    r"""(?P<unit>[ \t]+(?i:char|byte|bit|digit|letter|second|minute|hour|day|time|of\b|to\b))?"""
)
_MORE = re.compile(r"[ \t]*(?:,(?:[ \t](?:and|or|und|oder))?|[ \t](?:and|or|und|oder))(?=[ \t])")
_PUNCTUATION = ".,;:!?()[]{}"
_FLAG = re.compile(
    r"""(?<![\w-])--?(?P<name>[A-Za-z][\w-]{0,60})(?P<between>["']?,?[ \t]["']?)"""
    r"""(?P<value>(?=[^\s"',\d]*+\d)[^\s"',]++)"""
)


def cut(text: str) -> tuple[str, int]:
    """The text up to a space before `MAX_CHARACTERS`, and the number of characters cut off."""
    if len(text) <= MAX_CHARACTERS:
        return text, 0
    shortest = MAX_CHARACTERS - _CUT_BACK
    end = max(text.rfind(" ", shortest, MAX_CHARACTERS), text.rfind("\n", shortest, MAX_CHARACTERS), shortest)
    return text[:end], len(text) - end


def hide_user_info(text: str) -> str:
    """Hide `user:password` before the @ of a host that has no URL scheme."""
    return _USER_INFO.sub(f"{HIDDEN}@", text) if "@" in text and ":" in text else text


def hide_values(text: str) -> str:
    """Hide the values of headers, assignments, options and logins that have secret names."""
    text = _SCHEME.sub(rf"\1 {HIDDEN}", text)
    if ":" in text:
        text = "".join(map(_hide_header, text.splitlines(keepends=True)))
    if any(sign in text for sign in "=:>→"):
        text = _PAIR.sub(_hide_pair, text)
    if ":" in text:
        text = _hide_labelled(text)
        text = _LOGIN.sub(_hide_login, text)
    text = _hide_stated(text)
    return _FLAG.sub(_hide_pair, text) if "-" in text else text


def _hide_header(line: str) -> str:
    """Hide the rest of the line after the first header with a secret name."""
    for found in _HEADER.finditer(line):
        if found["name"].lower() in _HEADERS or ("-" in found["name"] and is_secret_name(found["name"])):
            end = len(line.rstrip("\r\n"))
            return line[: found.end()] + HIDDEN + line[end:]
    return line


def _hide_pair(found: re.Match[str]) -> str:
    return _without_value(found) if is_secret_name(found["name"]) else found[0]


def _hide_labelled(text: str) -> str:
    """Hide the word after `password:` and the like if it ends a line or a clause."""
    parts, kept, place = [], 0, 0
    while label := _LABEL.search(text, place):
        place = label.end()
        if not is_strong_secret_name(label["name"]) or not (found := _LABELLED.match(text, place)):
            continue
        if found["end"] is not None and not found["value"].startswith(HIDDEN):
            parts += [text[kept:place], HIDDEN]
            kept = found.end("value")
        place = found.end("value")
    return "".join([*parts, text[kept:]])


def _hide_stated(text: str) -> str:
    """The text without the value in `the password of bob is hunter2` or `with password hunter2`.

    Ordinary words stay: `the password is wrong`, `the token is 32 characters long`.
    """
    parts, kept = [], 0
    for named in _NAME.finditer(text):
        name = named[0].lower()
        if not any(stem in name for stem in _NAME_STEMS) or named.start() < kept:
            continue
        is_password = is_password_name(name)
        if not is_password and name not in ("pass", "passe") and not is_strong_secret_name(name):
            continue
        states = _STATES.match(text, named.end())
        if states is None and not is_password:
            continue
        place: int | None = states.end() if states else named.end()
        while place is not None and (found := _STATED.match(text, place)):
            if not _is_secret_value(found, is_stated=states is not None):
                break
            end = found.start("value") + len(found["value"].rstrip(_PUNCTUATION))
            parts += [text[kept : found.start("value")], HIDDEN]
            kept = end
            more = _MORE.match(text, end)
            place = more.end() if more else None
    return "".join([*parts, text[kept:]])


def _is_secret_value(found: re.Match[str], *, is_stated: bool) -> bool:
    value = found["value"].strip(_PUNCTUATION)
    if value.startswith(HIDDEN) or not any(map(str.isalnum, value)):
        return False
    if value[0] in "\"'`":
        return True
    if value.isdigit():
        return len(value) > 2 and found["unit"] is None
    words = re.split(r"[-'/]", value)
    if all(word.isalpha() and (word.islower() or word.istitle() or word.isupper()) for word in words):
        return False
    return is_stated or (any(map(str.isdigit, value)) and any(map(str.isalpha, value)))


def _hide_login(found: re.Match[str]) -> str:
    user, value = found["user"], found["value"]
    is_port = value.isdigit() and ("." in user or user == "localhost")
    return found[0] if user.isdigit() or is_port else _without_value(found)


def _without_value(found: re.Match[str]) -> str:
    if found["value"].strip("\\\"'").startswith(HIDDEN):
        return found[0]
    return found[0][: found.start("value") - found.start()] + HIDDEN
