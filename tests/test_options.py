"""Every option is said once and reaches the command line, yocc.toml, Python, the docs and the cache key."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import click
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.samples import tiny_model
from tools.options_page import PAGE, options_page
from yocc.cli import cli
from yocc.compiler.cache.keys import compilation_key
from yocc.errors import OptionError
from yocc.options import Cached, CompileKeywords, CompileOptions, OptionField, command_words, field_of, option_fields

FIELDS = {each.name: each for each in option_fields()}
every_field = pytest.mark.parametrize("each", FIELDS.values(), ids=FIELDS)


def _another(each: OptionField) -> Any:
    """A value that is not the default."""
    if isinstance(each.default, bool):
        return not each.default
    if each.is_path:
        return (Path("elsewhere"),) if each.many else Path("elsewhere")
    examples: dict[str, Any] = {
        "recover": "none", "schedule": "oneshot", "sparsity": "2:4", "outputs": "raw", "options": {"a": "b"},
        "input_shapes": {"x": (1, 2)}, "input_color": "bgr", "input_fit": "crop", "target": "ncnn",
        "moves": "ranks", "activations": "gelu",
        "gates": ("map50 >= 0",),
    }  # fmt: skip
    if each.name in examples:
        return examples[each.name]
    return 3 if "int" in str(each.kind) else 0.5 if "float" in str(each.kind) else "text"


@every_field
def test_it_is_an_option_of_the_command_line(each: OptionField) -> None:
    parameters = {parameter.name: parameter for parameter in cli.commands["compile"].params}
    option = parameters[each.name]
    assert isinstance(option, click.Option)
    assert each.flag in (flag.partition("/")[0] for flag in option.opts)
    assert option.help is not None
    assert option.help.startswith(each.option.help.removesuffix("."))


@every_field
def test_it_is_a_keyword_of_python(each: OptionField) -> None:
    assert each.name in CompileKeywords.__annotations__


def test_python_has_no_other_keywords() -> None:
    assert set(CompileKeywords.__annotations__) == set(FIELDS)


@every_field
def test_words_of_the_command_line_give_it_back(each: OptionField) -> None:
    needed = {} if each.option.needs is None else {each.option.needs[0]: _another(FIELDS[each.option.needs[0]])}
    options = CompileOptions.of(**needed, **{each.name: _another(each)})
    read = cli.commands["compile"].make_context("compile", ["model.onnx", *command_words(options)]).params
    again = CompileOptions.of(**{name: read[name] for name in FIELDS})
    assert command_words(again) == command_words(options)
    assert (each.flag.removeprefix("--") in "".join(command_words(options))) == (each.option.cached is not Cached.NOT)


@every_field
def test_it_stands_in_the_docs(each: OptionField) -> None:
    assert f"`{each.flag}`" in PAGE.read_text(encoding="utf-8")


def test_the_page_is_what_the_fields_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == options_page(), "run python -m tools.options_page"


@every_field
def test_it_is_a_key_of_the_configuration_file(each: OptionField, tmp_path: Path) -> None:
    value = _another(each)
    (tmp_path / "yocc.toml").write_text(f"{each.flag.removeprefix('--')} = {_toml(value)}\n")
    missing = tmp_path / "missing.onnx"
    needs = [] if each.option.needs is None else ["--" + each.option.needs[0]]
    done = CliRunner().invoke(cli, ["compile", str(missing), *needs, "--config", str(tmp_path / "yocc.toml")])
    assert "unknown key" not in done.output
    assert "takes" not in done.output


@pytest.mark.slow
@every_field
def test_it_counts_in_the_cache_key(each: OptionField, tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(tiny_model().SerializeToString())
    file = _named_file(each, tmp_path)
    given = _another(each) if file is None else _named(each, file)
    around = {} if each.option.needs is None else {each.option.needs[0]: _another(FIELDS[each.option.needs[0]])}
    if each.option.cached is Cached.LABELS:
        around["evaluate"] = tmp_path / "val" / "images"
    key = compilation_key(model, CompileOptions.of(**around, **{each.name: given}))
    plain = compilation_key(model, CompileOptions.of(**around))
    assert None not in (key, plain)
    assert (key == plain) == (each.option.cached is Cached.NOT)
    if file is not None:
        file.write_bytes(file.read_bytes() + b" ")
        assert compilation_key(model, CompileOptions.of(**around, **{each.name: given})) not in (key, None)


def _named_file(each: OptionField, folder: Path) -> Path | None:
    """A file whose contents count, None where the value says all."""
    if each.option.cached not in (Cached.FILES, Cached.PICTURES, Cached.LABELS):
        return None
    images, labels = folder / "val" / "images", folder / "val" / "labels"
    images.mkdir(parents=True)
    labels.mkdir()
    (labels / "0.txt").write_text("0 0.5 0.5 1 1")
    Image.new("RGB", (8, 8)).save(images / "0.png")
    return labels / "0.txt" if each.option.cached is Cached.LABELS else images / "0.png"


def _named(each: OptionField, file: Path) -> Any:
    """The value that names the file: itself, or the folder it is in."""
    if each.option.cached is Cached.FILES:
        return (file,) if each.many else file
    return file.parent


@every_field
def test_what_excludes_and_needs_are_options(each: OptionField) -> None:
    assert set(each.option.excludes) <= set(FIELDS)
    assert each.option.needs is None or each.option.needs[0] in FIELDS


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prune": 0.4, "prune_target": "macs=0.8"}, "Give either --prune-target or --prune."),
        ({"pipeline": "simplify", "int8": True}, "Give either --pipeline or --int8."),
        ({"weights": "log2:4", "fp16": True}, "Give either --fp16 or --weights."),
        ({"weights": "log2:4", "sparsity": "2:4"}, "Give either --sparsity or --weights."),
        ({"max_drop": 0.1}, "Give --int8 with --max-accuracy-drop"),
        ({"threshold": 1}, "There is no option 'threshold'"),
        ({"gates": 3}, "cannot be 3. Give a list, or one value as text."),
        ({"input_shapes": "x=1,3"}, "cannot be 'x=1,3'. Give a dictionary such as {'images'"),
        ({"options": "a=b"}, "Give a dictionary such as {'name'"),
        ({"int8": "yes"}, "cannot be 'yes'. Give True or False."),
        ({"prune": "0.4"}, "--prune .prune. cannot be '0.4'. Give a number."),
        ({"calibration": ["pictures"]}, "Give a path."),
        ({"count": 2.5}, "Give a whole number."),
    ],
)
def test_what_contradicts_itself_is_refused(values: Mapping[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        CompileOptions.of(**values)


def test_values_are_frozen_in_the_form_of_the_field() -> None:
    options = CompileOptions.of(calibration="pictures", gates=["a <= 1"], statistics="one.npz", options=None)
    assert options.data.calibration == Path("pictures")
    assert options.measure.gates == ("a <= 1",)
    assert options.data.statistics == (Path("one.npz"),)
    assert options.target.options == {}


def test_groups_are_frozen() -> None:
    options = CompileOptions()
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.recipe.int8 = True
    assert field_of("int8").group == "recipe"
    assert set(get_type_hints(CompileOptions)) == {"recipe", "target", "data", "measure", "output"}


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(str(value)) if isinstance(value, str | Path) else str(value)
