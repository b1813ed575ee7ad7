"""ncnn's numbered orders of axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

_ORDERS: Mapping[int, tuple[str, ...]] = MappingProxyType(
    {
        2: ("wh", "hw"),
        3: ("whc", "hwc", "wch", "cwh", "hcw", "chw"),
        4: tuple(
            "whdc hwdc wdhc dwhc hdwc dhwc whcd hwcd wchd cwhd hcwd chwd "
            "wdch dwch wcdh cwdh dcwh cdwh hdcw dhcw hcdw chdw dchw cdhw".split()
        ),
    }
)
"""Which axis of the input becomes the width, the height, ... of the output."""


def permutation(order: Sequence[int]) -> int:
    """The number of an order for ncnn's Permute.

    Args:
        order: for each axis of the output, outermost first, which axis of the input it is; 2 to 4 of them.
    """
    letters = {2: "hw", 3: "chw", 4: "cdhw"}[len(order)]
    return _ORDERS[len(order)].index("".join(letters[axis] for axis in reversed(order)))
