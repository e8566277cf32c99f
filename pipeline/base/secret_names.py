"""Recognises names of settings, headers and URL parameters whose values are secrets."""

import re

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_]+")
_STEMS = re.compile(
    "passw|passphrase|passcode|passkey|pwd|secret|token|credential|apikey|privatekey|accesskey|authkey|"
    "sessionid|sessid|authori[sz]ation|authentication|bearer|cookie|signature|kennwort|passwort|contrase|motdepasse|"
    "userpass|(?:access|alarm|auth|confirmation|disarm|door|entry|gate|lock|login|pin|security|unlock|user|verification)codes?"
)
_WORDS = re.compile(
    "pass|passes|pas|pw|psw|psk|pins?|otp|totp|jwt|auth|authn|hmac|sig|sas|sid|session|sessionid|keys?|creds?|"
    "dsn|webhooks?|community"
)
_STRONG = re.compile(
    "passw.*|passphrase|passcode|pwd|pw|psk|secret|token|credentials?|bearer|kennwort|passwort|apikey|pin|otp"
)
_PASSWORD = re.compile("passw(?!.*(?:less|file)).*|passphrase|passcode|pwd|pw|kennwort|pin|otp")
_PARAMETERS = re.compile("(login|user|usr|sess|account).*|u|p|code")
_HARMLESS_ENDINGS = re.compile(
    "file|path|folder|dir|names?|url|count|seconds|minutes|hours|days|bytes|size|length|limit"
)
_MAX_NAME = 200
"""Maximum number of characters of a name that are checked, from its end."""
_NAMES_OF_SECRETS = frozenset({"password_secret", "url_secret"})
"""Fields of a camera's document that hold the name of a secret, not the secret itself."""


def is_secret_name(name: str) -> bool:
    """Whether a setting, header or field of this name, such as `apiKey` or `X-Auth`, holds a secret."""
    words = _words(name)
    if name in _NAMES_OF_SECRETS or (words and _HARMLESS_ENDINGS.fullmatch(words[-1])):
        return False
    return words == ["private"] or _names_secret(words)


def is_strong_secret_name(name: str) -> bool:
    """Whether the name is unambiguous, such as `db.password`; `key` and `auth` are also ordinary words."""
    words = _words(name)
    return bool(words) and any(
        _STRONG.fullmatch(last) is not None for last in (words[-1], "".join(words[-2:]))
    )


def is_password_name(name: str) -> bool:
    """Whether a word that follows the name may be the secret: `token` and `secret` also precede names."""
    words = _words(name)
    return bool(words) and _PASSWORD.fullmatch(words[-1]) is not None


def is_secret_parameter(name: str) -> bool:
    """Whether a URL parameter of this name is hidden: cameras abbreviate names, and user names are hidden
    too."""
    words = _words(name)
    return _names_secret(words) or any(_PARAMETERS.fullmatch(word) for word in words)


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name[-_MAX_NAME:])]


def _names_secret(words: list[str]) -> bool:
    return _STEMS.search("".join(words)) is not None or any(_WORDS.fullmatch(word) for word in words)
