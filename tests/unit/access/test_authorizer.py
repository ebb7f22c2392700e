from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc

import casbin
import pytest
from casbin.persist.adapters.string_adapter import StringAdapter

from aisecure.access import DEFAULT_MODEL, DEFAULT_POLICY, Authorizer
from aisecure.access._index import Index
from aisecure.access._model import default_definition, read_model
from aisecure.errors import AccessDenied, Misconfigured, Unavailable
from aisecure.principal import Principal
from aisecure.testing import capture_events

TENANTS = """
p, reader, *, document:*, read, allow
p, reader, acme, document:secret-*, read, deny
p, owner, acme, document:*, *, allow
p, support, *, tool:send_email, invoke, allow
g, editor, reader, *
g, ann, owner, acme
g, ann, editor, globex
"""
ACL = """
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub && r.obj == p.obj && r.act == p.act
"""
#: Casbin adds texts, the index does not.
NOT = ACL.replace("r.sub == p.sub", 'r.sub == p.sub && r.sub != "mal" + "lory"')


@pytest.fixture
def may():
    return Authorizer.from_text(policy=TENANTS)


class TestBuiltInPolicy:
    def test_a_star_is_everybody_in_rules_that_allow_and_in_rules_that_deny(self):
        may = Authorizer.from_text(
            policy="p, admin, *, *, *, allow\np, *, *, public:*, read, allow\np, *, acme, *, delete, deny"
        )
        for principal in (
            Principal("ann"),
            Principal("bob", roles={"guest"}, tenant="acme"),
            Principal.anonymous(),
        ):
            assert may.decide(principal, "read", "public:1").allowed
            assert not may.decide(principal, "read", "private:1").allowed
        root = Principal("root", roles={"admin"}, tenant="acme")
        assert may.decide(root, "write", "private:1").allowed
        assert may.decide(root, "delete", "private:1").code == "access.rule"
        assert may.decide(Principal("*"), "read", "public:1").code == "access.name"
        assert [holder.name for holder in may.who_can("read", "public:1", tenant="acme")] == ["*", "admin"]

    @pytest.mark.parametrize(
        ("roles", "action", "resource", "allowed"),
        [
            ({"admin"}, "delete", "document:42", True),
            ({"member"}, "invoke", "model:support-bot", True),
            ({"member"}, "train", "model:support-bot", False),
            ({"member"}, "invoke", "tool:send_email", False),
            ({"member", "admin"}, "train", "model:support-bot", True),
            ({"stranger"}, "invoke", "model:support-bot", False),
            ((), "invoke", "model:support-bot", False),
        ],
    )
    @pytest.mark.parametrize("tenant", ["default", "acme"])
    def test_admins_may_everything_and_members_may_invoke_models(
        self, roles, action, resource, allowed, tenant
    ):
        principal = Principal("u-1", roles=roles, tenant=tenant)
        assert Authorizer().decide(principal, action, resource).allowed is allowed

    def test_nobody_may_nothing(self):
        decision = Authorizer().decide(Principal.anonymous(), "invoke", "model:support-bot")
        assert (decision.allowed, decision.code) == (False, "access.denied")

    @pytest.mark.parametrize("name", ["admin", "member"])
    def test_a_user_who_calls_himself_by_a_roles_name_gets_nothing(self, name):
        decision = Authorizer().decide(Principal(name), "invoke", "model:support-bot")
        assert (decision.allowed, decision.code) == (False, "access.name")

    def test_the_definition_that_is_written_out_is_the_one_casbin_reads(self):
        assert read_model(DEFAULT_MODEL, "the built-in model") == default_definition()

    def test_casbin_is_not_imported_for_it(self):
        code = (
            "import sys; from aisecure.access import Authorizer; from aisecure.principal import Principal;"
            "assert Authorizer().decide(Principal('u', roles={'member'}), 'invoke', 'model:m').allowed;"
            "assert 'casbin' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


class TestRolesAndTenants:
    def test_the_same_user_has_other_roles_in_another_tenant(self, may):
        for tenant, delete in (("acme", True), ("globex", False)):
            ann = Principal("ann", tenant=tenant)
            assert may.decide(ann, "read", "document:42").allowed
            assert may.decide(ann, "delete", "document:42").allowed is delete

    def test_a_user_of_one_tenant_is_a_stranger_in_a_third(self, may):
        assert not may.decide(Principal("ann", tenant="initech"), "read", "document:42").allowed

    def test_a_role_of_the_credential_reaches_up_the_role_tree(self, may):
        assert may.decide(Principal("u-1", roles={"editor"}, tenant="initech"), "read", "document:42").allowed

    def test_roles_of_policy_and_credential_add_up(self, may):
        ann = Principal("ann", roles={"support"}, tenant="acme")
        assert may.decide(ann, "delete", "document:42").allowed
        assert may.decide(ann, "invoke", "tool:send_email").allowed

    def test_a_deny_by_one_role_wins_over_an_allow_by_another(self, may):
        both = Principal("u-1", roles={"owner", "editor"}, tenant="acme")
        decision = may.decide(both, "read", "document:secret-plan")
        assert (decision.allowed, decision.code) == (False, "access.rule")
        assert may.decide(Principal("ann", tenant="acme"), "read", "document:secret-plan").allowed

    def test_the_reason_names_the_rule_and_nobody(self, may):
        decision = may.decide(
            Principal("u-1", roles={"editor"}, tenant="acme"), "read", "document:secret-plan"
        )
        assert decision.reasons == ("The rule on line 3 of the policy denies this action on this resource.",)

    def test_roles_that_reach_each_other_end(self):
        may = Authorizer.from_text(
            policy="p, c, *, document:*, read, allow\ng, a, b, *\ng, b, c, *\ng, c, a, *\ng, d, d, *"
        )
        for role, allowed in (("a", True), ("b", True), ("c", True), ("d", False)):
            assert may.decide(Principal("u", roles={role}), "read", "document:1").allowed is allowed

    def test_links_of_the_shared_tenant_hold_as_with_pycasbins_domain_matching(self):
        text = DEFAULT_MODEL
        policy = TENANTS + "g, bob, editor, acme\ng, chief, bob, initech\ng, *, owner, initech"
        theirs = casbin.Enforcer(casbin.Enforcer.new_model(text=text), StringAdapter(policy))
        theirs.add_named_domain_matching_func("g", lambda asked, stored: stored == "*")
        ours = Authorizer.from_text(model=text, policy=policy, shared_tenant="*")
        built_in = Authorizer.from_text(policy=policy)
        met = 0
        for sub in ("ann", "bob", "chief", "editor", "reader", "owner", "*", "nobody"):
            for dom in ("acme", "globex", "initech", "elsewhere", "*"):
                for obj in ("document:1", "document:secret-plan", "tool:send_email"):
                    for act in ("read", "delete", "*"):
                        want = theirs.enforce(sub, dom, obj, act)
                        met += want
                        assert ours.enforce(sub, dom, obj, act) is want, (sub, dom, obj, act)
                        assert built_in.enforce(sub, dom, obj, act) is want
        assert met > 20

    def test_a_model_of_ones_own_takes_the_roles_of_the_credential_without_role_definition(self):
        may = Authorizer.from_text(model=ACL, policy="p, clerk, ledger, read\np, ann, diary, read")
        principal = Principal("ann", roles={"clerk"})
        assert may.decide(principal, "read", "ledger").allowed
        assert may.decide(principal, "read", "diary").allowed
        assert not may.decide(principal, "write", "ledger").allowed

    def test_a_subject_that_patterns_see_is_asked_about_under_every_name(self):
        model = ACL.replace("r.sub == p.sub", "keyMatch(r.sub, p.sub)")
        may = Authorizer.from_text(model=model, policy="p, svc-*, queue, push")
        assert may.decide(Principal("svc-a"), "push", "queue").allowed
        assert may.decide(Principal("u", roles={"svc-b"}), "push", "queue").allowed
        assert not may.decide(Principal("u", roles={"usr"}), "push", "queue").allowed

    def test_a_matcher_may_leave_the_subject_out(self):
        may = Authorizer.from_text(model=ACL.replace("r.sub == p.sub && ", ""), policy="p, all, ledger, read")
        assert may.decide(Principal("ann", roles={"clerk"}), "read", "ledger").allowed
        assert may.decide(Principal.anonymous(), "read", "ledger").allowed
        assert not may.decide(Principal("ann"), "write", "ledger").allowed
        assert not may.decide(Principal("a\nn"), "read", "ledger").allowed

    @pytest.mark.parametrize("order", ["sub, obj, act", "act, sub, obj", "obj, act, sub"])
    def test_the_request_definition_may_have_any_order(self, order):
        may = Authorizer.from_text(
            model=ACL.replace("r = sub, obj, act", f"r = {order}"), policy="p, ann, ledger, read"
        )
        assert may.decide(Principal("ann"), "read", "ledger").allowed
        assert not may.decide(Principal("ann"), "ledger", "read").allowed


class TestMatchersThatPycasbinEvaluates:
    def test_are_told_with_a_reason(self):
        may = Authorizer.from_text(model=NOT, policy="p, ann, ledger, read")
        assert not may.compiled
        assert "'mal' + 'lory'" in may.reason

    def test_decide_under_id_and_roles(self):
        may = Authorizer.from_text(model=NOT, policy="p, clerk, ledger, read\np, mallory, ledger, read")
        assert may.decide(Principal("u", roles={"clerk"}), "read", "ledger").allowed
        assert not may.decide(Principal("mallory"), "read", "ledger").allowed
        assert not may.decide(Principal("u"), "read", "ledger").allowed

    @pytest.mark.parametrize(
        "effect",
        ["!some(where (p.eft == deny))", "some(where (p.eft == allow)) && !some(where (p.eft == deny))"],
    )
    def test_a_deny_by_one_name_wins(self, effect):
        model = NOT.replace("p = sub, obj, act", "p = sub, obj, act, eft").replace(
            "some(where (p.eft == allow))", effect
        )
        may = Authorizer.from_text(
            model=model, policy="p, ann, ledger, read, allow\np, clerk, ledger, read, deny"
        )
        decision = may.decide(Principal("ann", roles={"clerk"}), "read", "ledger")
        assert (decision.allowed, decision.code) == (False, "access.rule")
        assert "line 2" in decision.reasons[0]
        assert may.decide(Principal("ann"), "read", "ledger").allowed

    def test_the_first_rule_by_priority_decides_among_all_names(self):
        model = ACL.replace("p = sub, obj, act", "p = priority, sub, obj, act, eft").replace(
            "some(where (p.eft == allow))", "priority(p.eft) || deny"
        )
        policy = "p, 30, ann, ledger, read, allow\np, 10, clerk, ledger, read, deny\np, 1, chief, ledger, read, allow"
        may = Authorizer.from_text(model=model, policy=policy)
        assert may.decide(Principal("ann"), "read", "ledger").allowed
        assert not may.decide(Principal("ann", roles={"clerk"}), "read", "ledger").allowed
        assert may.decide(Principal("ann", roles={"clerk", "chief"}), "read", "ledger").allowed

    def test_what_cannot_be_evaluated_is_unavailable(self):
        model = ACL.replace("r.sub == p.sub", "ipMatch(r.sub, p.sub)")
        may = Authorizer.from_text(model=model, policy="p, 192.0.2.0/24, ledger, read")
        assert may.enforce("192.0.2.1", "ledger", "read")
        with pytest.raises(Unavailable) as caught:
            may.enforce("no address", "ledger", "read")
        assert caught.value.code == "unavailable.policy"
        assert "no address" not in str(caught.value)

    def test_an_expression_of_a_rule_runs_in_linear_time_there_too(self):
        model = NOT.replace("r.obj == p.obj", "regexMatch(r.obj, p.obj)")
        may = Authorizer.from_text(model=model, policy="p, ann, (a|aa)x*$, read")
        assert not may.compiled
        assert may.enforce("ann", "aaxx", "read")
        hostile = Authorizer.from_text(model=model, policy="p, ann, (a+)+$, read")
        with pytest.raises(Unavailable):
            hostile.enforce("ann", "a" * 5000 + "b", "read")

    def test_unknown_names_are_not_kept(self):
        model = NOT.replace("[policy_effect]", "[role_definition]\ng = _, _\n[policy_effect]").replace(
            "r.sub == p.sub", "g(r.sub, p.sub)"
        )
        may = Authorizer.from_text(model=model, policy="p, clerk, ledger, read\ng, ann, clerk")
        assert may.enforce("ann", "ledger", "read")
        enforcer = may._snapshot.judge.__self__._enforcer
        for number in range(300):
            may.enforce(f"stranger-{number}", "ledger", "read")
        assert "stranger-7" not in repr(vars(enforcer.rm_map["g"]))
        assert len(vars(enforcer.rm_map["g"])["_reached"]) == 1


class TestMistakes:
    @pytest.mark.parametrize(
        "arguments",
        [
            (None, "read", "x"),
            ("ann", "read", "x"),
            (Principal("ann"), None, "x"),
            (Principal("ann"), "read", 42),
            (Principal("ann"), b"read", "x"),
        ],
    )
    def test_wrong_types_are_type_errors(self, arguments):
        with pytest.raises(TypeError):
            Authorizer().decide(*arguments)

    @pytest.mark.parametrize("values", [(), ("a",), ("a", "b", "c"), ("a", "b", "c", "d", "e")])
    def test_a_request_of_another_size_is_a_type_error(self, values):
        with pytest.raises(TypeError, match="enforce takes 4 values: sub, dom, obj, act"):
            Authorizer().enforce(*values)

    @pytest.mark.parametrize("value", [None, 1, 2.5, b"admin", object()])
    def test_a_value_that_is_no_text_opens_nothing(self, value):
        for position in range(4):
            request = ["member", "acme", "model:x", "invoke"]
            request[position] = value
            if position == 1:
                continue  # members may in any tenant
            try:
                assert not Authorizer().enforce(*request)
            except TypeError:
                continue

    def test_require_raises_with_the_decision(self):
        with pytest.raises(AccessDenied) as caught:
            Authorizer().require(Principal("u-1"), "invoke", "model:x")
        assert caught.value.decision is not None
        assert caught.value.code == "access.denied"
        Authorizer().require(Principal("u-1", roles={"member"}), "invoke", "model:x")

    def test_a_model_that_asks_something_else_is_told_when_principals_come(self):
        model = ACL.replace("r = sub, obj, act", "r = sub, obj, act, weather")
        may = Authorizer.from_text(model=model, policy="p, ann, ledger, read")
        assert may.enforce("ann", "ledger", "read", "rain")
        with pytest.raises(Misconfigured, match="sub, obj and act"):
            may.decide(Principal("ann"), "read", "ledger")

    @pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
    def test_reload_seconds_is_a_time(self, seconds, tmp_path):
        (tmp_path / "p.csv").write_text(DEFAULT_POLICY)
        with pytest.raises(ValueError, match="reload_seconds"):
            Authorizer.from_files(None, tmp_path / "p.csv", reload_seconds=seconds)

    def test_the_repr_shows_no_name_of_the_policy(self):
        assert "ann" not in repr(Authorizer.from_text(policy=TENANTS))


class TestEvents:
    def test_loading_is_recorded_with_version_and_rules(self):
        with capture_events() as events:
            may = Authorizer(events=events)
        event = events.only("policy.loaded")
        assert event.detail == {"version": may.version, "rules": 2}

    def test_the_version_depends_on_every_character(self):
        versions = {Authorizer.from_text(policy=DEFAULT_POLICY + tail).version for tail in ("", "\n", "#")}
        assert len(versions) == 3


class TestSize:
    def test_large_groups_are_shared_and_give_the_same_answers(self):
        rules = [f"p, clerk, acme, document:{number}*, read, allow" for number in range(300)]
        rules += ["p, clerk, acme, document:17-secret, read, deny", "p, ann, acme, note:1, read, allow"]
        policy = "\n".join([*rules, "g, ann, clerk, acme", "g, bob, clerk, acme"])
        model = DEFAULT_MODEL
        theirs = casbin.Enforcer(casbin.Enforcer.new_model(text=model), StringAdapter(policy))
        ours = Authorizer.from_text(model=model, policy=policy)
        asked = [
            "document:17-secret",
            "document:17",
            "document:299x",
            "document:x",
            "note:1",
            "note:2",
            "document:",
        ]
        for sub in ("ann", "bob", "clerk"):
            for obj in asked:
                assert ours.enforce(sub, "acme", obj, "read") is theirs.enforce(sub, "acme", obj, "read"), (
                    sub,
                    obj,
                )
        assert not ours.enforce("ann", "acme", "document:17//x", "read")

    def test_names_that_the_policy_does_not_know_are_never_kept(self):
        may = Authorizer.from_text(policy=TENANTS)
        may.decide(Principal("u-0", roles={"editor"}, tenant="t-0"), "act-0", "document:0")
        kept = len(may_index(may)._requests) + len(may_index(may).kept)
        gc.collect()
        tracemalloc.start()
        for number in range(3_000):
            principal = Principal(f"u-{number}", roles={"editor", f"role-{number}"}, tenant=f"t-{number}")
            may.decide(principal, f"act-{number}", f"document:{number}")
            may.enforce(f"u-{number}", f"t-{number}", f"document:{number}", f"act-{number}")
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(may_index(may)._requests) + len(may_index(may).kept) <= kept + 2
        assert grown < 100_000

    def test_known_names_are_kept_up_to_a_bound(self, monkeypatch):
        for module in ("_index", "_quick"):
            monkeypatch.setattr(f"aisecure.access.{module}.MOST_REQUESTS", 50)
        policy = "\n".join(f"p, role{number}, *, document:{number}, read, allow" for number in range(200))
        may = Authorizer.from_text(policy=policy)
        for _ in range(2):
            for number in range(200):
                principal = Principal("u", roles={f"role{number}"})
                assert may.decide(principal, "read", f"document:{number}").allowed
        assert len(may_index(may)._requests) + len(may_index(may).kept) <= 50

    def test_users_with_the_same_roles_are_kept_up_to_a_bound(self, monkeypatch):
        for module in ("_index", "_quick"):
            monkeypatch.setattr(f"aisecure.access.{module}.MOST_REQUESTS", 50)
        links = "\n".join(f"g, u{number}, reader, *" for number in range(200))
        may = Authorizer.from_text(policy="p, reader, *, document:*, read, allow\n" + links)
        for _ in range(2):
            for number in range(200):
                assert may.decide(Principal(f"u{number}"), "read", "document:1").allowed
        assert len(may_index(may).kept) <= 51

    @pytest.mark.proof
    def test_a_hundred_thousand_rules_load_and_answer(self):
        rules = [
            f"p, role{number % 1000}, t{number % 100}, /svc{number}/items/:id, GET, allow"
            for number in range(100_000)
        ]
        links = [f"g, u{number}, role{number % 1000}, t{number % 100}" for number in range(10_000)]
        may = Authorizer.from_text(
            model=DEFAULT_MODEL.replace("keyMatch(", "keyMatch2("), policy="\n".join(rules + links)
        )
        assert (may.rules, may.compiled) == (100_000, True)
        for number in range(0, 100_000, 997):
            user = Principal(f"u{number % 1000}", tenant=f"t{number % 100}")
            assert may.decide(user, "GET", f"/svc{number}/items/7").allowed
            assert not may.decide(user, "GET", f"/svc{number}/items/7/8").allowed
            assert not may.decide(user, "POST", f"/svc{number}/items/7").allowed


def may_index(may: Authorizer):
    """The index behind an authorizer, to count what it keeps."""
    cells = [cell.cell_contents for cell in may._snapshot.judge.__closure__]
    return next(cell.__self__ for cell in cells if isinstance(getattr(cell, "__self__", None), Index))
