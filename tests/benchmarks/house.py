"""How the house stands: its lines, room by room, its circles, and how much it holds on to private state of Ray's.

    python tests/benchmarks/house.py [REVISION ...]

Each git revision is a column, and the working tree the last one: ``house.py 5af7fba`` prints before and after.
Counted is all of ``nasray/``: lines as ``wc -l`` counts them; a room is a folder, or a loose file.

A line holds on to private state of Ray's if it stands in a room that imports Ray, and has

- an import of Ray's with a part that begins with ``_``, or a use of what was so imported,
- an attribute that begins with ``_`` on anything but self or cls, or a string that names one and is no attribute of the
  file's own,
- a keyword that begins with ``_`` in a call,
- a new value for an attribute of what was imported from Ray, or of an argument that is said to be of Ray, or
- the name of a file in which Tune keeps its own state.

Circles are counted twice: of imports that run when a module is imported, and of all, also lazy ones and those for
types. One is a set of files each of which leads to each other.
"""

from __future__ import annotations

import argparse
import ast
import functools
import io
import re
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRIVATE = re.compile(r"_[A-Za-z]\w*")
STATE_FILES = re.compile(r"tuner\.pkl|experiment_state|searcher-state|search_gen_state")
PUBLIC_ALL_THE_SAME = {"_asdict", "_fields", "_replace"}  # of named tuples

Sources = dict[str, str]
"""Path from the root, such as ``nasray/gates.py``: text."""
Arrows = dict[str, set[str]]
"""Module: those that it imports."""


@functools.cache
def parsed(text: str) -> ast.Module:
    """A file's syntax tree."""
    return ast.parse(text)


def sources(revision: str | None) -> Sources:
    """The package's files at a git revision; in the working tree where it is None."""
    if revision is None:
        return {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / "nasray").rglob("*.py"))}
    packed = subprocess.run(["git", "archive", revision, "nasray"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        files = {member.name: archive.extractfile(member) for member in archive if member.name.endswith(".py")}
        return {name: file.read().decode() for name, file in sorted(files.items()) if file is not None}


def room_of(path: str) -> str:
    """Folder or loose file of ``nasray/``."""
    return path.split("/")[1].removesuffix(".py")


def lines_of_rooms(found: Sources) -> Counter[str]:
    """Lines of every room."""
    lines: Counter[str] = Counter()
    for path, text in found.items():
        lines[room_of(path)] += text.count("\n")
    return lines


def _is_private(name: str) -> bool:
    return PRIVATE.fullmatch(name) is not None and name not in PUBLIC_ALL_THE_SAME


def _root_of(node: ast.expr) -> str | None:
    """The name at the left end of ``name.attribute.attribute``."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _imports_of_ray(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """(line, what is imported, the name that it gets)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [(alias.name, alias.asname or alias.name.split(".")[0]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found = [(f"{node.module}.{alias.name}", alias.asname or alias.name) for alias in node.names]
        else:
            continue
        yield from ((node.lineno, path, name) for path, name in found if path.split(".")[0] == "ray")


def private_lines(text: str) -> set[int]:
    """Numbers of the lines of a file that hold on to private state of Ray's."""
    tree = parsed(text)
    imports = list(_imports_of_ray(tree))
    private = {(line, name) for line, path, name in imports if any(part.startswith("_") for part in path.split("."))}
    private_names, lines = {name for _, name in private}, {line for line, _ in private}
    of_ray = {name for _, _, name in imports}
    of_ray |= {
        argument.arg
        for argument in ast.walk(tree)
        if isinstance(argument, ast.arg) and argument.annotation and of_ray & set(_names(argument.annotation))
    }
    own = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_own(node)}
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in private_names:
            lines.add(node.lineno)
        elif isinstance(node, ast.Attribute):
            patched = not isinstance(node.ctx, ast.Load) and _root_of(node) in of_ray
            if patched or (_is_private(node.attr) and not _is_own(node)):
                lines.add(node.end_lineno or node.lineno)
        elif isinstance(node, ast.Call):
            lines |= {keyword.lineno for keyword in node.keywords if keyword.arg and _is_private(keyword.arg)}
            setter = isinstance(node.func, ast.Name) and node.func.id in ("setattr", "delattr")
            if setter and _root_of(node.args[0]) in of_ray:
                lines.add(node.lineno)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            names_private = _is_private(node.value) and node.value not in own and node.value.islower()
            if names_private or STATE_FILES.search(node.value):
                lines.add(node.lineno)
    return lines


def _names(node: ast.AST) -> Iterator[str]:
    return (one.id for one in ast.walk(node) if isinstance(one, ast.Name))


def _is_own(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def rooms_of_ray(found: Sources) -> set[str]:
    """Those of which a file imports Ray."""
    return {room_of(path) for path, text in found.items() if any(True for _ in _imports_of_ray(parsed(text)))}


def private_lines_of(found: Sources) -> Iterator[str]:
    """Each as ``file:line: text``."""
    rooms = rooms_of_ray(found)
    for path, text in found.items():
        for number in sorted(private_lines(text)) if room_of(path) in rooms else ():
            yield f"{path}:{number}: {text.splitlines()[number - 1].strip()}"


def arrows(found: Sources, *, lazy: bool) -> Arrows:
    """Which module imports which; with ``lazy`` also within functions and for types alone."""
    modules = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in found}
    result: Arrows = {}
    for module, path in modules.items():
        names: set[str] = set()
        for node in _statements(parsed(found[path]), lazy=lazy):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                imported = {f"{node.module}.{alias.name}" for alias in node.names}
                # A package whose modules are imported is not itself what is used.
                names |= imported if imported <= modules.keys() else {node.module, *imported}
        result[module] = names & modules.keys() - {module}
    return result


def _statements(node: ast.AST, *, lazy: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not lazy:
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
        yield child
        yield from _statements(child, lazy=lazy)


def circles(graph: Arrows) -> list[set[str]]:
    """The sets of more than one module each of which leads to each other."""

    def reached(module: str) -> set[str]:
        seen: set[str] = set()
        ahead = [module]
        while ahead:
            new = graph[ahead.pop()] - seen
            seen |= new
            ahead.extend(new)
        return seen

    leads_to = {module: reached(module) for module in graph}
    found: list[set[str]] = []
    for module, others in leads_to.items():
        if module in others and not any(module in circle for circle in found):
            found.append({other for other in others if module in leads_to[other]})
    return found


def column(revision: str | None) -> dict[str, str]:
    """What is printed of a revision: measure and its value."""
    found = sources(revision)
    lines = lines_of_rooms(found)
    total = lines.total()
    ((largest, most),) = lines.most_common(1)
    every = circles(arrows(found, lazy=True))
    values = {
        "lines of product code": f"{total:,}",
        "files": str(len(found)),
        "largest room": largest,
        "its share": f"{most / total:.0%}",
        "lines on private state of Ray's": str(sum(1 for _ in private_lines_of(found))),
        "rooms that import Ray": str(len(rooms_of_ray(found))),
        "circles": str(len(circles(arrows(found, lazy=False)))),
        "circles, with lazy imports and those for types": str(len(every)),
        "files in circles": str(sum(map(len, every))),
    }
    return values | {f"  {room}": f"{count:,}" for room, count in sorted(lines.items(), key=lambda one: -one[1])}


def table(columns: dict[str, dict[str, str]]) -> str:
    """Measures down, revisions across."""
    measures: Iterable[str] = dict.fromkeys(measure for values in columns.values() for measure in values)
    rows = [["", *columns], *([measure, *(v.get(measure, "") for v in columns.values())] for measure in measures)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revisions", nargs="*", metavar="REVISION", help="git revisions, such as 5af7fba or HEAD~3")
    parser.add_argument("--lines", action="store_true", help="show the lines on private state of Ray's, too")
    arguments = parser.parse_args()
    revisions = {**{name: name for name in arguments.revisions}, "working tree": None}
    print(table({name: column(revision) for name, revision in revisions.items()}))
    for name, revision in revisions.items() if arguments.lines else ():
        print(*(f"{name}: {line}" for line in private_lines_of(sources(revision))), sep="\n")


if __name__ == "__main__":
    main()
