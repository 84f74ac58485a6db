"""Types as a reader needs them: validators and module paths are left out, a field that holds a part names its base."""

import contextlib
import functools
import inspect
import operator
import types
import typing

from docutils import nodes
from sphinx import addnodes

import analysis
import ensemble

INNER = ("jaxlib._jax.",)
"""Where JAX's types really live."""


def plain(annotation: typing.Any) -> typing.Any:
    """A type without `Annotated`; a part's field is of the base class that its validator asks for."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        for extra in arguments[1:]:
            bases = getattr(getattr(extra, "func", None), "args", ())  # functools.partial of parts.chosen
            if bases and inspect.isclass(bases[0]):
                return bases[0]
        return plain(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return functools.reduce(operator.or_, map(plain, arguments))
    if origin in (tuple, list, dict, set, frozenset) and arguments:
        return origin[tuple(plain(argument) for argument in arguments)]
    return annotation


def simplify(found: typing.Any) -> None:
    """Has a function or class show plain types."""
    for each in {found, inspect.unwrap(found)}:
        if "__annotations__" in vars(each) or inspect.isfunction(each):
            each.__annotations__ = {name: plain(kind) for name, kind in each.__annotations__.items()}
    with contextlib.suppress(TypeError, ValueError):  # what has no signature
        shown = inspect.signature(found)
        parameters = [p.replace(annotation=plain(p.annotation), default=said(p)) for p in shown.parameters.values()]
        if parameters != list(shown.parameters.values()):
            found.__signature__ = inspect.unwrap(found).__signature__ = shown.replace(parameters=parameters)


class Made:
    """A default that is made anew for each call."""

    def __repr__(self) -> str:
        return "..."


def said(parameter: inspect.Parameter) -> typing.Any:
    """A parameter's default, as Python can read it."""
    return Made() if repr(parameter.default) == "<factory>" else parameter.default


def simplify_all(app) -> None:
    """Every public name of both packages, and the functions of public modules."""
    for package in (ensemble, analysis):
        for found in (getattr(package, name) for name in package.__all__):
            inner = vars(found).values() if inspect.ismodule(found) else [found]
            for each in inner:
                if inspect.isclass(each) or inspect.isfunction(each):
                    simplify(each)


def shorten(app, document: nodes.document) -> None:
    """Leaves out in signatures where JAX's types really live."""
    for signature in document.findall(addnodes.desc_signature):
        for text in list(signature.findall(nodes.Text)):
            short = functools.reduce(lambda said, path: said.replace(path, ""), INNER, str(text))
            if short != str(text):
                text.parent.replace(text, nodes.Text(short))


def setup(app) -> dict[str, bool]:
    app.connect("builder-inited", simplify_all)
    app.connect("doctree-read", shorten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
