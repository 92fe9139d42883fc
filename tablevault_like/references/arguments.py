"""The arguments of a builder's function: compiled once, bound to the tables when the builder runs, made for each row.

1. What doesn't vary is resolved when it is bound, and nothing of a row is resolved twice.
2. The arguments of a row hold copies of whatever can be changed (lists, dicts, frames), so no call sees what another
   did to them. Lists and dicts inside the cells of a frame are the exception: they are shared.
3. Any number of threads may make rows at once.
4. A keyword in what a reference gave is not replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tablevault_like.references.cells import PLAIN_TYPES, copied
from tablevault_like.references.frames import Frames
from tablevault_like.references.keywords import CallKey, Keyword, occurring
from tablevault_like.references.resolver import Resolver
from tablevault_like.references.syntax import Reference, Template, walk
from tablevault_like.references.trees import Constant, Locate, Node, Pairs, copying, evaluate, read, templates
from tablevault_like.references.values import Getter, Value, compose

__all__ = ["Arguments", "Bound", "Keyword"]


class Arguments:
    """The arguments of one builder, as they are written.

    ``names`` are those of the arguments, or None if a reference in one of them must be resolved first.
    ``references`` holds all references, those inside others too, each once; ``keywords`` all keywords.
    ``varies`` tells whether the arguments differ from row to row, apart from ``~ROW_KEY~``; ``varying`` are the names
    of those that do, by ``~ROW_KEY~`` too, as far as names are known.
    """

    def __init__(self, root: Pairs) -> None:
        names = [key.value for key, _ in root.pairs if isinstance(key, Constant)]
        self.names: tuple[str, ...] | None = tuple(names) if len(names) == len(root.pairs) else None
        self._root = root
        self._templates = tuple(templates(root))
        outer = [reference for template in self._templates for reference in template.references]
        self.references = tuple(dict.fromkeys(nested for reference in outer for nested in walk(reference)))
        self.keywords = frozenset(keyword for template in self._templates for keyword in _keywords(template))
        self.varies = any(reference.varies for reference in outer)
        self.varying = tuple(key.value for key, item in root.pairs if isinstance(key, Constant) and _varies(item))

    @classmethod
    def compile(cls, tree: Mapping[str, object], *, locate: Locate | None = None) -> Arguments:
        """Parse all strings in the arguments, in lists and dicts too.

        ``locate`` tells where in a file the value at a path stands: the keys and numbers that lead to it. Raises
        TableReferenceError, which points at the character.

        >>> arguments = Arguments.compile({"text": "<<stories.text[index]>>", "folder": "~ARTIFACT_FOLDER~"})
        >>> arguments.varies, sorted(arguments.keywords)
        (True, [<Keyword.ARTIFACT_FOLDER: '~ARTIFACT_FOLDER~'>])
        """
        root = read(tree, locate=locate, with_keywords=True)
        assert isinstance(root, Pairs)
        return cls(root)

    def bind(self, frames: Frames, keywords: Mapping[Keyword, object]) -> Bound:
        """Resolve what doesn't vary, and get ready to make rows from the tables as they are now.

        ``keywords`` holds the values of all keywords that occur, except those that differ from call to call. Raises
        TableReferenceError.
        """
        slots = _Slots(Resolver(frames, keywords=keywords), keywords)
        arguments = evaluate(self._root, slots.template)
        return Bound(
            copying(arguments),
            slots,
            row_reference=next((reference for reference in self.references if reference.varies), None),
            row_key_template=next((t for t in self._templates if Keyword.ROW_KEY in _keywords(t)), None),
        )


class Bound:
    """The arguments of one builder that runs.

    ``constant_inputs`` holds what the references came to that don't vary, in the order in which they are written.
    """

    __slots__ = ("_getters", "_make", "_row_key_template", "_row_reference", "constant_inputs")

    def __init__(
        self, make: Getter, slots: _Slots, *, row_reference: Reference | None, row_key_template: Template | None
    ) -> None:
        self.constant_inputs: tuple[Any, ...] = tuple(slots.constants.values())
        self._make = make
        self._getters = tuple(slots.getters)
        self._row_reference = row_reference
        self._row_key_template = row_key_template

    def row(self, index: int | None, row_key: CallKey = None) -> tuple[dict[str, Any], tuple[Any, ...]]:
        """Return the arguments for a row, and what the references came to that vary, in the order in which they stand.

        The function may do with the arguments what it likes; the inputs are for reading only. ``index`` is the
        position of the row, or None for a function that is called once for all, or for a batch: then that is the key.
        Raises TableReferenceError if a reference needs a row then, or comes to nothing that can be used.
        """
        if index is None and self._row_reference is not None:
            raise self._row_reference.error("There is no current row here: the function is called once for all rows.")
        if row_key is None and self._row_key_template is not None:
            raise self._row_key_template.error(f"{Keyword.ROW_KEY} has a value only where rows are made one by one.")
        inputs = tuple([get(index, row_key) for get in self._getters])
        return self._make(inputs, row_key), inputs


class _Slots:
    """What references come to: constants, and getters for those that vary, each of which has a slot in a row's inputs.

    The row of the values that it makes are these inputs.
    """

    def __init__(self, resolver: Resolver, keywords: Mapping[Keyword, object]) -> None:
        self.constants: dict[Reference, Any] = {}
        self.getters: list[Getter] = []
        self._resolver = resolver
        self._keywords = keywords
        self._varying: dict[Reference, Value] = {}

    def template(self, template: Template) -> Value:
        return compose(template, self._reference, self._keywords)

    def _reference(self, reference: Reference) -> Value:
        if reference not in self._varying:
            value = self._resolver.reference(reference)
            if not value.varies:
                self.constants[reference] = value.constant
                return value
            self._varying[reference] = _in_slot(len(self.getters))
            self.getters.append(value.get)
        return self._varying[reference]


def _in_slot(number: int) -> Value:
    def get(inputs: tuple[Any, ...], row_key: CallKey) -> Any:
        value = inputs[number]
        return value if type(value) in PLAIN_TYPES else copied(value)

    return Value(get, True)


def _varies(node: Node) -> bool:
    return any(
        Keyword.ROW_KEY in _keywords(template) or any(reference.varies for reference in template.references)
        for template in templates(node)
    )


def _keywords(template: Template) -> frozenset[Keyword]:
    """Return the keywords in a template and in all that is nested in it."""
    found = frozenset[Keyword]()
    for part in template.parts:
        inner = (
            occurring(part) if isinstance(part, str) else frozenset[Keyword]().union(*map(_keywords, part.templates))
        )
        found |= inner
    return found
