"""Remove secrets from text: one pure function, through which every byte of a bundle goes.

In doubt it removes too much: the rest of a line, a long word. It does not recognise a secret that nothing marks as
one, such as a bare word in a log.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection
from typing import Any
from urllib.parse import quote

#: The text that replaces a secret.
MARK = "REDACTED"

_SENSITIVE = (
    r"(?:pass(?!ed|es\b|ing|ive|-vlan)|pwd|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|encryption[-_]?key"
    r"|credential|cookie|auth(?!or(?!iz)))"
)
_SECRET_KEY = re.compile(_SENSITIVE, re.IGNORECASE)
#: The keys for a container's environment, command and arguments in the JSON of Docker's API.
_GIVEN = ("env", "environment", "cmd", "args", "entrypoint", "test")
#: Values that are no secrets, and show whether a setting is on.
_PLAIN = ("", "true", "false", "yes", "no", "on", "off", "null", "none")

_STRING = r'"(?:[^"\\]|\\.)*"'
_KEY_BLOCK = re.compile(
    r"-----BEGIN [^\n]{0,40}PRIVATE KEY.*?(?:-----END [^\n]{0,40}PRIVATE KEY(?:-----)?|\Z)", re.DOTALL
)
_KEY_END = re.compile(r"\A.*-----END [^\n]{0,40}PRIVATE KEY(?:-----)?", re.DOTALL)
_LONG = re.compile(r"[A-Za-z0-9+/]{40,}={0,2}")
_URL = re.compile(r"://[^\s]+")
_PROXY = re.compile(r"(?P<key>proxy[\w.-]{0,60}[\"'\\]*\s*[=:]\s*)(?P<value>\S+)", re.IGNORECASE)
_GIVEN_LIST = re.compile(
    rf'(?P<key>"(?:{"|".join(_GIVEN)})"\s*:\s*)\[(?:\s*{_STRING}\s*,?)*\s*(?:\]|"[^\n]*|\Z)?', re.IGNORECASE
)
#: The rest of a line and its continuation: up to a closing bracket, after a backslash, or YAML's indented text.
_REST = r"(?:[\[{][^\]}]*[^\n]*|[|>]?[-+]?[ \t]*(?:\n[ \t]+[^\n]*)+|[^\n]*(?:(?<=\\)\n[^\n]*)*)"
_PAIR = re.compile(
    rf"(?P<key>{_SENSITIVE}[\w.-]{{0,80}}(?<!\.go))"
    rf'(?:(?P<json>"\s*:\s*)(?P<string>{_STRING})|(?P<sign>["\'\\]*[ \t]*[=:]+[ \t]*)(?P<rest>{_REST}))',
    re.IGNORECASE,
)
_FURTHER = re.compile(r"(?:true|false), (?=[\w-]+ ?=)")  # a daemon may list its settings on one line
_OPTION = re.compile(
    rf"(?P<key>(?<![\w-])--?[\w-]{{0,40}}{_SENSITIVE}[\w-]{{0,40}}[\"']?,?[ \t])(?P<rest>{_REST})", re.IGNORECASE
)
_BEARER = re.compile(r"(?P<key>\b(?:bearer|basic)\s+)(?=\S*[\d=])\S{6,}", re.IGNORECASE)
_KNOWN_FORMS = re.compile(
    r"\b(?:eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?|AKIA[0-9A-Z]{16}|gh[pousr]_\w{20,}|glpat-[\w-]{16,}"
    r"|xox[abprs]-[\w-]{10,}|SWM(?:TKN|KEY)-\S+)"
)
#: A key as Go prints bytes, such as `[246 72 19 …]`: dockerd's journal has those of its gossip. A key as a number in
#: hexadecimal: dockerd's journal has those of encrypted networks.
_BYTES = re.compile(r"\[(?:\d{1,3}[ ,]+){7,}\d{1,3}\]")
_NUMBER = re.compile(r"(?P<key>key\W{0,5})0x[0-9a-f]{16,}", re.IGNORECASE)


def redacted(text: str, known: Collection[str] = ()) -> str:
    """Return the text without its secrets, and without those in `known`, also in JSON, URL or base64 form.

    Secrets are private keys, passwords, tokens, credentials in URLs, and the environment and arguments of containers.
    """
    text = _without(text, known)
    try:
        document = _parsed(text)
        text = _text(text) if document is None else json.dumps(_value(document), indent=2, ensure_ascii=False) + "\n"
    except RecursionError:
        return MARK
    return _without(text, known)


def _without(text: str, known: Collection[str]) -> str:
    forms = {form for secret in known if secret for form in _forms(secret)}
    for form in sorted(forms, key=lambda form: (-len(form), form)):
        text = text.replace(form, MARK)
    return text


def _forms(secret: str) -> tuple[str, ...]:
    data = secret.encode(errors="replace")
    return (
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(data, safe=""),
        base64.b64encode(data).decode(),
    )


def _parsed(text: str) -> Any:
    """Return a JSON object or array; None for any other text."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _value(value: Any, key: str = "") -> Any:
    if _SECRET_KEY.search(key):
        return _hidden(value)
    if key.lower() in _GIVEN and isinstance(value, list):
        return [_name_of(one) for one in value]
    if key.lower() in _GIVEN:
        return _hidden(value)
    if isinstance(value, dict):
        return {_text(name): _value(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [
            _hidden(one) if _takes_secret(before) else _value(one)
            for before, one in zip(("", *value), value, strict=False)
        ]
    if not isinstance(value, str):
        return value
    return _host_of(value) if "proxy" in key.lower() else _text(value)


def _takes_secret(word: Any) -> bool:
    """Whether a word of a command line is an option whose value is secret."""
    return isinstance(word, str) and word.startswith("-") and "=" not in word and bool(_SECRET_KEY.search(word))


def _hidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {_text(name): _hidden(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_hidden(one) for one in value]
    return value if value is None or str(value).lower() in _PLAIN else MARK


def _name_of(given: Any) -> str:
    """Return NAME=REDACTED for an environment's NAME=value, and REDACTED for anything else."""
    name, sign, _ = given.partition("=") if isinstance(given, str) else ("", "", "")
    return f"{name}={MARK}" if sign and re.fullmatch(r"[A-Za-z_]\w{0,80}", name) else MARK


def _host_of(url: str) -> str:
    """Return a URL, or any text, without the part before its last at sign."""
    before, sign, host = url.rpartition("@")
    scheme = re.match(r"[a-z][a-z0-9+.]*://", before)
    return f"{scheme[0] if scheme else ''}{MARK}@{host}" if sign else _text(url)


def _text(text: str) -> str:
    if "\n" in text:  # each line may be JSON
        text = "\n".join(map(_line, text.split("\n")))
    elif (document := _parsed(text)) is not None:
        return json.dumps(_value(document), ensure_ascii=False)
    text = _KEY_BLOCK.sub(MARK, text)
    text = _KEY_END.sub(MARK, text)
    text = _KNOWN_FORMS.sub(MARK, text)
    text = _BYTES.sub(f"[{MARK}]", text)
    text = _NUMBER.sub(rf"\g<key>{MARK}", text)
    text = _GIVEN_LIST.sub(rf"\g<key>[{MARK}]", text)
    text = _URL.sub(_without_login, text)
    text = _PROXY.sub(lambda found: found["key"] + _after_login(found["value"]), text)
    text = _PAIR.sub(_pair, text)
    text = _OPTION.sub(lambda found: found["key"] + _plain_or_mark(found["rest"]), text)
    text = _BEARER.sub(rf"\g<key>{MARK}", text)
    return _LONG.sub(_long, text)


def _line(line: str) -> str:
    """Redact a line that is JSON or ends with a JSON object, such as a line of a daemon's log in the journal."""
    start = 0 if line.lstrip().startswith("[") else max(line.find("{"), 0)
    document = _parsed(line[start:])
    return line if document is None else line[:start] + json.dumps(_value(document), ensure_ascii=False)


def _without_login(found: re.Match[str]) -> str:
    return f"://{_after_login(found[0][3:])}"


def _after_login(address: str) -> str:
    _, sign, host = address.rpartition("@")
    return f"{MARK}@{host}" if sign else address


def _pair(found: re.Match[str]) -> str:
    if found["json"]:
        return f'{found["key"]}{found["json"]}"{_plain_or_mark(found["string"][1:-1])}"'
    return found["key"] + found["sign"] + _plain_or_mark(found["rest"])


def _plain_or_mark(value: str) -> str:
    if further := _FURTHER.match(value):
        return further[0] + _text(value[further.end() :])
    return value if value.strip(" \t\r\"',;})").lower() in _PLAIN else MARK


def _long(found: re.Match[str]) -> str:
    """Redact a word that may be a part of a key. A hash in hex and a path in lower case are not."""
    word = found[0]
    mixed = any(map(str.isupper, word)) and any(map(str.islower, word)) and any(map(str.isdigit, word))
    return MARK if mixed else word
