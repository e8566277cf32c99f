"""The one secret detector: what is shown, logged or stored passes here before it leaves the process.

A secret is known by where it came from (`KNOWN`), by the name it is kept under
(`pipeline.base.secret_names`), or by its place in a URL (`pipeline.base.urls`).
"""

import json
import re
import threading
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from pipeline.base.secret_names import is_secret_name
from pipeline.base.urls import HIDDEN, holds_secret, looks_random, mask_urls, origin

SHORTEST_KNOWN = 8
"""Shorter secrets are hidden by their place alone: as text they would occur by chance."""

_PAIR = re.compile(
    r"""(?P<name>[A-Za-z_][\w.-]{0,80})(?P<between>["']\s?[:=]\s?|\s?=\s?)(?P<value>"[^"\n]*"|'[^'\n]*'|[^\s,;&"'})\]]+)"""
)
_SCHEME = re.compile(r"\b((?i:Bearer|Basic|Token|Digest))\s+(?=\S*[0-9A-Z=])[A-Za-z0-9+/=._~-]{8,}")
_HEADER = re.compile(r"([A-Za-z][\w-]*)\s*:\s*\S")
_MIXED = re.compile(r"(?=[A-Za-z]{0,99}[0-9])(?=[0-9]{0,99}[A-Za-z])[A-Za-z0-9]{8,}|[^\s/.,_-]{21,}")
_NAMING = ("name", "key", "header", "field")


class KnownSecrets:
    """Secrets of this process whose origin is known; safe to use from every thread."""

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def add(self, secret: str) -> None:
        """Hide the secret from now on, also percent-encoded or escaped as in JSON and in `repr`."""
        if len(secret) < SHORTEST_KNOWN:
            return
        forms = {
            secret,
            quote(secret, safe=""),
            quote(secret),
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            repr(secret)[1:-1],
        }
        with self._lock:
            self._forms = tuple(sorted(forms.union(self._forms), key=len, reverse=True))

    def hide(self, text: str) -> str:
        """The text with each known secret replaced by ***."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        return text


KNOWN = KnownSecrets()


def redact_text(text: str, *, pairs: bool = True) -> str:
    """Free text without known secrets and without logins and secret parameters of URLs.

    With `pairs` also without the values of `password=…`, `"token": …`, `Bearer …` and the like.
    """
    text = mask_urls(KNOWN.hide(text))
    if not pairs:
        return text
    text = _SCHEME.sub(rf"\1 {HIDDEN}", text)
    return _PAIR.sub(_without_value, text) if "=" in text or ":" in text else text


def redact(value: object, name: str = "") -> object:
    """The value, however deep, with every secret in it replaced by ***; `name` is what it is kept under."""
    if isinstance(value, Mapping):
        return {
            key: redact(inner, name if is_secret_name(name) else str(key)) for key, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(inner, name) for inner in value]
    if is_secret_name(name) and not isinstance(value, bool) and value not in (None, "", 0):
        return HIDDEN
    return redact_text(value) if isinstance(value, str) else value


def redact_options(value: object, name: str = "") -> object:
    """The same for settings of plugins, of which nothing is known: what may be a secret is taken for one.

    Of URLs scheme and host remain, because the path of a webhook is its secret.
    """
    if is_secret_name(name):
        return redact(value, name)
    if isinstance(value, Mapping):
        named = next((value[key] for key in _NAMING if isinstance(value.get(key), str)), "")
        hidden = isinstance(named, str) and is_secret_name(named)
        return {
            key: redact(inner, "secret") if hidden and key not in _NAMING else redact_options(inner, str(key))
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        if len(value) == 2 and isinstance(value[0], str) and is_secret_name(value[0]):
            return [value[0], redact(value[1], "secret")]
        return [redact_options(inner, name) for inner in value]
    return _redact_option(value) if isinstance(value, str) else value


def _redact_option(text: str) -> str:
    if "://" in text and not re.search(r"\s", text):
        return origin(text)
    header = _HEADER.match(text)
    if (header and is_secret_name(header[1])) or _MIXED.search(text) or looks_random(text):
        return HIDDEN
    return redact_text(text)


def secret_places(value: object, name: str = "") -> Iterator[str]:
    """Where a value that will be stored holds secrets, such as `meta.password`."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            place = f"{name}.{key}" if name else str(key)
            if is_secret_name(str(key)) and inner not in (None, ""):
                yield place
            else:
                yield from secret_places(inner, place)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from secret_places(inner, name)
    elif isinstance(value, str) and ("@" in value or "://" in value) and holds_secret(value):
        yield name


def _without_value(found: re.Match[str]) -> str:
    if not is_secret_name(found["name"]) or found["value"].strip("\"'").startswith(HIDDEN):
        return found[0]
    return f"{found['name']}{found['between']}{HIDDEN}"
