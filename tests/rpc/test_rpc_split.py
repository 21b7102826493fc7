"""How the layers are shared out."""

from __future__ import annotations

import pytest
from solofile.runtime import choice, rpc_split
from solofile.runtime.kernel_path import Choice, Decision, KernelPath, Wishes
from solofile.runtime.memory import DeviceShare, Estimate
from solofile.runtime.rpc_handshake import Device, Facts
from solofile.runtime.rpc_split import Helper, apportioned

GB = 10**9


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (31, [8, 8, 8], [11, 10, 10]),
        (31, [16, 8, 8], [15, 8, 8]),
        (10, [1, 1], [5, 5]),
        (10, [100, 1], [9, 1]),
        (10, [0, 5], [1, 9]),
        (2, [9, 1, 1], [1, 1, 0]),
        (7, [0, 0, 0], [3, 2, 2]),
        (33, [5], [33]),
    ],
)
def test_layers_go_by_memory(total: int, weights: list[int], parts: list[int]) -> None:
    assert sum(apportioned(total, weights)) == total
    assert apportioned(total, weights) == parts


def helper(address: str, *memory: int) -> Helper:
    return Helper(address, Facts("1", "c", tuple(Device(f"D{at}", "cpu", one) for at, one in enumerate(memory))))


def plain(**more: str) -> Choice:
    return Choice(KernelPath("haswell", **more), (Decision("gpu layers", "0", "there is no GPU in use"),))


def shared(start: Choice, wishes: Wishes, *helpers: Helper, here: int | None = 8 * GB) -> Choice:
    devices = [f"RPC{number}" for number in range(sum(len(one.facts.devices) for one in helpers))]
    return rpc_split.shared(start, wishes, helpers, devices, here, 30)


def words(found: Choice, wishes: Wishes) -> str:
    return " ".join(choice.arguments(found.path, wishes))


def test_each_machine_gets_its_share_and_all_of_it_is_said() -> None:
    found = shared(plain(), Wishes(), helper("a:1", 8 * GB), helper("b:2", 4 * GB, 4 * GB))
    assert found.path.gpu_layers == "20"
    assert found.path.split == "10,5,5"
    assert found.of("workers").value == "11 of 31 layers here, 10 at a:1, 10 at b:2"
    assert "8.0 GB here, 8.0 GB at a:1 and 8.0 GB at b:2" in found.of("workers").reason
    assert "-ngl 20 -dev RPC0,RPC1,RPC2 -ts 10,5,5" in words(found, Wishes())


def test_where_nobody_knows_the_memory_here_the_workers_take_all() -> None:
    found = shared(plain(), Wishes(), helper("a:1", GB), here=None)
    assert found.path.gpu_layers == "31"
    assert found.of("workers").value == "31 at a:1"


def test_what_the_user_says_of_the_layers_counts() -> None:
    wishes = Wishes(gpu_layers="7")
    found = shared(plain(), wishes, helper("a:1", 1024 << 20), helper("b:2", 2048 << 20))
    assert found.path.split == "1024,2048"
    assert "asked for with -ngl 7" in found.of("workers").reason
    assert "-ngl" not in words(found, wishes), "the user's own words follow"
    assert "-ngl" not in choice.overruled(found.path, wishes)


def test_beside_a_gpu_of_this_machine_llama_cpp_shares_out() -> None:
    found = shared(plain(backend="vulkan", device="Vulkan0"), Wishes(), helper("a:1", GB))
    assert found.path.split == ""
    assert "-ngl auto -dev RPC0,Vulkan0" in words(found, Wishes())


def test_a_share_that_does_not_fit_is_refused_with_the_worker() -> None:
    estimate = Estimate(512, 512, 1, 0, 1, 1, (DeviceShare("a:1", 5 * GB, 4 * GB, 8 * GB),))
    said = rpc_split.overfull(estimate, {"a:1"})
    assert said.startswith("The worker a:1 has 4.0 GB for a share of 5.0 GB")
    assert not rpc_split.overfull(estimate._replace(devices=(DeviceShare("a:1", GB, 4 * GB, 8 * GB),)), {"a:1"})
    assert not rpc_split.overfull(estimate, {"b:1"}), "a GPU of this machine is not a worker"


def test_workers_devices_are_no_wish_for_a_gpu_of_this_machine() -> None:
    from solofile.runtime import options

    given = options.parse(["-dev", "RPC0,Vulkan0"])
    assert choice.wishes(None, None, given).device == "Vulkan0"
    assert choice.wishes(None, None, options.parse(["-dev", "RPC0"])).device is None
