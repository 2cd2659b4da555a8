"""The rules by name. Each is a function of a tree.Tree that yields
tree.Finding; the first line of its docstring is its description."""

RULES = {}


def rule(name):
    """Register a function as the rule of that name."""
    def add(function):
        RULES[name] = function
        return function
    return add
