"""Which CPU variant is chosen, for the features that real machines report."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from solofile.runtime.errors import InputError, SolofileError, UnknownName
from solofile.runtime.kernels import FLAGS, VARIANTS, choose_variant, missing, score

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


@pytest.mark.parametrize("machine", MACHINES)
def test_choice_among_all(machine: str) -> None:
    flags, wanted = MACHINES[machine]
    choice = choose_variant(frozenset(flags.split()), VARIANTS)
    assert choice.variant == wanted
    assert missing(wanted, frozenset(flags.split())) == []
    assert {name for name, _ in choice.rejected} == set(VARIANTS) - {wanted}


def test_best_of_what_the_bundle_holds() -> None:
    zen4 = frozenset(MACHINES["Zen 4"][0].split())
    choice = choose_variant(zen4, ["x64", "haswell", "sapphirerapids"])
    assert choice.variant == "haswell"
    reasons = dict(choice.rejected)
    assert reasons["sapphirerapids"] == "needs AMX_TILE, AMX_INT8, which this CPU lacks"
    assert reasons["zen4"] == "is not in this bundle"
    assert reasons["x64"] == "is slower than haswell"
    assert choice.reason == (
        "of the 3 in this bundle the fastest that this CPU can run, using SSE42, AVX, F16C, FMA, AVX2, BMI2"
    )


def test_after_a_crash_the_plainest() -> None:
    choice = choose_variant(frozenset(MACHINES["Haswell"][0].split()), ["haswell", "x64"], crash="SIGILL")
    assert choice.variant == "x64"
    assert choice.reason == "the run before ended with SIGILL, so nothing that a CPU may lack is used"
    assert dict(choice.rejected)["haswell"] == "was passed over"


def test_forced() -> None:
    features = frozenset(MACHINES["Haswell"][0].split())
    assert choose_variant(features, VARIANTS, forced="sse42").variant == "sse42"
    with pytest.raises(
        InputError, match=r"^The kernel variant zen4 needs AVX512, .* this CPU lacks: leave --kernel out"
    ):
        choose_variant(features, VARIANTS, forced="zen4")
    with pytest.raises(UnknownName, match="Unknown kernel variant haswel in this bundle: did you mean haswell"):
        choose_variant(features, VARIANTS, forced="haswel")


def test_none_runs() -> None:
    with pytest.raises(SolofileError, match=r"None of the kernels in this bundle \(haswell\) runs on this CPU"):
        choose_variant(frozenset(), ["haswell"])


@pytest.mark.usefixtures("native_dir")
def test_variants_are_ggmls() -> None:
    """The variants, what they need and how they rank, read from ggml's sources."""
    from solofile.builder import inputs

    source = inputs.llama_source() / "vendor/llama.cpp/ggml/src"
    lists = re.findall(r"ggml_add_cpu_backend_variant\((\w+) *([A-Z0-9_ ]*)\)", (source / "CMakeLists.txt").read_text())
    x86 = {name: frozenset(features.split()) for name, features in lists if set(features.split()) <= set(FLAGS)}
    theirs = {name: needs for name, needs in x86.items() if needs or name == "x64"}
    assert theirs == {name: frozenset(needs) for name, needs in VARIANTS.items()}
    assert {name: _ggml_score(source, needs) for name, needs in theirs.items()} == {n: score(n) for n in VARIANTS}


def _ggml_score(source: Path, needs: frozenset[str]) -> int:
    text = (source / "ggml-cpu/arch/x86/cpu-feats.cpp").read_text()
    blocks = re.findall(r"#ifdef GGML_(\w+)\n(.*?)#endif", text, re.DOTALL)
    shifts = {name: re.search(r"score \+= 1(?:<<(\d+))?;", block) for name, block in blocks}
    return 1 + sum(1 << int(shift[1] or 0) for name, shift in shifts.items() if shift and name in needs)
