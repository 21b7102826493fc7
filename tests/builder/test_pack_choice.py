"""Which targets are meant, and what of the lists of kernels and GPU backends is for each of them."""

from __future__ import annotations

import pytest
from solofile.builder.pack_choice import expanded, share
from solofile.builder.targets import TARGETS, find_kernels
from solofile.runtime.errors import UnknownName

PAIR = ("linux-aarch64", "linux-x86_64")


def test_targets_with_commas_in_order() -> None:
    assert expanded(["windows-x86_64,linux-x86_64", "linux-aarch64", " linux-x86_64 "]) == (*PAIR, "windows-x86_64")
    assert expanded([]) == ()


def test_universal_are_all() -> None:
    assert expanded(["universal"]) == tuple(sorted(TARGETS)) == expanded(["universal", "linux-x86_64"])


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="windows-x86_64"):
        expanded(["linux-x86_64,windows-x86-64"])


def test_each_target_gets_its_own_kernels() -> None:
    assert share("linux-x86_64", PAIR, "kernels", "haswell,armv8.2_1") == "haswell"
    assert share("linux-aarch64", PAIR, "kernels", "haswell,armv8.2_1") == "armv8.2_1"
    assert share("linux-x86_64", PAIR, "kernels", "all") == "all"
    assert share("linux-x86_64", PAIR, "gpus", "vulkan") == "vulkan"
    assert share("linux-aarch64", PAIR, "gpus", "vulkan") == ""


def test_a_kernel_that_no_target_has_is_refused() -> None:
    wanted = share("linux-x86_64", PAIR, "kernels", "haswel,armv8.2_1")
    with pytest.raises(UnknownName, match="haswell"):
        find_kernels(TARGETS["linux-x86_64"], wanted)
    assert share("linux-x86_64", ("linux-x86_64",), "kernels", "armv8.2_1") == "armv8.2_1"
