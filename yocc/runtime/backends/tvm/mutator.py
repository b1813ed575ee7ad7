"""Rewriting a module of TVM operator by operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Rule = Callable[[Any, Any], Any]
"""What an operator becomes: takes the mutator and the call, its inputs already rewritten, and returns an expression."""


def mutator_of(module: Any, rules: Mapping[str, Rule]) -> Any:
    """A mutator that applies a rule to every call of its operator; its class exists once TVM is imported.

    Its `emit` binds an expression to a variable, `bound` is the expression behind a variable, and `constant` the values
    of an expression, None where it has none.

    Args:
        module: TVM's.
        rules: by the operator's name, as `relax.add`.
    """
    from tvm import relax
    from tvm.ir.expr import GenericConst
    from tvm.relax.expr_functor import PyExprMutator, mutator

    @mutator
    class Mutator(PyExprMutator):
        """Visits every operator."""

        def visit_call_(self, call: Any) -> Any:
            """Visited for each operator."""
            call = super().visit_call_(call)
            rule = rules.get(operator_of(call))
            return call if rule is None else rule(self, call)

        def emit(self, expression: Any) -> Any:
            return self.builder_.emit(expression)

        def bound(self, expression: Any) -> Any:
            return self.lookup_binding(expression) if isinstance(expression, relax.Var) else expression

        def constant(self, expression: Any) -> Any:
            bound = self.bound(expression)
            return bound.value.numpy() if isinstance(bound, GenericConst) else None

    return Mutator(module)


def operator_of(expression: Any) -> str:
    """The name of the operator that an expression calls, empty for other expressions."""
    return str(getattr(getattr(expression, "op", None), "name", ""))
