"""What is conspicuous in the figures of a result: with its likely reason and what helps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from yocc.compiler.stages.elsewhere import Elsewhere
from yocc.report.report import CalibrationFacts, ModelFacts
from yocc.runtime.backends.compare import Difference
from yocc.runtime.data.description import InputDescription
from yocc.runtime.data.stated import OPTIONS
from yocc.runtime.measuring.fidelity import LEAST_FIDELITY, LEAST_SNR, FidelityFacts

LOST = 0.1
"""Share of the confident detections whose loss is reported."""
LOST_SEVERELY = 1 / 3
GROWN = 0.01
"""Growth of a file or of the parameters that is reported."""
_RUNTIME_DIFFERS = 20.0
"""Decibels; a runtime that computes a float model right is far above."""
_FEW_SAMPLES = 16
_BIASES = 0.1
"""Growth of the parameters up to which new biases explain it."""
_TABLES = 4096
"""Most values of the tables of codes that are counted as parameters."""
_HALF, _CODES = 2.5, 1.75
"""Bytes for each parameter below which a model stores half precision, and codes."""


@dataclass(frozen=True)
class Remark:
    """Something the user should read.

    Attributes:
        text: what it is, why it likely is so, and what helps.
        severe: whether the result is of little use.
        wrong: whether that is because of what the model computes, rather than its size.
    """

    text: str
    severe: bool = False
    wrong: bool = True


@dataclass(frozen=True)
class Circumstances:
    """What a result may have suffered from.

    Attributes:
        pipeline: the passes that changed something, as text.
        target: name of the backend.
        calibration: what values were observed on.
        description: how pictures were fed, None where arrays were.
        target_snr: of the original in the target's runtime, in decibels; None where that was not asked.
        elsewhere: how an original that finds nothing would have to be fed to find something; None elsewhere.
    """

    pipeline: str = ""
    target: str = "onnxruntime"
    calibration: CalibrationFacts | None = None
    description: InputDescription | None = None
    target_snr: float | None = None
    elsewhere: Elsewhere | None = None

    @property
    def wrong_runtime(self) -> bool:
        """Whether the target's runtime computes even the original otherwise."""
        return self.target_snr is not None and self.target_snr < _RUNTIME_DIFFERS

    def ran(self, name: str) -> bool:
        """Whether a pass of that name ran."""
        return any(step.partition("{")[0].strip() == name for step in self.pipeline.split(","))


def calibration_remarks(calibration: CalibrationFacts | None, *, held_out: bool) -> Iterator[Remark]:
    """What is conspicuous in what values were observed on.

    Args:
        calibration: what that was, None for nothing.
        held_out: whether the result was compared on other samples.
    """
    if calibration is None or calibration.synthetic or not calibration.used:
        return
    if calibration.samples == 1:
        what = "Calibrated with" if held_out else "Calibrated and compared on"
        yield Remark(f"{what} a single sample; give about a hundred like those the model will see.")
    elif not held_out:
        yield Remark(
            f"Calibrated and compared on the same {calibration.samples} samples, as they are too few to hold some "
            "back; the comparison flatters. Give about a hundred."
        )


def fidelity_remarks(facts: FidelityFacts | None, around: Circumstances) -> Iterator[Remark]:
    """What is conspicuous in a comparison with the original."""
    if facts is None or not facts.samples:
        return
    if facts.uneven:
        yield Remark(
            f"{_names(facts.uneven)} of the compiled model and of the original: not compared, as how many values they "
            "have depends on what is computed, and the two differ in it."
        )
    found = [*_not_finite(facts, around), *_agreement(facts, around)]
    yield from found
    if around.wrong_runtime and not any(likely_reason(around, detector=False) in remark.text for remark in found):
        yield Remark(f"The compiled model differs from the original. {likely_reason(around, detector=False)}")


def _agreement(facts: FidelityFacts, around: Circumstances) -> Iterator[Remark]:
    if facts.confident is None:
        yield from _noisy(facts, around)
        return
    before, after = facts.confident
    if not before:
        yield Remark(_nothing_found(facts, around))
        yield from _noisy(facts, around)
        return
    reason = likely_reason(around, detector=True)
    if facts.collapsed:
        yield Remark(f"{facts.collapsed} {reason}", severe=True)
        return
    if facts.detection is not None and facts.detection.map50_95 < LEAST_FIDELITY:
        agreement = f"fidelity is {facts.detection.map50_95:.3f} of 1 (mAP50-95 against the original's own detections)"
        yield Remark(
            f"The compiled model detects different objects than the original: {agreement}. {reason}", severe=True
        )
    lost = before - after
    if lost >= LOST * before:
        text = f"{lost} of the original's {before} confident detections are lost ({lost / before:.0%}). {reason}"
        yield Remark(text, severe=lost >= LOST_SEVERELY * before)


def size_remarks(before: ModelFacts, after: ModelFacts, around: Circumstances) -> Iterator[Remark]:
    """Files or parameters that grew."""
    grown = [
        f"{name} {old:,} -> {new:,} (+{new / old - 1:.0%})"
        for name, old, new in (
            ("parameters", before.parameters, after.parameters),
            ("bytes of its files", before.bytes, after.bytes),
        )
        if old and new > (1 + GROWN) * old
    ]
    if grown:
        why = _why_larger(before, after, around)
        severe = after.bytes > (1 + GROWN) * before.bytes or after.parameters > (1 + _BIASES) * before.parameters
        text = f"The compiled model is larger than the original: {', '.join(grown)}. {why}"
        yield Remark(text, severe=severe, wrong=False)


def compression_remarks(idle: Sequence[str], others: Sequence[str], target: str) -> Iterator[Remark]:
    """A result that equals its input.

    Args:
        idle: passes that were to compress and changed nothing.
        others: passes beyond those before every compression that changed something.
        target: name of the backend, for which `yocc inspect` is asked.
    """
    if idle and not others:
        names = " and ".join(dict.fromkeys(idle))
        yield Remark(
            f"Nothing was compressed: {names} changed nothing in this model. Likely reason: no layer is of a kind that "
            f"can be; the report and `yocc inspect --target {target}` say why for each.",
            severe=True,
            wrong=False,
        )


def request_remarks(*, asked: bool) -> Iterator[Remark]:
    """That no compression was asked for, where it was not."""
    if not asked:
        yield Remark(
            "No compression was asked for, so the model was only simplified. Add --int8 to quantize it; `yocc advise` "
            "measures what each option would bring."
        )


def input_remarks(fed: InputDescription | None, known: InputDescription | None) -> Iterator[Remark]:
    """What was assumed of the pictures, or stated to no effect.

    Args:
        fed: how pictures were fed; None where none were.
        known: how they would be.
    """
    if fed is not None and fed.warning:
        yield Remark(fed.warning)
    if fed is None and known is not None and known.origin == "given":
        yield Remark(f"{OPTIONS} had no effect: arrays are fed as they are, and no pictures were read.")


def likely_reason(around: Circumstances, *, detector: bool) -> str:
    """Why outputs changed as much as they did, most likely, and what helps."""
    if around.wrong_runtime:
        return (
            f"Likely reason: {around.target} computes even the original differently than onnxruntime does "
            f"({around.target_snr:.1f} dB); choose another --target, other --threads, or another version of its "
            "runtime."
        )
    calibration = around.calibration
    if calibration is not None and calibration.used:
        if calibration.synthetic:
            return "Likely reason: calibrated with synthetic pictures; give real ones with --calib."
        if calibration.samples < _FEW_SAMPLES:
            return (
                f"Likely reason: only {calibration.samples} samples to calibrate with; give 100 or more with --calib."
            )
    described = around.description
    unsure = described is not None and described.origin == "assumed"
    elsewhere = " Or pictures are preprocessed differently than in training." if unsure else ""
    if around.ran("resize_input"):
        elsewhere = f" Or the input has too few pixels; try a larger --side.{elsewhere}"
    if around.ran("encode"):
        return f"Likely reason: too few bits for the weights; give more, such as --weights log2:6.{elsewhere}"
    if around.ran("factorize") and not around.ran("prune"):
        helps = "save less, or add --recover distill"
        return f"Likely reason: ranks are lower than recovery restores; {helps}.{elsewhere}"
    if around.ran("prune"):
        helps = "prune less, or add --recover distill"
        return f"Likely reason: more was pruned than recovery restores; {helps}.{elsewhere}"
    if around.ran("substitute"):
        helps = "use --activations gelu, or add --recover distill"
        return f"Likely reason: other activations cost more than recovery restores; {helps}.{elsewhere}"
    if around.ran("quantize"):
        helps = "add --max-accuracy-drop 0.03" if detector else "use --fp16 instead of --int8"
        return f"Likely reason: 8 bits are too coarse for some layers; {helps}.{elsewhere}"
    if around.ran("fp16"):
        return "Likely reason: values beyond half precision; leave out --fp16, or lower fp16{limit=...} in --pipeline."
    if around.ran("resize_input"):
        return "Likely reason: the input has another size than the original's; try a side that is nearer to it."
    if unsure:
        return f"Likely reason: pictures are preprocessed differently than in training; state it with {OPTIONS}."
    return "Likely reason: a step changed what is computed; `yocc debug` with the same options finds out which."


def _not_finite(facts: FidelityFacts, around: Circumstances) -> Iterator[Remark]:
    whole = [each for each in facts.outputs if not each.label]
    ours = [each for each in whole if each.reference_finite and not each.finite]
    broken = [each for each in whole if not each.reference_finite]
    if ours:
        reason = likely_reason(around, detector=facts.confident is not None)
        yield Remark(
            f"{_named(ours)} of the compiled model: NaN or infinity, unlike the original's. {reason}", severe=True
        )
    if broken:
        yield Remark(
            f"{_named(broken)} of the original itself: NaN or infinity, so little can be compared. Likely reason: "
            f"weights or inputs out of range; check the model, or state how it takes pictures with {OPTIONS}."
        )


def _noisy(facts: FidelityFacts, around: Circumstances) -> Iterator[Remark]:
    noisy = [
        each
        for each in facts.outputs
        if not each.label and each.finite and each.reference_finite
        if each.snr_db is not None and each.snr_db < LEAST_SNR
    ]
    if noisy:
        worst = min(each.snr_db for each in noisy if each.snr_db is not None)
        yield Remark(
            f"{_named(noisy)} of the compiled model hardly {'resembles' if len(noisy) == 1 else 'resemble'} the "
            f"original's: {worst:.1f} dB signal to noise, under {LEAST_SNR:g}. {likely_reason(around, detector=False)}",
            # Of a detector that finds nothing in these pictures, outputs say little.
            severe=facts.confident is None,
        )


def _named(outputs: list[Difference]) -> str:
    return _names([each.output for each in outputs])


def _names(outputs: Sequence[str]) -> str:
    first = f"Output {outputs[0]!r}"
    return first if len(outputs) == 1 else f"{first} and {len(outputs) - 1} more"


def _nothing_found(facts: FidelityFacts, around: Circumstances) -> str:
    found = (
        f"The original itself finds nothing in {facts.samples} of {facts.data}, so fidelity means little. "
        "Likely reason: "
    )
    if around.elsewhere is not None:
        other = around.elsewhere
        return (
            f"{found}pictures are fed otherwise than in training. Fed with --preprocess {other.name}, it finds "
            f"{other.found} objects in {other.pictures} of them; if they are there, compile again with that."
        )
    if around.calibration is not None and around.calibration.synthetic:
        return f"{found}synthetic pictures hold no objects of its classes; give real ones with --calib."
    if around.description is None:
        return f"{found}the arrays are scaled differently than in training; write them as the network is fed."
    return (
        f"{found}none of its classes is in the pictures, or they are preprocessed differently than in training, now "
        f"{around.description.text}; give other pictures, or state it with {OPTIONS}."
    )


def _why_larger(before: ModelFacts, after: ModelFacts, around: Circumstances) -> str:
    if after.bytes <= (1 + GROWN) * before.bytes and after.parameters <= (1 + _BIASES) * before.parameters:
        return "Likely reason: layers without a bias were given one, which holds what was folded or corrected."
    grown = after.parameters - before.parameters
    if around.ran("encode") and 0 < grown <= _TABLES:
        return (
            "Likely reason: the tables of values that codes stand for take more than the codes save in a model this "
            "small; leave out --weights if size is what matters."
        )
    if grown > _BIASES * before.parameters:
        return (
            "Likely reason: a weight that several layers share became a copy for each, or constants were folded into "
            "larger ones; `yocc inspect` shows which layers grew, and fewer passes in --pipeline leave them."
        )
    coded = around.ran("quantize") or around.ran("encode")
    if around.ran("fp32") and not around.ran("fp16") and not coded:
        if before.bytes < _CODES * before.parameters:
            return "Likely reason: its weights were codes of 8 bits or less and became float32; compile the original."
        if before.bytes < _HALF * before.parameters:
            return "Likely reason: its weights were in half precision and are in float32 now; add --fp16."
    if around.target not in ("onnxruntime", "tensorrt"):
        return _more_than_weights(around)
    if coded:
        return (
            "Likely reason: scales, zero points and operators for codes take more than the codes save in a model this "
            "small; leave out --int8 or --weights if size is what matters."
        )
    if around.target != "onnxruntime":
        return _more_than_weights(around)
    return "Likely reason: descriptions of tensors were added; that matters in a model this small."


def _more_than_weights(around: Circumstances) -> str:
    return f"Likely reason: files of {around.target} hold more than weights; that matters in a model this small."
