"""From a file to a shield, and every way in which the file can be wrong."""

from __future__ import annotations

import pytest

from aisecure import Misconfigured, Principal, QuotaExceeded, Shield
from aisecure.audit import AuditLog, read
from aisecure.authn import ApiKeys
from aisecure.config import CONCERNS, PARTS, load
from aisecure.encryption import FieldCipher

MEMBER = Principal("u-1", roles=["member"])


def write(folder, text: str | bytes):
    path = folder / "aisecure.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def types(folder) -> list[str]:
    return [entry["ev"]["type"] for entry in read(folder / "data" / "audit")]


def test_an_empty_file_is_the_default_and_refuses_nobody_in_particular(tmp_path):
    with Shield.from_config(write(tmp_path, "")) as shield:
        echo = shield.protect("model:echo")(lambda prompt: prompt)
        with shield.acting_as(MEMBER):
            assert echo("hello") == "hello"


def test_the_default_has_every_part(tmp_path):
    with Shield.defaults(tmp_path) as shield:
        for kind in (ApiKeys, AuditLog, FieldCipher):
            assert isinstance(shield.part(kind), kind)
        assert shield.health()["ok"] is True


def test_a_part_that_is_not_there_is_a_lookup_error():
    with pytest.raises(LookupError, match="no AuditLog"):
        Shield().part(AuditLog)


def test_the_log_begins_with_what_the_shield_is(tmp_path):
    Shield.from_config(write(tmp_path, "")).close()
    started = next(e["ev"] for e in read(tmp_path / "data" / "audit") if e["ev"]["type"] == "shield.started")
    assert len(started["detail"]["guards"]) >= 4
    assert len(started["detail"]["config_digest"]) == 64


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("[quota]\n", ["[quota]", "'quotas'"], id="misspelt-section"),
        pytest.param("[zzz]\n", ["[zzz]", "known are"], id="unknown-section"),
        pytest.param("[quotas]\nlimit = '1/minute'\n", ["[quotas] limit", "'limits'"], id="misspelt-key"),
        pytest.param("[quotas]\nlimits = 7\n", ["[quotas] limits"], id="wrong-type"),
        pytest.param("[quotas]\nlimits = 'often'\n", ["quotas"], id="nonsense-limit"),
        pytest.param("quotas = 3\n", ["quotas", "section"], id="section-that-is-a-number"),
        pytest.param("[detect]\nshadow = 'yes'\n", ["[detect] shadow", "true or false"], id="shadow-text"),
        pytest.param(
            "[detect]\non_unavailable = 'shrug'\n", ["on_unavailable", '"deny"'], id="on-unavailable"
        ),
        pytest.param("[detect]\non = 3\n", ["[detect] on"], id="on-number"),
        pytest.param("data_dir = 3\n", ["data_dir"], id="data-dir-number"),
        pytest.param("data_dir = ''\n", ["data_dir"], id="data-dir-empty"),
        pytest.param("[quotas\n", ["TOML", "line 1"], id="broken-toml"),
        pytest.param(b"# \xff\n", ["byte 2", "UTF-8"], id="not-utf-8"),
        pytest.param("a" + "=[" * 5000, ["TOML"], id="deeply-nested"),
    ],
)
def test_a_wrong_file_is_told_by_file_key_and_remedy(tmp_path, text, says):
    path = write(tmp_path, text)
    with pytest.raises(Misconfigured) as caught:
        Shield.from_config(path)
    assert all(word in caught.value.detail for word in [*says])


def test_a_missing_file_is_told_with_what_to_do(tmp_path):
    with pytest.raises(Misconfigured, match=r"nowhere\.toml.*defaults"):
        load(tmp_path / "nowhere.toml")


def test_a_wrong_value_is_not_quoted_since_it_may_be_a_password(tmp_path):
    with pytest.raises(Misconfigured) as caught:
        Shield.from_config(write(tmp_path, "[quotas]\nredis_url = ['hunter2-secret']\n"))
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_section_can_be_switched_off(tmp_path):
    with Shield.from_config(
        write(tmp_path, "[access]\nenabled = false\n[authn]\nenabled = false\n")
    ) as shield:
        names = [guard.name for guard in shield.guards]
        assert not any("access" in name or "authn" in name for name in names)
        assert shield.protect("model:x")(lambda prompt: prompt)("by nobody") == "by nobody"


def test_shadow_records_and_refuses_nothing(tmp_path):
    text = "[quotas]\nlimits = '1/hour'\nshadow = true\n"
    with Shield.from_config(write(tmp_path, text)) as shield:
        echo = shield.protect("model:x")(lambda prompt: prompt)
        with shield.acting_as(MEMBER):
            assert [echo("a"), echo("b"), echo("c")] == ["a", "b", "c"]
    assert types(tmp_path).count("guard.would_deny") == 2


def test_on_restricts_a_section_to_resources(tmp_path):
    text = "[quotas]\nlimits = '1/hour'\non = 'model:dear'\n"
    with Shield.from_config(write(tmp_path, text)) as shield:
        cheap = shield.protect("model:cheap")(lambda prompt: prompt)
        dear = shield.protect("model:dear")(lambda prompt: prompt)
        with shield.acting_as(MEMBER):
            assert [cheap("a"), cheap("b"), dear("c")] == ["a", "b", "c"]
            with pytest.raises(QuotaExceeded):
                dear("d")


def test_reload_takes_effect_on_functions_that_are_protected_already(tmp_path):
    path = write(tmp_path, "[quotas]\nlimits = '1/hour'\n")
    with Shield.from_config(path) as shield:
        echo = shield.protect("model:x")(lambda prompt: prompt)
        with shield.acting_as(MEMBER):
            echo("a")
            with pytest.raises(QuotaExceeded):
                echo("b")
            write(tmp_path, "[quotas]\nlimits = '5/hour'\n")
            shield.reload()
            assert echo("c") == "c"
    assert "config.reloaded" in types(tmp_path)


def test_reload_keeps_the_counters_of_sections_that_did_not_change(tmp_path):
    path = write(tmp_path, "[quotas]\nlimits = '1/hour'\n")
    with Shield.from_config(path) as shield:
        echo = shield.protect("model:x")(lambda prompt: prompt)
        with shield.acting_as(MEMBER):
            echo("a")
            write(tmp_path, "[quotas]\nlimits = '1/hour'\n[sanitize]\nshadow = true\n")
            shield.reload()
            with pytest.raises(QuotaExceeded):
                echo("b")


def test_a_bad_reload_keeps_the_last_good_configuration_and_says_so(tmp_path):
    path = write(tmp_path, "[quotas]\nlimits = '1/hour'\n")
    with Shield.from_config(path) as shield:
        echo = shield.protect("model:x")(lambda prompt: prompt)
        write(tmp_path, "[quotas]\nlimits = 'lots'\n")
        with pytest.raises(Misconfigured):
            shield.reload()
        with shield.acting_as(MEMBER):
            echo("a")
            with pytest.raises(QuotaExceeded):
                echo("b")
    assert "config.refused" in types(tmp_path)


def test_a_data_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(Misconfigured, match="data"):
        Shield.from_config(write(tmp_path, ""))


def test_a_damaged_database_is_told(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "aisecure.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(Misconfigured, match=r"aisecure\.db"):
        Shield.from_config(write(tmp_path, ""))


def test_every_concern_in_the_table_has_settings_and_self_tests():
    from importlib import import_module

    for name in (*CONCERNS, *PARTS):
        module = import_module(f"aisecure.{name}")
        assert module.Settings.model_config["extra"] == "forbid"
        assert module.self_tests(), name
