"""The demo as a user runs it: a process of its own, a real model, real HTTP."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from aisecure.apps.demo.steps import STEPS, Evidence


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "kept"
    done = subprocess.run(
        [sys.executable, "-m", "aisecure", "demo", "--json", "--keep", str(folder)],
        capture_output=True,
        timeout=100,
        check=False,
    )
    return done, folder


def test_the_demo_exits_with_0_and_every_step_holds(demo):
    done, _ = demo
    steps = {step["step"]: step["expected"] for step in json.loads(done.stdout)["steps"]}
    untrue = {
        title: [name for name, truth in expected.items() if not truth] for title, expected in steps.items()
    }
    assert {title: names for title, names in untrue.items() if names} == {}
    assert len(steps) == len(STEPS)
    assert done.returncode == 0


def test_the_demo_writes_nothing_to_stderr(demo):
    done, _ = demo
    assert done.stderr == b""


def test_the_kept_log_verifies_with_the_command_line(demo):
    _, folder = demo
    command = [sys.executable, "-m", "aisecure", "audit", "verify", str(folder / "data" / "audit")]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("x")
    command = [sys.executable, "-m", "aisecure", "demo", "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_step_with_one_untrue_sentence_does_not_hold():
    evidence = Evidence()
    assert not evidence.holds
    evidence.expect("true", truth=True)
    assert evidence.holds
    evidence.expect("untrue", truth=False)
    assert not evidence.holds
