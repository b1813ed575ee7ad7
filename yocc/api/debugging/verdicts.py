"""What was found, in one or two sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from yocc.api.debugging.blaming import EXPLAINS, Blame
from yocc.api.debugging.diagnosis import LEAST_LOSS, StepFacts
from yocc.api.debugging.targeting import Found


def nothing_wrong(facts: Sequence[StepFacts], max_loss: float) -> str:
    """No step is guilty."""
    known = [step for step in facts if step.lost is not None]
    if not known:
        return "No pass fails. Fidelity was not measured."
    worst = max(known, key=lambda step: step.lost or 0.0)
    most = f": {worst.name} loses most, {worst.lost:.3f}" if (worst.lost or 0.0) >= LEAST_LOSS else ""
    return f"No pass loses more than {max_loss:g} of fidelity{most}."


def guilty_of(step: StepFacts, before: StepFacts) -> str:
    """A step fails, is rejected or loses fidelity.

    Args:
        step: the guilty one.
        before: the one before it.
    """
    who = f"The pass {step.name}" if step.kind == "pass" else f"The target {step.name}"
    if step.kind == "original":
        return f"The target rejects the model as it came in: {step.message}."
    if step.status == "rejected":
        return f"The target rejects the model from the pass {step.name} on: {step.message}."
    if step.status == "failed" and step.fidelity is None:
        return f"{who} fails: {step.message}"
    if step.status == "failed":
        does = "leaves a model that does not run" if step.kind == "pass" else "does not build or run the model"
        return f"{who} {does}: {step.message}"
    fidelity = f"{_short(before.fidelity)} -> {_short(step.fidelity)}"
    runs = "" if step.kind == "pass" else " The passes are innocent: its runtime computes something in another way."
    return f"{who} loses {_short(step.lost)} of fidelity ({fidelity}).{runs}"


def where(found: Blame, lost: float) -> str:
    """In which layers the loss of a pass lies.

    Args:
        found: by bisection.
        lost: by the pass.
    """
    if not found.changed:
        return "It changes the network as a whole, so that no layer can be looked at alone."
    if not found.guilty:
        return (
            f"Taken over alone, the {found.changed} layers that it changed lose {found.lost:.3f}, which does not "
            "explain it."
        )
    if len(found.guilty) == 1:
        part = found.guilty[0]
        if found.changed == 1:
            return f"The only layer that it changed is {part.node!r} ({part.op})."
        said = f"Of {found.changed} layers that it changed, {part.node!r} ({part.op}) alone loses {found.lost:.3f}."
        others = [layer.lost for layer in found.layers if not layer.guilty and layer.lost is not None]
        as_bad = sum(each >= EXPLAINS * lost for each in others)
        if as_bad:
            said += f" {as_bad} of {len(others)} others that were measured alone lose half of it or more."
        return said
    first, last = found.guilty[0], found.guilty[-1]
    share = f" of {found.changed}" if len(found.guilty) < found.changed else ""
    return (
        f"No layer alone explains it: {len(found.guilty)}{share} layers together, from {first.node!r} to "
        f"{last.node!r}, lose {found.lost:.3f} of {lost:.3f}."
    )


def where_in_target(found: Found, lost: float) -> str:
    """Which layers the target's runtime computes in another way, or cannot build or run.

    Args:
        found: by bisection.
        lost: in its runtime.
    """
    layers = _names(found)
    if not found.layers:
        return f"The smallest part that shows it is {layers}."
    if len(found.nodes) == 1:
        return f"{layers} alone, run there, loses {found.lost:.3f}."
    return f"No layer alone explains it: {layers}, run there, lose {found.lost:.3f} of {lost:.3f}."


def _names(found: Found) -> str:
    if not found.nodes:
        return f"{len(found.graph.nodes)} nodes"
    first, last = found.nodes[0], found.nodes[-1]
    if len(found.nodes) == 1:
        return f"{first.name!r} ({first.op})"
    return f"{len(found.nodes)} layers from {first.name!r} ({first.op}) to {last.name!r} ({last.op})"


def _short(value: float | None) -> str:
    return "unknown" if value is None else "0" if value == 0 else f"{value:.3f}" if math.isfinite(value) else str(value)
