"""No secret leaves in a bundle, however it is written; and what a person looks for is still there."""

from __future__ import annotations

import base64
import json
import shlex
import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.bundle.redaction import MARK, redacted

CANARY = "c4n4ry-Zq7Yx"
KEY = "\n".join(
    (
        "-----BEGIN {kind}PRIVATE KEY-----",
        *(f"MIIEvQIBADANBgkqhkiG9w0{line:02}BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj" for line in range(6)),
        "Zq7YxLast==",
        "-----END {kind}PRIVATE KEY-----",
    )
)
#: Where a secret may stand, as text.
PLACES = {
    "a variable": "A=1\nDB_PASSWORD={}\nB=2\n",
    "a unit": 'Environment="API_TOKEN={}" "B=2"\n',
    "a unit that goes on": "Environment=API_TOKEN=\\\n  {}\nUser=etcd\n",
    "a proxy in a unit": 'Environment="HTTPS_PROXY=http://user:{}@proxy.example:3128/"\n',
    "a proxy without a scheme": "http_proxy=user:{}@proxy.example:3128\n",
    "a registry in a log": 'level=error msg="Get \\"https://user:{}@registry.example/v2/\\": EOF"\n',
    "a login with an at sign": "https://user@example:{}@registry.example/v2/ answered 401\n",
    "an option": "dockerd --kv-password {} --debug\n",
    "an option with a sign": "dockerd --kv.password={} --debug\n",
    "a header": "> Authorization: Basic {}\n",
    "a bearer": "sent Bearer {}=1\n",
    "YAML": "auth:\n  basic:\n    - {}\nother: 1\n",
    "YAML's text": "password: |\n  {}\nother: 1\n",
    "a log in JSON": 'Nov 24 node1 etcd[3]: {{"level":"info","auth-token":"{}","msg":"ready"}}\n',
    "a log in JSON that was cut": 'node1 etcd[3]: {{"level":"info","msg":"ready","auth-token":"{}\n',
    "JSON in a log's quotes": 'msg="body: {{\\"identitytoken\\":\\"{}\\"}}"\n',
    "an environment that was cut": '{{"Env": [\n  "PATH=/bin",\n  "FIRST={}",\n  "LAST={}\n',
    "arguments that were cut": '{{"Args": ["--name", "{}"], "x": \n',
    "a list in JSON that was cut": '{{"tokens": [\n  "{}"\n], "x": \n',
    "a swarm's unlock key": "unlocked with SWMKEY-1-{}\n",
    "a swarm's token": "docker swarm join --token SWMTKN-1-{} 192.0.2.1:2377\n",
}
DOCUMENTS = {
    "daemon.json": {"proxies": {"http-proxy": "http://user:{}@proxy.example:3128"}, "debug": True},
    "a proxy without a scheme": {"HttpProxy": "user:{}@proxy.example:3128"},
    "a container": {"Config": {"Env": ["PATH=/bin", "HARMLESS={}"], "Cmd": ["serve", "{}"], "Entrypoint": ["{}"]}},
    "its arguments": [{"Path": "serve", "Args": ["-x", "{}"]}],
    "its environment by name": {"environment": {"HARMLESS": "{}"}},
    "labels": {"Labels": {"com.example.secret": "{}", "traefik.basicauth.users": "me:{}"}},
    "logins": {"auths": {"registry.example": {"auth": "{}", "email": "{}"}}},
    "a list": {"tokens": ["{}", ["{}"]]},
    "options": ["serve", "--password", "{}"],
    "a text in it": {"diff": "--- f\n+++ f\n+DB_PASSWORD={}\n", "evidence": "https://me:{}@registry.example/"},
    "JSON in it": {"body": '{"password": "{}"}'},
    "a name": {"https://me:{}@registry.example": 1},
}


def filled(value: object, secret: str) -> object:
    if isinstance(value, str):
        return value.replace("{}", secret)
    if isinstance(value, list):
        return [filled(one, secret) for one in value]
    if isinstance(value, dict):
        return {filled(name, secret): filled(one, secret) for name, one in value.items()}
    return value


@pytest.mark.parametrize("place", PLACES)
def test_no_secret_is_left_where_one_may_stand(place: str) -> None:
    text = PLACES[place].format(*[CANARY] * PLACES[place].count("{}"))
    assert CANARY in text
    assert CANARY not in redacted(text)
    assert MARK in redacted(text)


@pytest.mark.parametrize("place", DOCUMENTS)
@pytest.mark.parametrize("indent", [None, 4])
def test_no_secret_is_left_in_a_document(place: str, indent: int | None) -> None:
    document = filled(DOCUMENTS[place], CANARY)
    for text in (json.dumps(document, indent=indent), f"{json.dumps(document)}\n{json.dumps(document)}\n"):
        assert CANARY in text
        assert CANARY not in redacted(text)


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
def test_no_line_of_a_private_key_is_left(kind: str) -> None:
    key = KEY.format(kind=kind)
    inner = key.splitlines()[1:-1]
    journal = "\n".join(f"Nov 24 05:14:16 node1 cat[7]: {line}" for line in key.splitlines())
    half = "\n".join(key.splitlines()[3:])
    for text in (
        key,
        journal,
        half,
        key[: len(key) // 2],
        json.dumps({"text": key}),
        json.dumps(key),
        shlex.quote(key),
    ):
        result = redacted(f"before\n{text}") if text is not half else redacted(text)
        assert not [line for line in inner if line in result]


ALPHABET = string.ascii_letters + string.digits + "!#$%&()*+,-./:;<=>?@[]^_`{|}~'"
SECRETS = st.text(ALPHABET, min_size=1, max_size=30).map(lambda text: f"{CANARY}{text}{CANARY}")
ANYTHING = st.text(min_size=1, max_size=30).map(lambda text: f"{CANARY}{text}{CANARY}")


@given(SECRETS, st.sampled_from(sorted(PLACES)), st.text(max_size=50), st.text(max_size=50))
def test_no_part_of_any_word_is_left_in_any_place(secret: str, place: str, before: str, after: str) -> None:
    if "[" in place or place in ("a list in JSON that was cut", "arguments that were cut"):
        secret = secret.replace("]", "")
    if place == "YAML" and secret.startswith(("[", "{")):
        return
    text = PLACES[place].format(*[secret] * PLACES[place].count("{}"))
    assert CANARY not in redacted(f"{before}\n{text}{after}")


@given(ANYTHING, st.sampled_from(sorted(set(DOCUMENTS) - {"JSON in it", "a text in it", "a name"})))
def test_no_part_of_any_text_is_left_in_a_document(secret: str, place: str) -> None:
    if "://" in str(DOCUMENTS[place]):
        secret = quote(secret)
    assert CANARY not in redacted(json.dumps(filled(DOCUMENTS[place], secret)))


@given(st.text(min_size=3), st.text(), st.text())
def test_a_secret_that_is_known_is_nowhere(secret: str, before: str, after: str) -> None:
    forms = [
        secret,
        json.dumps({"said": secret}),
        quote(secret, safe=""),
        base64.b64encode(secret.encode(errors="replace")).decode(),
    ]
    for form in forms:
        assert secret not in redacted(f"{before}{form}{after}", [secret]).replace(MARK, "\0")


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    assert isinstance(redacted(text), str)


def test_a_document_too_deep_is_taken_out_whole() -> None:
    assert CANARY not in redacted("[" * 900 + f'"token={CANARY}"' + "]" * 900)
    assert CANARY not in redacted("[" * 100_000 + f'"token={CANARY}"')


@pytest.mark.parametrize(
    "text", ["-----BEGIN PRIVATE KEY" * 20_000, "://" * 100_000, "token" * 80_000, '"Env": [' * 50_000]
)
@pytest.mark.timeout(20)
def test_no_text_takes_long(text: str) -> None:
    redacted(text)


def test_what_a_person_looks_for_is_left() -> None:
    text = """\
ETCD_CLIENT_CERT_AUTH=true
ETCD_KEY_FILE=/etc/etcd/pki/server.key
ETCD_LISTEN_CLIENT_URLS=https://192.0.2.1:2379
sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 f6e0a1e2ac41945a9aa7ff8a8aaa0cebc12a3bcc981a
/var/lib/docker/overlay2/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08/merged
{"level":"info","caller":"auth/store.go:1366","msg":"client-cert-auth = true, crl-file = x"}
LISTEN 0 4096 192.0.2.1:2379 0.0.0.0:* users:(("etcd",pid=681,fd=8))
net.bridge.bridge-nf-pass-vlan-input-dev = 0
update of the authority docker: passed
"""
    assert redacted(text).split() == text.replace('","', '", "').replace('":"', '": "').split()


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("msg=x Keys:[[246 72 7 255 0 1 2 3] [9 8 7 6 5 4 3 2 1]]", "msg=x Keys:[[REDACTED] [REDACTED]]"),
        ("Failed Adding rSA{Key: 0x0123456789abcdef0123}", "Failed Adding rSA{Key: REDACTED}"),
        ("ports [22 2377 7946] of container 0x12", "ports [22 2377 7946] of container 0x12"),
    ],
)
def test_keys_that_dockerd_writes_into_its_journal_are_gone(line: str, shown: str) -> None:
    assert redacted(line) == shown
