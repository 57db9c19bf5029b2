"""The house has few rooms and its arrows only point down (docs/design.md, "The house")."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "gateway"

# What each room may import, besides itself and `errors`. A room is a folder or a top-level module.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "settings": set(),
    "children": set(),
    "vo": set(),
    "sky": {"vo"},
    "db": {"vo", "sky"},
    "storage": {"vo"},
    "stores": {"settings", "storage"},
    "imaging": {"vo"},
    "tables": {"vo"},
    "ingest": {"db", "sky", "imaging", "storage", "tables", "vo"},
    "services": {"vo", "sky", "imaging", "db", "storage", "tables", "children"},
    "jobs.phases": set(),
    "jobs.models": {"vo"},
    "jobs.store": {"vo", "db"},
    "jobs.queue": {"vo"},
    "jobs.service": {"vo", "storage"},
    "jobs.files": {"vo", "storage"},
    "jobs.controls": {"vo"},
    "jobs.upkeep": {"storage"},
    "jobs.notices": {"vo", "storage"},
    "jobs.routing": {"settings"},
    "jobs.options": {"settings"},
    "jobs.runner": {"children", "storage"},
    "jobs.tasks": {"services", "vo", "storage", "children"},
    "jobs.worker": {"children", "context", "settings", "log", "storage", "stores", "db", "vo"},
    "routers": {"services", "jobs.service", "jobs.models", "jobs.phases", "vo"},
    "context": {"settings", "services", "jobs", "db", "storage", "stores", "sky", "vo", "children", "embedded"},
    "main": {"settings", "context", "routers", "vo", "log"},
    "log": {"settings"},
    "serve": {"settings", "embedded", "db", "log"},
    "console": {"settings", "context", "services", "db", "sky", "vo"},
    "embedded": {"settings"},
    "demo": {"settings", "ingest", "db", "vo", "embedded"},
    "cli": {"settings", "log", "console", "serve", "db", "ingest", "demo", "embedded", "jobs"},
    "__main__": {"cli"},
}


def imports(path: Path) -> Iterator[str]:
    """Names of our own modules that a file imports, without the leading package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (
                alias.name.removeprefix("gateway.") for alias in node.names if alias.name.startswith("gateway.")
            )
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "gateway":
            base = node.module.removeprefix("gateway").lstrip(".")
            names = (f"{base}.{alias.name}".lstrip(".") for alias in node.names)
            yield from (name for name in names if name != "__version__")
        elif isinstance(node, ast.ImportFrom) and node.level:
            pytest.fail(f"{path}: relative import")


def room(module: str) -> str:
    """The room that a dotted module name belongs to: the longest known prefix."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if (name := ".".join(parts[:length])) in ARROWS:
            return name
    return parts[0]


FILES = sorted(path for path in SOURCE.rglob("*.py") if path.name != "__init__.py" or path.parent != SOURCE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_arrows_point_down(path: Path) -> None:
    module = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    here = room(module)
    allowed = ARROWS.get(here, set()) | {here, "errors"}
    if here.startswith("jobs"):
        allowed |= {"jobs"} | {name for name in ARROWS if name.startswith("jobs.")} - (
            {"jobs.tasks", "jobs.worker"} if here not in {"jobs.tasks", "jobs.worker"} else set()
        )
    wrong = {name for name in imports(path) if room(name) not in allowed and room(name).split(".")[0] not in allowed}
    assert not wrong, f"{module} must not import {sorted(wrong)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_sqlalchemy_stays_in_its_rooms(path: Path) -> None:
    module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    if room(module) in {"db", "jobs.store"}:
        return
    tree = ast.parse(path.read_text())
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not any(name.split(".")[0] == "sqlalchemy" for name in names)
