"""Everything that can say how much a channel matters, ours and other packages'."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from yocc.compiler.pipeline.registry import discover, lookup, nearest
from yocc.errors import OptionError
from yocc.passes.prune.criteria.activations import Activation, Deviation, Gamma, HRank, Zeros
from yocc.passes.prune.criteria.consumers import Effect, Reconstruction
from yocc.passes.prune.criteria.criterion import GROUP, Criterion, Score, Subject
from yocc.passes.prune.criteria.gradients import GaussNewton, Taylor
from yocc.passes.prune.criteria.information import MutualInformation
from yocc.passes.prune.criteria.weights import L1, L2, Auto, BnGamma, Fpgm, Random
from yocc.passes.prune.norms import Scores

__all__ = ["BY_WEIGHTS", "CRITERIA", "Criterion", "Score", "Scores", "Subject", "criterion_named"]

CRITERIA: Mapping[str, type[Criterion]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Auto, BnGamma, L1, L2, Fpgm, Random,
            Activation, Deviation, Zeros, Gamma, HRank, MutualInformation,
            Taylor, GaussNewton, Reconstruction, Effect,
        )
    }
)  # fmt: skip
"""The criteria of yocc by name."""
BY_WEIGHTS = frozenset(kind.name for kind in (Auto, BnGamma, L1, L2, Fpgm, Random))
"""Those that need no pictures."""


def criterion_named(name: str) -> Criterion:
    """Make the criterion of a name.

    Raises:
        OptionError: there is none, it does not load, or it is registered twice.
    """
    if name in CRITERIA:
        return CRITERIA[name]()
    plugins = discover(GROUP, Criterion)
    if name not in plugins:
        raise OptionError(f"There is no criterion {name!r}.", nearest(name, {**CRITERIA, **plugins}))
    found: Criterion = lookup(plugins, name, "criterion")()
    return found
