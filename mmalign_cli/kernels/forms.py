"""What a fast kernel is compiled for: a value that numba sees as a type."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields

from numba import types
from numba.core import cgutils
from numba.extending import NativeValue, models, overload_attribute, register_model, unbox

MOST_IN_REGISTERS = 3
"""Dimensions up to which costs are computed in the sweep itself."""


class FormType(types.Type):
    """The type of one form: kernels are compiled for each."""

    def __init__(self, form: Form) -> None:
        self.form = form
        super().__init__(name=repr(form))


@dataclass(frozen=True)
class Form:
    """A local cost and a set of weights, for which the strip kernels are compiled.

    Parameters
    ----------
    metric : int
        SQEUCLIDEAN, EUCLIDEAN, CITYBLOCK or CHEBYSHEV.
    dims : int
        Dimensions, where costs are computed in the sweep; 0 where they come from a buffer.
    diagonal : int
        Weight of the cost after a diagonal move, 1 or 2; both other moves weigh 1.
    bent : bool
        Whether moves that are not diagonal are charged a penalty.
    lanes : bool
        Vectors of the machine in float32; else a plain loop in the type of the arrays.
    """

    metric: int
    dims: int
    diagonal: int
    bent: bool
    lanes: bool

    @property
    def striped(self) -> bool:
        """How positions are dealt to vectors: see `mmalign_cli.kernels.lanes`."""
        return self.lanes and self.dims > 0

    @property
    def _numba_type_(self) -> FormType:
        return _type_of(self)


@functools.cache
def _type_of(form: Form) -> FormType:
    return FormType(form)


@register_model(FormType)
class _FormModel(models.OpaqueModel):
    """A form holds nothing when the kernel runs."""


@unbox(FormType)
def _unbox_form(kind, form, c):
    return NativeValue(cgutils.get_null_value(c.context.get_value_type(kind)))


def _give_attribute(name: str) -> None:
    """Let kernels read a field of their form: a constant to the compiler."""

    def of(form):
        value = getattr(form.form, name)
        return lambda form: value

    overload_attribute(FormType, name)(of)


for _name in (*(field.name for field in fields(Form)), "striped"):
    _give_attribute(_name)
