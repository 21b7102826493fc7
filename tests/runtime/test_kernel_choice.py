"""Which CPU variant is chosen, for the features that real machines report."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from solofile.builder import inputs, paths
from solofile.runtime import choose_cpu, kernels
from solofile.runtime.errors import InputError, SolofileError, UnknownName
from solofile.runtime.hardware import Hardware
from solofile.runtime.kernel_path import Decision, Known, Offer, Wishes
from solofile.runtime.kernels import ARM_LINUX, ARM_MACOS, ARM_WINDOWS, X86, missing, score

BASE = "fpu sse sse2 cx16 lahf_lm syscall nx"
SSE42 = f"{BASE} pni ssse3 sse4_1 sse4_2 popcnt"
AVX = f"{SSE42} pclmulqdq aes xsave avx"
AVX2 = f"{AVX} f16c rdrand fma movbe bmi1 avx2 bmi2 abm"
AVX512 = f"{AVX2} avx512f avx512dq avx512cd avx512bw avx512vl"
ICE = f"{AVX512} avx512vbmi avx512_vbmi2 avx512_vnni avx512_bitalg avx512ifma"

# What /proc/cpuinfo lists on such a CPU, cut down to what could matter here.
MACHINES = {
    "Core 2": (f"{BASE} pni ssse3", "x64"),
    "Nehalem": (SSE42, "sse42"),
    "Sandy Bridge": (AVX, "sandybridge"),
    "Ivy Bridge": (f"{AVX} f16c rdrand", "ivybridge"),
    "Piledriver": (f"{AVX} f16c fma fma4 tbm xop bmi1", "piledriver"),
    "Haswell": (AVX2, "haswell"),
    "Zen 1 to 3": (f"{AVX2} sse4a misalignsse clzero sha_ni", "haswell"),
    "Skylake-X": (AVX512, "skylakex"),
    "Cannon Lake": (f"{AVX512} avx512vbmi avx512ifma", "cannonlake"),
    "Cascade Lake": (f"{AVX512} avx512_vnni", "cascadelake"),
    "Cooper Lake": (f"{AVX512} avx512_vnni avx512_bf16", "cooperlake"),
    "Ice Lake": (ICE, "icelake"),
    "Alder Lake": (f"{AVX2} avx_vnni vaes", "alderlake"),
    "Zen 4": (f"{ICE} avx512_bf16 sse4a", "zen4"),
    "Sapphire Rapids": (f"{ICE} avx512_bf16 avx_vnni avx512_fp16 amx_bf16 amx_tile amx_int8", "sapphirerapids"),
    "Sapphire Rapids, AMX off": (f"{ICE} avx512_bf16 avx_vnni avx512_fp16", "zen4"),
    "AVX masked by the hypervisor": (SSE42 + " bmi1 bmi2", "sse42"),
    "Nothing known": ("", "x64"),
}


def choose(
    features: Iterable[str], held: Iterable[str], forced: str | None = None, crash: str | None = None
) -> Decision:
    """The decision on a CPU with these features and a bundle that holds these variants."""
    machine = Hardware("linux-x86_64", features=frozenset(features))
    return choose_cpu.variant(machine, Offer(tuple(held)), Wishes(kernel=forced), Known(crash=crash))


@pytest.mark.parametrize("machine", MACHINES)
def test_choice_among_all(machine: str) -> None:
    flags, wanted = MACHINES[machine]
    choice = choose(frozenset(flags.split()), X86)
    assert choice.value == wanted
    assert missing(wanted, frozenset(flags.split())) == []
    assert {name for name, _ in choice.losers} == set(X86) - {wanted}


def test_best_of_what_the_bundle_holds() -> None:
    zen4 = frozenset(MACHINES["Zen 4"][0].split())
    choice = choose(zen4, ["x64", "haswell", "sapphirerapids"])
    assert choice.value == "haswell"
    reasons = dict(choice.losers)
    assert reasons["sapphirerapids"] == "needs AMX_TILE, AMX_INT8, which this CPU lacks"
    assert reasons["zen4"] == "is not in this bundle: build it with --kernels all"
    assert reasons["x64"] == "is slower than haswell"
    assert choice.reason == "the fastest of the 3 in this bundle for this CPU, using AVX2"


def test_after_a_crash_the_plainest() -> None:
    choice = choose(frozenset(MACHINES["Haswell"][0].split()), ["haswell", "x64"], crash="SIGABRT")
    assert choice.value == "x64"
    assert choice.reason == "the run before ended with SIGABRT, so nothing that a CPU may lack is used"
    assert dict(choice.losers)["haswell"] == "was passed over: --kernel haswell uses it"


def test_forced() -> None:
    features = frozenset(MACHINES["Haswell"][0].split())
    assert choose(features, X86, forced="sse42").value == "sse42"
    with pytest.raises(
        InputError, match=r"^The kernel variant zen4 needs AVX512, .* this CPU lacks: leave --kernel out"
    ):
        choose(features, X86, forced="zen4")
    with pytest.raises(UnknownName, match="Unknown kernel variant haswel in this bundle: did you mean haswell"):
        choose(features, X86, forced="haswel")


def test_none_runs() -> None:
    with pytest.raises(SolofileError, match=r"None of the kernels in this bundle \(haswell\) runs on this CPU"):
        choose(frozenset(), ["haswell"])


ARM = {
    "Cortex-A72": ("fp asimd evtstrm aes crc32 cpuid", ARM_LINUX, "armv8.0_1"),
    "Neoverse N1": ("fp asimd fphp asimdhp asimddp atomics", ARM_LINUX, "armv8.2_2"),
    "A64FX": ("fp asimd fphp asimdhp asimddp sve", ARM_LINUX, "armv8.2_3"),
    "Neoverse V1": ("fp asimd fphp asimdhp asimddp sve i8mm bf16", ARM_LINUX, "armv8.6_1"),
    "Neoverse V2": ("fp asimd fphp asimdhp asimddp sve i8mm bf16 sve2", ARM_LINUX, "armv8.6_2"),
    "i8mm without SVE": ("fp asimd fphp asimdhp asimddp i8mm", ARM_LINUX, "armv8.2_2"),
    "M1": ("asimd fphp asimdhp asimddp", ARM_MACOS, "apple_m1"),
    "M2": ("asimd fphp asimdhp asimddp i8mm bf16", ARM_MACOS, "apple_m2_m3"),
    "M4": ("asimd fphp asimdhp asimddp i8mm bf16 sme", ARM_MACOS, "apple_m4"),
    "Snapdragon 835": ("asimd aes crc32", ARM_WINDOWS, "windows_armv8.0_1"),
    "Snapdragon 8cx": ("asimd aes crc32 atomics asimddp", ARM_WINDOWS, "windows_armv8.2_1"),
    "Snapdragon X": ("asimd aes crc32 atomics asimddp i8mm bf16", ARM_WINDOWS, "windows_armv8.6_1"),
}


@pytest.mark.parametrize("machine", ARM)
def test_choice_on_arm(machine: str) -> None:
    flags, table, wanted = ARM[machine]
    choice = choose(frozenset(flags.split()), table)
    assert choice.value == wanted
    assert {name for name, _ in choice.losers} == set(table) - {wanted}


@pytest.fixture(scope="module")
def ggml() -> Path:
    """ggml's sources."""
    source = paths.build_cache() / "sources" / inputs.LLAMA.stem / "vendor/llama.cpp/ggml/src"
    if not source.is_dir():
        pytest.skip("the sources of llama.cpp are not in the build cache: `solofile native build` fetches them")
    return source


def test_variants_are_ggmls(ggml: Path) -> None:
    """The variants and what they need, read from ggml's build description."""
    text = (ggml / "CMakeLists.txt").read_text()
    lines = re.findall(r"ggml_add_cpu_backend_variant\(([\w.]+) *([A-Z0-9_ ]*)\)", text)
    found = {name: tuple(needs.split()) for name, needs in lines}
    elsewhere = ("android_", "power", "z1", "riscv64_")
    upstream = {name: needs for name, needs in kernels.VARIANTS.items() if name not in ARM_WINDOWS}
    assert {name: needs for name, needs in found.items() if not name.startswith(elsewhere)} == upstream


def test_the_variants_of_windows_on_arm() -> None:
    """ggml has none: those that are built."""
    text = (Path(kernels.__file__).parent / "native/windows-arm/project.cmake").read_text()
    lines = re.findall(r"ggml_add_cpu_backend_variant\(([\w.]+) *([A-Z0-9_ ]*)\)", text)
    assert {name: tuple(needs.split()) for name, needs in lines} == ARM_WINDOWS


def test_scores_are_ggmls(ggml: Path) -> None:
    assert scores(ggml, "x86", "GGML_", X86) == {name: score(name) for name in X86}
    arm = ARM_LINUX | ARM_MACOS | ARM_WINDOWS
    assert scores(ggml, "arm", "GGML_USE_", arm) == {name: score(name) for name in arm}


def scores(ggml: Path, arch: str, prefix: str, table: dict[str, tuple[str, ...]]) -> dict[str, int]:
    """What cpu-feats.cpp adds up for each variant."""
    text = (ggml / f"ggml-cpu/arch/{arch}/cpu-feats.cpp").read_text()
    blocks = re.findall(rf"#ifdef {prefix}(\w+)\n(.*?)#endif", text, re.DOTALL)
    shifts = {name: re.search(r"score \+= 1(?:<<(\d+))?;", block) for name, block in blocks}
    points = {name: 1 << int(shift[1] or 0) for name, shift in shifts.items() if shift}
    return {name: 1 + sum(points.get(need, 0) for need in needs) for name, needs in table.items()}


def test_every_feature_is_known(ggml: Path) -> None:
    """Each feature that a variant needs has its flags, and ggml looks at no more than those."""
    needed = {need for table in kernels.FAMILIES for needs in table.values() for need in needs}
    assert needed == set(kernels.FLAGS)
    checks = re.findall(r"if \(!is\.(\w+)\(\)\)", (ggml / "ggml-cpu/arch/x86/cpu-feats.cpp").read_text())
    flags = {flag.replace("_", "") for flags in kernels.FLAGS.values() for flag in flags}
    spelled = {check.lower().replace("_", "") for check in checks}
    assert spelled - flags == set()
