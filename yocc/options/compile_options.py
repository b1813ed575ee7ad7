"""Everything a compilation can be asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from yocc.errors import OptionError
from yocc.options.fields import GROUPS, field_of, flag_of, option_fields
from yocc.options.groups import CompressionRecipe, DataOptions, MeasureOptions, OutputOptions, TargetOptions


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """Everything a compilation can be asked for.

    Attributes:
        recipe: what is compressed, and how.
        target: what for.
        data: what the network is fed with meanwhile.
        measure: what is measured.
        output: what is written.

    Raises:
        OptionError: options that exclude each other, or one without the other it needs.
    """

    recipe: CompressionRecipe = field(default_factory=CompressionRecipe)
    target: TargetOptions = field(default_factory=TargetOptions)
    data: DataOptions = field(default_factory=DataOptions)
    measure: MeasureOptions = field(default_factory=MeasureOptions)
    output: OutputOptions = field(default_factory=OutputOptions)

    def __post_init__(self) -> None:
        given = {each.name for each in option_fields() if self.value(each.name) != each.default}
        for each in option_fields():
            if each.name not in given:
                continue
            for other, reason in each.option.excludes.items():
                if other in given:
                    raise OptionError(reason, f"Give either {each.flag} or {flag_of(other)}.")
            if each.option.needs is not None and each.option.needs[0] not in given:
                needed, reason = each.option.needs
                raise OptionError(reason, f"Give {flag_of(needed)} with {each.flag}, or leave {each.flag} out.")

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Options from values by name, as in `CompileKeywords`; lists become tuples and text becomes paths.

        Raises:
            OptionError: an unknown name, or options that exclude each other.
        """
        known = {each.name: each for each in option_fields()}
        unknown = next((name for name in values if name not in known), None)
        if unknown is not None:
            raise OptionError(f"There is no option {unknown!r}.", f"The options are {', '.join(known)}.")
        groups: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            groups.setdefault(known[name].group, {})[name] = known[name].frozen(value)
        return cls(**{group: GROUPS[group](**chosen) for group, chosen in groups.items()})

    def value(self, name: str) -> Any:
        """The value of the option with this name."""
        return getattr(getattr(self, field_of(name).group), name)
