"""Fingerprints of callables: equal in every process, different where the model differs.

What goes in (contract §2): the qualified name, the bytecode with the names that it refers to (without them
``len(x)`` and ``abs(x)`` are the same bytecode), the constants, those of nested functions included, and the
defaults. Two closures made by one function differ only in what they close over, two objects of one class only in
their attributes, so simple values of both count as well: numbers, strings, containers of them, numpy arrays,
functions; and of a callable object its class's methods. Of any other object only the type counts: its ``repr``
may hold an address, which changes with each process. An object's own ``fingerprint`` stands for it wherever it
occurs.

What does not go in: global variables and the functions behind global names, and weights that a function merely
closes over. Where one of those changes, give the model a ``fingerprint`` of its own, or pass the value as a default.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .base import hex16


def callable_fingerprint(function: Callable[..., Any]) -> str:
    """16 hex digits for a function, method, partial or callable object.

    The digits depend on the Python version, which decides the bytecode.
    """
    own = own_fingerprint(function)
    return hex16(_Encoder().encode(function)) if own is None else own


def own_fingerprint(value: object) -> str | None:
    """The ``fingerprint`` that an object brings along, if that is a string that says something."""
    own = getattr(value, "fingerprint", None)
    return own if isinstance(own, str) and own else None


class _Encoder:
    """Values as bytes that no other value has.

    :ivar path: the ids of what the present value is part of: a recursive function closes over itself.
    :ivar in_object: whether one of those is a callable object: objects inside objects count by type only, or one
        closure over a library's model would walk that library.
    """

    def __init__(self) -> None:
        self.path: list[int] = []
        self.in_object = False

    def encode(self, value: Any) -> bytes:
        if id(value) in self.path:
            return _framed("again", [str(self.path.index(id(value))).encode()])
        self.path.append(id(value))
        try:
            own = own_fingerprint(value)
            return self.parts(value) if own is None else _framed("own", [own.encode()])
        finally:
            self.path.pop()

    def parts(self, value: Any) -> bytes:
        for kinds, parts in _PARTS:
            if isinstance(value, kinds):
                return _framed(kinds[0].__name__, parts(self, value))
        return _framed("object", self.object(value))

    def each(self, values: Iterable[Any]) -> list[bytes]:
        return [self.encode(value) for value in values]

    def function(self, function: types.FunctionType) -> Iterator[bytes]:
        yield function.__qualname__.encode()
        yield from self.each((function.__code__, function.__defaults__, function.__kwdefaults__))
        yield from (self.cell(cell) for cell in function.__closure__ or ())

    def cell(self, cell: types.CellType) -> bytes:
        try:
            return self.encode(cell.cell_contents)
        except ValueError:  # closed over, but never assigned
            return b"empty"

    def code(self, code: types.CodeType) -> list[bytes]:
        return [code.co_code, *self.each((code.co_names, code.co_consts))]

    def array(self, array: np.ndarray[Any, Any]) -> list[bytes]:
        if array.dtype.hasobject:  # its bytes are addresses
            return self.each((array.shape, array.tolist()))
        return [array.dtype.str.encode(), str(array.shape).encode(), array.tobytes()]

    def items(self, mapping: dict[Any, Any]) -> list[bytes]:
        return sorted(_framed("item", self.each(item)) for item in mapping.items())

    def method(self, method: types.MethodType) -> list[bytes]:
        return [self.encode(method.__func__), *self.state(method.__self__)]

    def partial(self, partial: functools.partial[Any]) -> list[bytes]:
        return self.each((partial.func, partial.args, partial.keywords))

    def object(self, value: Any) -> list[bytes]:
        """Any other object: its type; of a callable one what it does, too."""
        wrapped = getattr(value, "__wrapped__", None)  # functools.cache and its like
        if wrapped is not None:
            return [*_named(type(value)), self.encode(wrapped)]
        return self.state(value) if isinstance(_call(value), types.FunctionType) else _named(type(value))

    def state(self, value: Any) -> list[bytes]:
        """An object by its type, its methods and its attributes."""
        own, kind = own_fingerprint(value), type(value)
        if own is not None:
            return [own.encode()]
        if self.in_object or isinstance(value, type):  # a class method's self is a class
            return _named(value if isinstance(value, type) else kind)
        self.in_object = True
        try:
            return [*_named(kind), *self.each((_methods(kind), object.__getstate__(value)))]
        finally:
            self.in_object = False


def _framed(tag: str, parts: Iterable[bytes]) -> bytes:
    """Parts under a tag, with their lengths, so that nesting stays visible."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in (tag.encode(), *parts))


def _call(value: object) -> object:
    return getattr(type(value), "__call__", None)  # noqa: B004 - the method itself is wanted


def _methods(kind: type) -> dict[str, types.FunctionType]:
    """The functions that an object's methods are made of, inherited ones included."""
    found = {name: value for base in reversed(kind.__mro__) for name, value in vars(base).items()}
    return {name: value for name, value in found.items() if isinstance(value, types.FunctionType)}


def _named(value: Any) -> list[bytes]:
    """By name; a class's module is left out, as a function's is: it is ``__main__`` until the code moves to a file."""
    name = getattr(value, "__qualname__", getattr(value, "__name__", ""))
    module = "" if isinstance(value, type) else getattr(value, "__module__", "")
    return [str(module).encode(), str(name).encode()]


def _scalar(value: Any) -> list[bytes]:
    return [type(value).__name__.encode(), repr(value).encode("utf-8", "surrogatepass")]


# The first row that fits. A bool is an int, and so on: the scalar's own type name tells them apart.
_PARTS: tuple[tuple[tuple[type, ...], Callable[[_Encoder, Any], Iterable[bytes]]], ...] = (
    ((type(None), int, float, complex, str, bytes, type(Ellipsis), np.generic), lambda _, value: _scalar(value)),
    ((tuple,), _Encoder.each),
    ((list,), _Encoder.each),
    ((set, frozenset), lambda encoder, value: sorted(encoder.each(value))),
    ((dict,), _Encoder.items),
    ((slice,), lambda encoder, value: encoder.each((value.start, value.stop, value.step))),
    ((np.ndarray,), _Encoder.array),
    ((types.FunctionType,), _Encoder.function),
    ((types.CodeType,), _Encoder.code),
    ((types.MethodType,), _Encoder.method),
    ((functools.partial,), _Encoder.partial),
    ((type, types.BuiltinFunctionType, types.ModuleType), lambda _, value: _named(value)),
)
