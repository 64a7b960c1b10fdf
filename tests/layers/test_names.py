"""One name, one thing: no two classes of the package share a name, nor two types or constants that can be imported."""

import ast
from collections import defaultdict

from tests.layers.test_imports import MODULES


def definitions(tree):
    """Yield (name, what it stands for) of the classes of a module, and of its public types and constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name, f"class in line {node.lineno}"
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and target.id[0].isupper() and node.value is not None:
                yield target.id, ast.unparse(node.value)


def names_used_twice(modules):
    """Return the names that have several meanings, with these. A type that is spelled the same everywhere has one."""
    meanings = defaultdict(dict)
    for module, tree in modules.items():
        for name, meaning in definitions(tree):
            meanings[name].setdefault(meaning if meaning.startswith("np.") else (module, meaning), module)
    return {name: found for name, found in meanings.items() if len(found) > 1 and name != "T"}


def test_no_name_is_used_for_two_things():
    """`T` is every module's own type variable."""
    assert names_used_twice(MODULES) == {}


def test_names_are_found():
    both = "Array = np.ndarray\nT = TypeVar('T')\n"
    one = f"{both}class A: pass\nMOST: int = 3\n_LEAST = 1\ndef f():\n class B: pass"
    other = f"{both}A = 1\nMOST = 3\n_LEAST = 2\nclass B: pass\nC: int"
    assert set(names_used_twice({"one": ast.parse(one), "other": ast.parse(other)})) == {"A", "B", "MOST"}
