"""Help of `yocc compile` in groups, what people need first at the top."""

from __future__ import annotations

from collections.abc import Mapping

import click

from yocc.options import option_fields

FIRST = ("int8", "calibration", "out", "target", "evaluate", "max_drop", "side", "weights", "prune", "gates")
"""The options that most compilations need, by name."""
_TITLES: Mapping[str, str] = {
    "recipe": "Compression",
    "target": "Target",
    "data": "Model and data",
    "measure": "Measuring",
    "output": "Output",
}
_OUTPUT = ("junit_file", "page", "force")
_OTHERS = "Cache and messages"


class GroupedCommand(click.Command):
    """A command whose options are listed in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those in `FIRST` first, then by group."""
        titles = {each.name: _TITLES[each.group] for each in option_fields()}
        titles |= dict.fromkeys(_OUTPUT, _TITLES["output"]) | dict.fromkeys(FIRST, "Most used")
        groups: dict[str, list[tuple[str, str]]] = {title: [] for title in ("Most used", *_TITLES.values(), _OTHERS)}
        parameters = self.get_params(ctx)
        order = {name: place for place, name in enumerate(FIRST)}
        for parameter in sorted(parameters, key=lambda each: order.get(each.name or "", len(order))):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups[titles.get(parameter.name or "", _OTHERS)].append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)
