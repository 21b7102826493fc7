"""The shaders of ggml's Vulkan backend, compiled once for all targets: they take longer than everything else in it.

<build cache>/shaders/<key>/
    glslc        stands in for the kit's, and hands out again what that has compiled before
    include ->   the kit's headers
    spv/         what was compiled, by the names that ggml's generator gives: one name is one shader

The key stands for the kit and llama.cpp's sources, which are all that decides what a shader becomes.
"""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import replace

from solofile.builder import inputs
from solofile.builder.paths import build_cache, keep_newest, made_at, mark_used
from solofile.builder.vulkan_kit import Kit

_GLSLC = """#!/bin/sh
# Compiles a shader for one target, and copies it for the next: glslc ... -o FILE.spv ... [-MF DEPENDENCIES] ...
glslc={glslc}
kept={kept}
output= dependencies= last=
for word in "$@"; do
    case $last in
    -o) output=$word ;;
    -MF) dependencies=$word ;;
    esac
    last=$word
done
name=${{output##*/}}
case $name in
*.spv) ;;
*) exec "$glslc" "$@" ;;
esac
if [ -f "$kept/$name" ]; then
    # The sources are pinned, and those of another release have a folder of their own: there is nothing to depend on.
    if [ -n "$dependencies" ]; then printf '%s:\\n' "$output" >"$dependencies" || exit 1; fi
    exec cp "$kept/$name" "$output"
fi
"$glslc" "$@" || exit
cp "$output" "$kept/.$name.$$" && mv "$kept/.$name.$$" "$kept/$name"
"""


def sharing(kit: Kit) -> Kit:
    """The kit with a compiler that remembers, across targets, what it has compiled."""
    folder = build_cache() / "shaders" / shaders_key(kit)
    if not folder.is_dir():
        with made_at(folder) as made:
            (made / "spv").mkdir()
            (made / "include").symlink_to(kit.folder / "include")
            script = _GLSLC.format(glslc=shlex.quote(str(kit.glslc)), kept=shlex.quote(str(folder / "spv")))
            (made / "glslc").write_text(script)
            (made / "glslc").chmod(0o755)
        keep_newest(folder.parent)
    mark_used(folder)
    return replace(kit, folder=folder)


def shaders_key(kit: Kit) -> str:
    """Stands for all that decides what the shaders become, as 16 hex digits."""
    return hashlib.sha256(f"{kit.key} {kit.folder} {inputs.LLAMA.sha256} {_GLSLC}".encode()).hexdigest()[:16]
