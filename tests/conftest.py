"""Parts of the machine that some tests need: absent, they are skipped with a reason; under CI that is a failure."""

from __future__ import annotations

import os
import shutil

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes tells something of the machine, and nothing of the law.
settings.register_profile("aisecure", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("aisecure")

#: Mark -> commands, any one of which is the part. Services name theirs: ``@pytest.mark.services("rsyslogd")``.
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def _missing(item: pytest.Item) -> str:
    """Return what the test needs and the machine lacks, or nothing."""
    if item.get_closest_marker("browser") and not any(map(shutil.which, _BROWSERS)):
        return "Chromium"
    if marker := item.get_closest_marker("services"):
        # Daemons live in /usr/sbin, which is on root's path only.
        path = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
        return ", ".join(name for name in marker.args if not shutil.which(name, path=path))
    return ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    if missing := _missing(item):
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI has to have {missing}: see .ci/run", pytrace=False)
        pytest.skip(f"needs {missing}, which is not installed")
