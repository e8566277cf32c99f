"""Redacts secrets in everything that is shown, logged or stored.

A secret is recognised because it was read from a known place (`KNOWN`), by its name
(`pipeline.base.secret_names`), by its place in a URL (`pipeline.base.urls`), or by the text around it
(`pipeline.base.secrets_in_text`).
"""

import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote

from pipeline.base.secret_names import is_secret_name
from pipeline.base.secrets_in_text import cut, hide_user_info, hide_values
from pipeline.base.urls import HIDDEN, holds_secret, looks_random, mask_url, mask_urls, origin

MIN_KNOWN_LENGTH = 8
"""Minimum length of secrets that are hidden anywhere in text; shorter texts may occur by chance."""

_NAMING = ("name", "key", "header", "field", "id", "option", "parameter")
"""Keys of a mapping that name its value, as in `{name = "X-Api-Key", value = …}`."""
_VALUES = ("value", "values", "text", "content", "data", "val")
"""Keys of the value in such a mapping."""
_PLAIN_NAME = re.compile(r"-{0,2}[\w.-]{1,40}")

_SHOWN_OPTIONS = frozenset(
    {
        *(
            "address",
            "camera",
            "cameras",
            "dir",
            "directory",
            "endpoint",
            "file",
            "files",
            "folder",
            "format",
        ),
        *("host", "hosts", "language", "level", "locale", "method", "mode", "path", "port", "protocol"),
        *("server", "servers", "timezone", "topic", "unit", "units", "uri", "url", "urls", "zone"),
    }
)
"""Names of plugin options, by their last word, whose texts are shown."""
_SHOWN_TEXT = re.compile(r"[\w./ -]{0,100}(?::[0-9]{1,5})?")
_MIXED = re.compile(r"(?=[A-Za-z]{0,99}[0-9])(?=[0-9]{0,99}[A-Za-z])[A-Za-z0-9]{8,}|[^\s/.,_-]{21,}")
_OPTION_SECRETS = frozenset({"code", "codes", "login", "logins", "private"})


class KnownSecrets:
    """Secrets that this process has read, for example from the settings. Thread-safe."""

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def add(self, secret: str) -> None:
        """Add a secret, to be hidden also in percent-encoded form or escaped as in JSON and `repr`."""
        if len(secret) < MIN_KNOWN_LENGTH:
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
    """Hide known secrets, logins, and secret parameters of URLs in free text; truncates to 64 Ki characters.

    `pairs`: also hide the values of `password=…`, `"token": …`, `Cookie: …`, `Bearer …` and the like.
    """
    begin, more = cut(KNOWN.hide(text))
    shown = hide_user_info(mask_urls(begin))
    shown = hide_values(shown) if pairs else shown
    return f"{shown}… ({more} more characters)" if more else shown


def redact(value: object, name: str = "") -> object:
    """Replace each secret in a value, at any depth, by ***. `name`: the key or setting that holds the value.

    In a mapping with a secret name, all texts are hidden, and numbers only if their own names are secret too.
    """
    return _redact(value, all_values=is_secret_name(name), texts=False)


def _redact(value: object, *, all_values: bool, texts: bool) -> object:
    if isinstance(value, Mapping):
        named = _is_named_secret(value)
        return _with_unique_keys(
            (
                redact_text(key) if isinstance(key, str) else key,
                _redact(
                    inner,
                    all_values=is_secret_name(str(key)) or (named and key in _VALUES),
                    texts=all_values or texts,
                ),
            )
            for key, inner in value.items()
        )
    if isinstance(value, list | tuple | set | frozenset):
        items = list(value)
        return [
            _redact(inner, all_values=all_values or _follows_secret_name(items, place), texts=texts)
            for place, inner in enumerate(items)
        ]
    hidden = all_values or (texts and isinstance(value, str))
    if hidden and not isinstance(value, bool) and value not in (None, "", 0):
        return HIDDEN
    return redact_text(value) if isinstance(value, str) else value


def redact_options(value: object, name: str = "") -> object:
    """Hide everything in plugin options that is not known to be harmless.

    Numbers and booleans are shown unless their name is secret. Texts are shown if their name is in
    `_SHOWN_OPTIONS` and they look like words, paths or hosts. URLs are reduced to scheme and host, because
    the path of a webhook is secret.
    """
    words = re.split(r"[^a-z0-9]+", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower())
    if is_secret_name(name) or not _OPTION_SECRETS.isdisjoint(words):
        return value if isinstance(value, bool) or value in (None, "", 0, [], {}) else HIDDEN
    if isinstance(value, Mapping):
        named = _is_named_secret(value)
        return _with_unique_keys(
            (
                _shown_key(str(key)),
                HIDDEN if named and key not in _NAMING else redact_options(inner, str(key)),
            )
            for key, inner in value.items()
        )
    if isinstance(value, list | tuple):
        return [
            HIDDEN if _follows_secret_name(value, place) else redact_options(inner, name)
            for place, inner in enumerate(value)
        ]
    if isinstance(value, str):
        return _shown_option(value) if words[-1] in _SHOWN_OPTIONS else (HIDDEN if value else "")
    return value


def _shown_option(text: str) -> str:
    if "://" in text:
        shown = origin(text) if not re.search(r"\s", text) else HIDDEN
        return HIDDEN if looks_random(shown) else shown
    harmless = _SHOWN_TEXT.fullmatch(text) and not _MIXED.search(text) and not looks_random(text)
    return redact_text(text) if harmless else HIDDEN


def _shown_key(key: str) -> str:
    plain = _PLAIN_NAME.fullmatch(key) and not _MIXED.search(key) and not looks_random(key)
    return redact_text(key) if plain else HIDDEN


def _is_named_secret(value: Mapping[object, object]) -> bool:
    """Whether a mapping is like `{name = "X-Api-Key", value = …}`."""
    names = [name for key in _NAMING if isinstance(name := value.get(key), str)]
    return any(_PLAIN_NAME.fullmatch(name) and is_secret_name(name) for name in names)


def _follows_secret_name(items: Sequence[object], place: int) -> bool:
    """Whether the item before names it as a secret: `["X-Api-Key", …]`, or an option such as `--token`."""
    before = items[place - 1] if place else None
    if not isinstance(before, str) or not _PLAIN_NAME.fullmatch(before) or not is_secret_name(before):
        return False
    return before.startswith("-") or (len(items) == 2 and not isinstance(items[place], Mapping))


def _with_unique_keys(entries: Iterable[tuple[object, object]]) -> dict[object, object]:
    """A mapping of all entries; keys that have become equal are numbered."""
    unique: dict[object, object] = {}
    for key, value in entries:
        free, number = key, 1
        while free in unique:
            number += 1
            free = f"{key} ({number})"
        unique[free] = value
    return unique


def secret_places(value: object, name: str = "") -> Iterator[str]:
    """Paths of the secrets in a value that is to be stored, such as `meta.password`."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            shown = mask_url(str(key))
            place = f"{name}.{shown}" if name else shown
            if shown != str(key) or (is_secret_name(str(key)) and inner not in (None, "")):
                yield place
            else:
                yield from secret_places(inner, place)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from secret_places(inner, name)
    elif isinstance(value, str) and ("@" in value or "://" in value) and holds_secret(value):
        yield name
