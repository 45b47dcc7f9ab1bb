"""The shape of the repository: layer order, nothing heavy on import, no code in the root data folders."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "multimodal_dql"

# Lowest first: a module may import from its own layer and from layers to its left, never to its right.
LAYERS = (
    "errors",
    "fonts",
    "run_file",
    "pair_file",
    "datasets",
    "encoders",
    "encoding",
    "encoding_ray",
    "features",
    "encoding_stream",
    "agreement",
    "state",
    "candidates",
    "context",
    "network",
    "learning",
    "replay",
    "exploration",
    "ranking",
    "last_layer",
    "run_config",
    "decider_weights",
    "decider_steps",
    "decider_compiled",
    "decider_candidates",
    "decider_scratch",
    "decider_head",
    "decider_file",
    "decider",
    "agent",
    "belief",
    "explain",
    "rank",
    "policies",
    "opinion",
    "online",
    "evaluation",
    "simulation",
    "prior",
    "past_tests",
    "allocation",
    "calibration",
    "train_config",
    "transitions",
    "experience",
    "log_columns",
    "log_states",
    "log_evaluation",
    "logged",
    "learner",
    "probe",
    "monitors",
    "checkpoint",
    "metrics",
    "stability",
    "training_state",
    "unfinished",
    "erasing",
    "training_loop",
    "training",
    "pipeline",
    "setting",
    "report",
    "bench",
    "terminal",
    "commands",
    "cli",
    "__main__",
)


def layer_of(module: str) -> int | None:
    parts = module.split(".")
    if parts[0] != "multimodal_dql" or len(parts) == 1:
        return None
    return LAYERS.index(parts[1])


def imports(path: Path) -> set[str]:
    """Every module of the package that a file imports, at any depth of nesting."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            if node.module == "multimodal_dql":
                found.update(f"multimodal_dql.{a.name}" for a in node.names if a.name in LAYERS)
    return {name for name in found if name.startswith("multimodal_dql")}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downward(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    own = layer_of(module)
    if own is None:
        return
    for name in imports(path):
        other = layer_of(name)
        assert other is None or other <= own, f"{module} imports {name}, which lies above it"


def test_root_folders_hold_no_code() -> None:
    assert not [*ROOT.joinpath("encoders").rglob("*.py"), *ROOT.joinpath("datasets").rglob("*.py")]


def test_top_level_is_what_was_agreed() -> None:
    listed = subprocess.run(["git", "ls-files"], check=False, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} <= {
        *("pyproject.toml", "README.md", "multimodal_dql", "encoders", "datasets", "tests"),
        *("Makefile", "LICENSE", "CHANGELOG.md", "README.zh-CN.md", "docs"),
    }


HEAVY = (
    "tensorflow",
    "keras",
    "transformers",
    "librosa",
    "onnxruntime",
    "sklearn",
    "numba",
    "gymnasium",
    "scipy",
    "pyarrow",
    "PIL",
)


RUN = """import sys
sys.argv = ['multimodal-dql', *{arguments!r}]
try:
    from multimodal_dql.__main__ import main
    main()
except SystemExit:
    pass
"""


@pytest.mark.parametrize(
    "code",
    ["import multimodal_dql", RUN.format(arguments=["--help"]), RUN.format(arguments=["rank", "--help"])],
    ids=["import", "help", "rank-help"],
)
def test_nothing_heavy_is_loaded(code: str) -> None:
    probe = f"\nimport json, sys as s\nprint(json.dumps([m for m in {HEAVY!r} if m in s.modules]))"
    out = subprocess.run([sys.executable, "-c", code + probe], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout.splitlines()[-1]) == []


def test_every_public_name_exists() -> None:
    import multimodal_dql

    assert all(getattr(multimodal_dql, name) is not None for name in multimodal_dql.__all__)


def test_hugging_face_datasets_is_not_shadowed() -> None:
    """A folder called `datasets` at the root must not win over the library of that name."""
    pytest.importorskip("importlib.metadata").version("datasets")
    code = "import datasets; print(datasets.__file__); datasets.Dataset"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "site-packages" in out.stdout
    help_ = subprocess.run(
        [sys.executable, "-m", "multimodal_dql", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "rank" in help_.stdout


def test_changelog_gives_a_reason_for_every_dependency() -> None:
    import tomllib

    project = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text("utf-8"))["project"]
    changelog = ROOT.joinpath("CHANGELOG.md").read_text("utf-8")
    wanted = [
        *project["dependencies"],
        *(d for extra in project["optional-dependencies"].values() for d in extra),
    ]
    names = {requirement.split("[")[0].split("<")[0].split(">")[0].split("=")[0] for requirement in wanted}
    assert not {name for name in names if f"`{name}`" not in changelog}
