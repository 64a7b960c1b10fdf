"""What is small can be read: files have at most 300 lines, classes at most 15 attributes of their own."""

import ast

from tests.layers.test_imports import FILES, MODULES

MOST_LINES = 300
MOST_ATTRIBUTES = 15


def attributes_of(class_):
    """The names that a class declares for its objects, and those that its methods set on `self`."""
    declared = {node.target.id for node in class_.body if isinstance(node, ast.AnnAssign)}
    names = [node for node in ast.walk(class_) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)]
    return declared | {node.attr for node in names if isinstance(node.value, ast.Name) and node.value.id == "self"}


def test_no_file_is_long():
    assert [str(path) for path in FILES if path.read_text().count("\n") > MOST_LINES] == []


def test_no_class_has_many_attributes():
    classes = [node for tree in MODULES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert {class_.name: found for class_ in classes if len(found := attributes_of(class_)) > MOST_ATTRIBUTES} == {}


def test_attributes_are_found():
    code = "class A:\n x: int\n def f(self):\n  self.y, self.z[0] = self.w, 1\n  self.v += 1\n  other.u = 1"
    assert attributes_of(ast.parse(code).body[0]) == {"x", "y", "v"}
