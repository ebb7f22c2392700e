"""The error tree: codes, statuses, problem documents."""

from __future__ import annotations

import json
import pickle

import pytest

from aisecure import errors
from aisecure.decisions import Decision, Finding, Outcome
from aisecure.errors import AISecureError, Denied, QuotaExceeded, Unavailable, denied

TREE = [value for name in errors.__all__ if isinstance(value := getattr(errors, name), type)]
STATUSES = {
    "authn": 401,
    "step_up": 401,
    "access": 403,
    "approval": 403,
    "model": 403,
    "erasure": 409,
    "input": 422,
    "quota": 429,
    "output": 502,
    "unavailable": 503,
}


@pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.__name__)
def test_every_error_is_made_without_arguments_and_has_code_status_and_text(cls: type[AISecureError]) -> None:
    error = cls()
    assert issubclass(cls, AISecureError)
    family, _, rule = error.code.partition(".")
    assert family
    assert rule
    assert error.status == STATUSES.get(family, 500)
    assert str(error) == error.detail
    assert error.detail.endswith(".")
    assert cls.__doc__


@pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.__name__)
def test_the_class_of_an_error_is_drawn_in_the_tree_at_the_top_of_the_module(
    cls: type[AISecureError],
) -> None:
    assert errors.__doc__ is not None
    assert cls.__name__ in errors.__doc__


def test_a_problem_document_has_the_members_of_rfc_9457_and_is_json() -> None:
    body = json.loads(json.dumps(QuotaExceeded(retry_after=2.5).problem(instance="req-1")))
    assert body == {
        "type": "urn:problem-type:aisecure:quota.exceeded",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "A limit was reached.",
        "code": "quota.exceeded",
        "instance": "req-1",
        "retry_after": 2.5,
    }


def test_a_problem_document_leaves_out_what_is_unknown() -> None:
    assert not {"instance", "retry_after"} & set(Unavailable().problem())


@pytest.mark.parametrize("family", [family for family in STATUSES if family != "unavailable"])
def test_the_family_of_a_code_picks_the_class_of_a_denial(family: str) -> None:
    decision = Decision.deny(f"{family}.some_rule", "The rule says no.", retry_after=1.0)
    error = denied(decision)
    assert error.status == STATUSES[family]
    assert error.code == f"{family}.some_rule"
    assert error.detail == "The rule says no."
    assert error.retry_after == 1.0
    assert error.decision is decision


def test_a_code_of_no_known_family_is_a_plain_denial() -> None:
    error = denied(Decision.deny("custom.rule"))
    assert type(error) is Denied
    assert error.status == 403


def test_a_step_up_and_an_approval_raise_their_own_errors() -> None:
    with pytest.raises(errors.StepUpRequired):
        Decision(Outcome.STEP_UP, "step_up.required").require()
    with pytest.raises(errors.ApprovalRequired):
        Decision(Outcome.APPROVAL, "approval.required").require()


def test_denied_is_not_unavailable_is_not_misconfigured() -> None:
    assert not issubclass(errors.Unavailable, errors.Denied | errors.Misconfigured)
    assert not issubclass(errors.Misconfigured, errors.Denied)


def test_an_error_crosses_a_process_with_its_text() -> None:
    error = pickle.loads(pickle.dumps(QuotaExceeded("Wait.", code="quota.tokens", retry_after=3.0)))
    assert (error.detail, error.code, error.retry_after) == ("Wait.", "quota.tokens", 3.0)


def test_the_error_of_a_decision_shows_places_and_never_text() -> None:
    error = denied(
        Decision.deny("input.secret", "A secret was found.", findings=(Finding("secret.jwt", 4, 60),))
    )
    assert error.decision is not None
    assert error.decision.findings[0].to_dict().keys() == {
        "kind",
        "start",
        "end",
        "score",
        "detector",
        "path",
    }
