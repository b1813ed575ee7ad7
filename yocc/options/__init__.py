"""Everything a compilation can be asked for, each option said once.

From the fields of the groups in `groups.py` come the options of `yocc compile`, the keys of `yocc.toml`, the exclusion
rules and their sentences, the cache key and the table in `docs/options.md`. To add an option, add a field to one of the
five groups, and its type to `CompileKeywords`, which type checkers read.
"""

from yocc.options.compile_options import CompileOptions
from yocc.options.fields import OptionField, field_of, flag_of, option_fields
from yocc.options.groups import CompressionRecipe, DataOptions, MeasureOptions, OutputOptions, TargetOptions
from yocc.options.keywords import CalibrateKeywords, CompileKeywords, FeedingKeywords
from yocc.options.option import Activations, Cached, Color, Fit, Number, Option, Shapes
from yocc.options.words import command_words

__all__ = [
    "Activations",
    "Cached",
    "CalibrateKeywords",
    "Color",
    "CompileKeywords",
    "CompileOptions",
    "CompressionRecipe",
    "DataOptions",
    "FeedingKeywords",
    "Fit",
    "MeasureOptions",
    "Number",
    "Option",
    "OptionField",
    "OutputOptions",
    "Shapes",
    "TargetOptions",
    "command_words",
    "field_of",
    "flag_of",
    "option_fields",
]
