"""Finds credentials by what they are assigned to: ``api_key = "..."``, ``"client_secret": "..."``, ``X-Api-Key: ...``, ``?sig=...``.

A value counts when it looks generated and a word before it says that it is secret, or names a service whose keys have no form of
their own. Passwords, which people make, count after the word alone when they are no stand-in.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from aisecure.detect.blocks import PASSWORD_LABEL, may_say_password
from aisecure.detect.expressions import lazy
from aisecure.detect.recognizer import Candidate, Recognizer
from aisecure.detect.window import Window

__all__ = ["ASSIGNED", "PASSWORDS"]

_SERVICES = (
    "adafruit adobe algolia alibaba amplitude asana atlassian auth0 azure beamer bitbucket bitly bittrex braintree bugsnag circleci cisco clickhouse clojars "
    "cloudant cloudflare cloudinary codecov coinbase cohere confluent contentful crowdin datadog deepgram deepl discord disqus docker droneci dropbox "
    "elastic etsy facebook fastly figma finicity finnhub firebase flickr freshbooks freshdesk github gitlab gitter gocardless grafana groq harness hashicorp heroku "
    "hubspot ibm infura intercom jenkins jfrog artifactory jira keycloak kraken kucoin lastfm launchdarkly linear lob looker mailchimp mailgun mailjet mandrill mapbox mapquest "
    "mattermost maxmind meraki messagebird mistral mixpanel mongodb netlify newrelic  notion npm nytimes okta onelogin openai openweather opsgenie pagerduty paypal percy pinecone "
    "plaid planetscale plivo pusher quay rapidapi razorpay readme reddit redis rollbar salesforce segment sendbird sendgrid sendinblue sentry shodan shopify sidekiq slack "
    "snyk softlayer sonar sourcegraph spotify square squarespace stackhawk strava stripe tencent terraform tfe travis trello twilio twitch twitter telegr dnkey   bintray sumo new_relic new-relic new_york_times new-york-times linkedin linked_in linked-in "
    "typeform unsplash virustotal vonage nexmo wakatime weatherbit webex wepay wordpress yandex zapier zendesk zoho zoom"
).split()
_SECRETIVE = (
    r"api[_ .-]?key|apikey|app[_-]?key|access[_ .-]?key|access[_ .-]?token|secret|token|auth|oauth|credentials?|creds|private[_ .-]?key|client[_ .-]?(?:id|secret|key)"
    r"|account[_-]?key|shared[_-]?key|signing[_-]?key|encryption[_-]?key|master[_-]?key|license[_-]?key|webhook|signature|sig|session[_-]?(?:id|key)|cookie"
    r"|passw(?:or)?d|passwd|pwd|passphrase|bearer|hmac|salt|(?<![A-Za-z])key"
)
_SECRET_WORD = lazy(_SECRETIVE)
# What stands between a name and its value: quotes and brackets of the name, an operator, quotes of the value.
_BETWEEN = " \t\"'`=:>,|(?!-)}]"
_IDENTIFIER = lazy(r"[A-Za-z0-9_.@-]++(?: [A-Za-z0-9_.-]+){0,2}\Z")
_OPERATORS = frozenset("=:>,|(")
_LOOSELY_NAMED = lazy(rf"(?:{_SECRETIVE})(?: (?:is|was|of|for))?\Z")
# What looks like such a name and holds nothing secret.
_PUBLIC = lazy(
    r"public|csrf|xsrf|credentials?[_-]?id|secrets?[_-]?id|client[_-]?id|key[_-]?(?:file|store|vault|size|length|pair|name|type|code|id|press|board|word|map)|key(?:file|store|vault|size|pair|pressed)"
    r"|bucket|partition|primary|foreign|sort[_-]?key|cache|author|authsource|token(?:izer|ize|type|count|s)|max[_-]?token|auth(?:or|enticated|entication[_-]?results)|fingerprint|checksum|digest|integrity|sha\d|md5",
    re.IGNORECASE,
)
_REACH = 64
#: How long before the operator a word may stand in the name.
_NAME = 44

_VALUE = lazy(r"(?<![A-Za-z0-9_+/~.-])[A-Za-z0-9_+/~.-]{10,150}={0,2}(?![A-Za-z0-9_+~-])")
_HEX = lazy(r"[a-f0-9]{16,128}|[A-F0-9]{16,128}")
_UUID = lazy(r"[A-Fa-f0-9]{8}(?:-[A-Fa-f0-9]{4}){3}-[A-Fa-f0-9]{12}")
_WORDY = lazy(r"(?:[A-Za-z]?[a-z]+|[A-Z]+|\d{1,4}|v\d+)(?:[-_./](?:[A-Za-z]?[a-z]+|[A-Z]+|\d{1,4}|v\d+))*")
_LONG_NUMBER = lazy(r"\d{15,20}")
# Names of programs, files, hosts and packages.
_NAME_OF_SOMETHING = lazy(
    r"//.*|[A-Za-z_]\w*(?:[./][A-Za-z_][\w-]*)+(?:\.\d+)?|[A-Za-z]+[\d.-]{1,8}|[\w-]+(?:\.[\w-]+)*"
    r"\.(?:com|net|org|io|de|pem|p12|key|crt|json|ya?ml|xml|py|js|ts|java|go|md|txt|whl|gz|zip|so|dll|deb|html?)"
)
_STAND_IN = lazy(
    r"example|sample|dummy|placeholder|changeme|change[_-]me|insert|your[_-]|xxxx|\.\.\.|test[_-]?(?:key|token|secret)|fake|redacted|todo|null|none|undefined|lorem|os\.|self\.|this\.|getenv|process\.|config\.|\(\)",
    re.IGNORECASE,
)
_LEAST_ENTROPY = 3.3
_FEWEST_DIGITS = 2


def _find(window: Window) -> Iterator[Candidate]:
    text = window.text
    for found in _VALUE.finditer(text, window.at):
        start, end = found.span()
        before = text[max(0, start - _REACH) : start]
        head = before.rstrip(_BETWEEN)
        if len(head) == len(before) or not head:
            continue
        named = _IDENTIFIER.search(head, max(0, len(head) - _NAME))
        if named is None:
            continue
        name = named.group().lower()
        service = _is_service(name)
        if not service and _SECRET_WORD.search(name) is None:
            continue
        value = found.group()
        if value.endswith("=") and len(value) % 4:  # no padding of base64
            value = value.rstrip("=")
            end = start + len(value)
        # The ids of some services are digits alone.
        if not _looks_generated(value) and not (service and _LONG_NUMBER.fullmatch(value)):
            continue
        if not _OPERATORS.isdisjoint(before[len(head) :]):
            if _PUBLIC.search(name):
                continue
            if service:
                yield Candidate(start, end, "secret.service_key", 0.85)
            elif not (_UUID.fullmatch(value) and name.endswith("key") and "api" not in name):
                yield Candidate(start, end, "secret.api_key", 0.75)
        elif _LOOSELY_NAMED.search(name) and not _HEX.fullmatch(value):
            yield Candidate(start, end, "secret.api_key", 0.6)


@lru_cache(1024)
def _is_service(name: str) -> bool:
    return any(word in name for word in _SERVICES)


def _looks_generated(value: str) -> bool:
    """Whether nobody would write it: mixed letters and digits, no words, no stand-in."""
    digits = sum(map(str.isdigit, value))
    if (
        digits < _FEWEST_DIGITS
        or digits > len(value) - 2
        or _WORDY.fullmatch(value)
        or _STAND_IN.search(value)
    ):
        return False
    return bool(_HEX.fullmatch(value) and len(set(value)) > 7) or _entropy(value) >= _LEAST_ENTROPY


def _entropy(text: str) -> float:
    """Return the entropy of the characters of a text, in bits each."""
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in Counter(text).values())


# -- passwords

_PASSWORD = lazy(r"[^\s\"'`<>,;]{4,80}")
_NO_PASSWORD = lazy(
    r"[$%{<\[(*].*|x+|\*+|\.+|-+|(?:your|my|the|new|old|enter|insert|change|no|any|an?|this|that|its|not|set|get|use|with|and|or|is|was|be|to|for|in|on|of|too|must|should|will|can|has|have|are|required|requires|invalid|incorrect|wrong"
    r"|missing|empty|needed|reset|expired|protected|hash|hashed|field|fields|input|prompt|policy|manager|generator|strength|length|based|less|change|changed|change[_-]?me|password|passwd|passphrase|pass|secret|none|null|nil|true|false|undefined|str|string|text"
    r"|bytes|int|bool|object|char|varchar|optional|example|sample|placeholder|redacted|hidden|self|this|os|env|config|settings|request|args|kwargs|data|form|value|values|name|username|user|key|token|type|default|confirm|confirmation|authentication|login|auth|only|when|if|as|from|at)"
    r"(?:[.\[(:].*|[.,;:!?)\]}]*)",
    re.IGNORECASE,
)
_CODE = lazy(r"[A-Za-z_][\w]*(?:\.[A-Za-z_]\w*)*[\[(.].*|[a-z]+(?:_[a-z]+)+|[A-Za-z]+\(?\)?")
_CALL = lazy(r"[(\[.]")
_TRAILING = ".,;:!?)]}"


def _find_passwords(window: Window) -> Iterator[Candidate]:
    text = window.text
    for label in PASSWORD_LABEL.finditer(text) if may_say_password(window.lower) else ():
        start = label.end()
        found = _PASSWORD.match(text, start) if start >= window.at else None
        if found is None:
            continue
        quoted = text[start - 1] in "\"'`"
        value = found.group() if quoted else found.group().rstrip(_TRAILING)
        if len(value) < _SHORTEST_PASSWORD or _NO_PASSWORD.fullmatch(value) or _STAND_IN.search(value):
            continue
        score = (
            _key_score(value, quoted=quoted) if label["key"] else _password_score(label, value, quoted=quoted)
        )
        if score:
            kind = "secret.api_key" if label["key"] else "secret.password"
            yield Candidate(start, start + len(value), kind, score)


_SHORTEST_PASSWORD = 4


def _key_score(value: str, *, quoted: bool) -> float:
    """People name many things keys and secrets; what is one has signs in it that no name has, or nobody would write it."""
    signs = len(_SIGN.findall(value))
    is_one = len(value) >= 8 and (signs > 4 or (quoted and (signs > 1 or _looks_generated(value))))
    return 0.6 if is_one else 0.0


def _password_score(label: re.Match[str], value: str, *, quoted: bool) -> float:
    has_digit, has_letter = any(map(str.isdigit, value)), any(map(str.isalpha, value))
    if label["loose"]:
        # "password hunter2", and not "password manager": more than letters, and no name of a variable.
        is_one = (
            len(value) > 5
            and has_letter
            and (has_digit or _SIGN.search(value))
            and not _CODE.fullmatch(value)
        )
        return 0.6 if is_one else 0.0
    mixed = has_digit or not value.isalnum()
    if quoted or (mixed and not _CODE.fullmatch(value)) or (label["loud"] and not _CALL.search(value)):
        return 0.75
    in_prose = ":" in label.group() or " " in label.group().strip()
    return 0.55 if in_prose and value.isalpha() and value.islower() else 0.0


# A sign that stands in no word, path or number.
_SIGN = lazy(r"[$#!^&*{}~?%@+=]")
ASSIGNED = Recognizer(("secret.api_key", "secret.service_key"), lazy(r"\A(?=.{12}).*[Aa9_+/~.-]{10}"), _find)
PASSWORDS = Recognizer(("secret.password", "secret.api_key"), None, _find_passwords)
