"""What is small can be read: files have at most 300 lines, classes at most 15 attributes, inherited ones included."""

import ast

from tests.layers.test_imports import FILES, MODULES

MOST_LINES = 300
MOST_ATTRIBUTES = 15


def attributes_of(class_):
    """The names that a class declares for its objects, and those that its methods set on `self`."""
    annotated = [node for node in class_.body if isinstance(node, ast.AnnAssign)]
    declared = {node.target.id for node in annotated if not ast.unparse(node.annotation).startswith("ClassVar")}
    names = [node for node in ast.walk(class_) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)]
    return declared | {node.attr for node in names if isinstance(node.value, ast.Name) and node.value.id == "self"}


def test_no_file_is_long():
    assert [str(path) for path in FILES if path.read_text().count("\n") > MOST_LINES] == []


def names_of_bases(class_):
    bases = [base.value if isinstance(base, ast.Subscript) else base for base in class_.bases]
    return [base.id for base in bases if isinstance(base, ast.Name)]


def attributes_with_inherited(class_, classes):
    """The attributes of a class and of its bases; those of other packages are not known."""
    bases = [classes[name] for name in names_of_bases(class_) if name in classes]
    return attributes_of(class_).union(*(attributes_with_inherited(base, classes) for base in bases))


def test_no_class_has_many_attributes():
    nodes = [node for tree in MODULES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    classes = {node.name: node for node in nodes}  # no two share a name, as `test_names` checks
    found = {name: attributes_with_inherited(node, classes) for name, node in classes.items()}
    assert {name: attributes for name, attributes in found.items() if len(attributes) > MOST_ATTRIBUTES} == {}


def test_attributes_are_found():
    code = (
        "class A:\n x: int\n t: ClassVar[int]\n def f(self):\n  self.y, self.z[0] = 0, 1\n  self.v += 1\n  other.u = 1"
    )
    assert attributes_of(ast.parse(code).body[0]) == {"x", "y", "v"}
    inherited = "class A:\n x: int\nclass B(A, Protocol):\n y: int\nclass C(B[int]):\n def f(self):\n  self.z = 0"
    classes = {node.name: node for node in ast.parse(inherited).body}
    assert attributes_with_inherited(classes["C"], classes) == {"x", "y", "z"}
