"""A real PostgreSQL for the whole run, started when the first test asks for it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def postgres():
    """The URL of an empty database of a server without listening port, for SQLAlchemy."""
    import psycopg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs, where no XDG_RUNTIME_DIR is set
        from pgserver._commands import POSTGRES_BIN_PATH
        from pgserver.utils import ensure_prefix_permissions

    # Not pytest's folder: PostgreSQL refuses to run as root, and nobody else may enter that one.
    folder = Path(tempfile.mkdtemp(prefix="aisecure-pg"))
    options: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        ensure_prefix_permissions(POSTGRES_BIN_PATH)
        options |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    data = folder / "data"
    subprocess.run(
        [
            *(POSTGRES_BIN_PATH / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=utf8"),
            *("--locale=C", "--no-sync", "--no-instructions"),
        ],
        check=True,
        **options,
    )
    server = subprocess.Popen(
        [POSTGRES_BIN_PATH / "postgres", "-D", data, "-F", "-h", "", "-k", folder], **options
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(host=str(folder), user="postgres").close()
                break
            except psycopg.OperationalError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGQUIT)
        server.wait()
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'app.db'}"
        return
    from sqlalchemy import create_engine, text

    url = request.getfixturevalue("postgres")
    yield url
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
