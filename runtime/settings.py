"""What one start of a bundle is to do: the manifest's defaults, the environment and the command line, made one.

``resolve`` is the one place that decides between them: manifest < environment < command line. Of the environment it
reads ``SOLOFILE_API_KEY`` alone; nothing of llama.cpp's (``LLAMA_ARG_*``) counts in a bundle.

Here and in all that a start goes through, plain data are named tuples and not frozen dataclasses: these cost 30 ms of
imports and 1 ms a class (on a 2 GHz core) before the model even begins to load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import NamedTuple

from solofile.runtime import options
from solofile.runtime.errors import InputError, RefusedOption, UnknownName
from solofile.runtime.options import Given
from solofile.runtime.options_table import ADDING_UP

TYPE_CHECKING = False
if TYPE_CHECKING:  # the page's settings cost an import that a terminal answer need not pay
    from solofile.runtime.kernel_path import KernelPath
    from solofile.runtime.manifest import Manifest, Model
    from solofile.runtime.memory import Room
    from solofile.runtime.rpc_settings import Shared, Working
    from solofile.runtime.server_settings import ServerSettings
    from solofile.runtime.which_model import Picked

PAGE, SERVER, CHAT, PROMPT = "page", "server", "chat", "prompt"
RPC_WORKER = "rpc-worker"
HELP, VERSION, DOCTOR, BENCH, VERIFY, EXTRACT, LICENSES, CACHE_CLEAR = (
    "help", "version", "doctor", "bench", "verify", "extract", "licenses", "cache-clear"
)  # fmt: skip
SERVING = frozenset({PAGE, SERVER})
ENGINE = frozenset({PAGE, SERVER, CHAT, PROMPT, BENCH})
LASTING = SERVING | {RPC_WORKER}
"""What runs until it is told to end."""

_MODES = {
    "-h": HELP, "--version": VERSION, "--server": SERVER, "--chat": CHAT, "-p": PROMPT, "--doctor": DOCTOR,
    "--bench": BENCH, "--verify": VERIFY, "--extract": EXTRACT, "--licenses": LICENSES, "--cache-clear": CACHE_CLEAR,
    "--rpc-worker": RPC_WORKER,
}  # fmt: skip
_ONLY_USER = frozenset({*_MODES, "-m", "--use", "--host", "--path", "--api-key", "--api-key-file", "--ssl-key-file",
                        "--ssl-cert-file", "--json", "--kernel", "--no-browser",
                         "--no-auth", "--access-log", "--otlp-endpoint", "--rpc", "--rpc-secret-file",
                         "--compare", "--calibrate", "--local-copy", "--no-sandbox", "--require-signature",
                         "--public-key"})  # fmt: skip
_ADDING_UP = frozenset(ADDING_UP.split())
_ALL_MESSAGES = 5
FIRST_PORT = 8080
NO_SANDBOX = (
    "Without the sandbox (--no-sandbox), a fault in the model's file or in what reads it may read and change your "
    "files, start programs and open connections."
)
GPU_TIMEOUT = 60
IDLE_EXIT = 10.0
GIVEN_KEYS = "SOLOFILE_GIVEN_KEYS"
"""The keys that the launcher took from the command line (server_options.py)."""


class Launch(NamedTuple):
    """One start of a bundle.

    ``core`` are llama-server arguments without the model; ``log_level`` what of llama.cpp's log is printed, 0 (nothing)
    to 5 (all); ``model`` the member that holds the model, empty where no manifest was read; ``picked`` how it was
    chosen, where the bundle has several and the memory is known. ``prompt`` is what -p was
    given, ``-`` standing for standard input. ``server`` is None in modes that open no port. ``calibrate`` and
    ``local_copy`` are None where the user says nothing of them. ``gpu_timeout`` are the seconds that a GPU may take for
    one batch before it counts as hung, 0 for any. ``idle_exit`` are the minutes without an open page after which a
    start for the page ends, 0 for never; ``history``: may --chat keep what is typed? ``rpc`` are other machines that
    compute a part of the model, ``rpc_worker`` says how this one does so for another.
    """

    mode: str
    core: tuple[str, ...] = ()
    model: str = ""
    prompt: str = ""
    system_prompt: str | None = None
    extract_to: str = ""
    kernel: str | None = None
    gpu: str | None = None
    gpu_timeout: int = GPU_TIMEOUT
    calibrate: bool | None = None
    local_copy: bool | None = None
    compare: bool = False
    json: bool = False
    browser: bool = False
    idle_exit: float = IDLE_EXIT
    idle_exit_given: bool = False
    history: bool = True
    log_level: int = 0
    port: int = FIRST_PORT
    port_given: bool = False
    server: ServerSettings | None = None
    api_key_files: tuple[str, ...] = ()
    picked: Picked | None = None
    rpc: Shared | None = None
    rpc_worker: Working | None = None
    sandbox: bool = True


def mode_of(given: Iterable[Given]) -> str:
    """What the command line asks for. Raises InputError when it asks for two things."""
    asked = {_MODES[one.option.key]: one.spelling for one in given if one.option.key in _MODES}
    for first in (HELP, VERSION):
        if first in asked:
            return first
    if len(asked) > 1:
        raise InputError(f"The options {' and '.join(asked.values())} ask for different things: give one of them.")
    return next(iter(asked), PAGE)


def resolve(
    argv: Sequence[str], manifest: Manifest | None, environ: Mapping[str, str], room: Callable[[], Room] | None = None
) -> Launch:
    """Decide what to do, from the words after the program's name.

    Without a manifest (modes that must work on a damaged bundle) there are no defaults and no model. ``room`` tells the
    memory by which one of several models is chosen; without it that is the bundle's own choice. Raises InputError and
    its kinds, see ``options.parse``.
    """
    given = options.parse(argv)
    mode = mode_of(given)
    model, picked = _choose_model(given, manifest, room) if manifest else (None, None)
    merged = _merge(*_defaults(manifest, model), given)
    texts = {one.option.key: one.values[-1] for one in merged if one.values}
    flags = {one.option.key: not one.negated for one in merged if not one.values}
    keys = {one.option.key for one in merged}
    rpc, rpc_worker = _machines(texts, keys, mode, given)
    # Both signature options are the launcher's: what they ask for is proven when the runtime starts.
    _only_with("--public-key", keys, mode, VERIFY)
    return Launch(
        mode=mode,
        core=tuple(word for one in merged if one.option.place == options.CORE for word in one.words()),
        model=model.path if model else "",
        picked=picked,
        prompt=texts.get("-p", ""),
        system_prompt=texts.get("-sys", _system_prompt(manifest, model)),
        extract_to=texts.get("--extract", ""),
        kernel=texts.get("--kernel"),
        gpu=texts.get("--gpu"),
        gpu_timeout=int(texts.get("--gpu-timeout", GPU_TIMEOUT)),
        calibrate=flags.get("--calibrate"),
        local_copy=flags.get("--local-copy"),
        compare=_only_with("--compare", keys, mode, BENCH),
        json=_only_with("--json", keys, mode, DOCTOR, BENCH),
        idle_exit=_idle_exit(texts, given, mode),
        idle_exit_given=_gives(given, "--idle-exit"),
        history=flags.get("--history", True),
        browser=mode == PAGE and "--no-browser" not in keys,
        log_level=_ALL_MESSAGES if "-v" in keys else int(texts.get("-lv", 0)),
        port=_port(texts),
        port_given=_gives(given, "--port"),
        server=_server(merged, environ, mode),
        sandbox=_sandbox(keys),
        api_key_files=tuple(one.values[0] for one in merged if one.option.key == "--api-key-file"),
        rpc=rpc,
        rpc_worker=rpc_worker,
    )


def _machines(
    texts: Mapping[str, str], keys: set[str], mode: str, given: Sequence[Given]
) -> tuple[Shared | None, Working | None]:
    """What is said of other machines: those that compute for this one, and how this one computes for others."""
    if mode != RPC_WORKER and not {"--rpc", "--rpc-secret-file"} & keys:
        return None, None
    from solofile.runtime import rpc_settings, server_options

    secret_file = texts.get("--rpc-secret-file", "")
    if mode == RPC_WORKER and "--rpc" not in keys:
        hosts = tuple(server_options.listed(texts.get("--host", ""))) or rpc_settings.LOOPBACK[:1]
        port = _port(texts) if _gives(given, "--port") else rpc_settings.PORT
        return None, rpc_settings.Working(hosts, port, secret_file, "--no-auth" in keys)
    if "--rpc" not in keys:
        raise InputError("The option --rpc-secret-file goes with --rpc or --rpc-worker: give both or neither.")
    if mode not in ENGINE | {DOCTOR} or "--compare" in keys:
        other = "compare" if "--compare" in keys else mode
        raise InputError(f"--rpc does not go with --{other}: leave one of them out.")
    return rpc_settings.Shared(rpc_settings.endpoints(texts["--rpc"]), secret_file), None


def _defaults(manifest: Manifest | None, model: Model | None) -> tuple[tuple[Given, ...], ...]:
    """The default arguments of the bundle and of its model; what only a user may decide is refused there."""
    found = tuple(options.parse(one.arguments) for one in (manifest, model) if one is not None)
    for one in (one for given in found for one in given):
        if one.option.key in _ONLY_USER:
            raise RefusedOption(
                f"The default arguments of this bundle hold {one.spelling}, which only the user can give: "
                "rebuild the bundle without it."
            )
    return found


def _system_prompt(manifest: Manifest | None, model: Model | None) -> str | None:
    own = model.system_prompt if model else None
    return own or (manifest.system_prompt if manifest else None)


def _merge(*sources: Sequence[Given]) -> list[Given]:
    """All options in order; one that was given twice counts where it stands last, unless such options add up."""
    merged: dict[object, Given] = {}
    for number, one in enumerate(one for source in sources for one in source):
        key: object = number if one.option.key in _ADDING_UP else one.option.key
        merged.pop(key, None)
        merged[key] = one
    return list(merged.values())


def _choose_model(
    given: Sequence[Given], manifest: Manifest, room: Callable[[], Room] | None
) -> tuple[Model, Picked | None]:
    """The model that --use or -m names, else the one that fits best; and how it was chosen, where there are several."""
    texts = {one.option.key: one.values[-1] for one in given if one.values}
    name = texts.get("--use", texts.get("-m"))
    named = _named(name, manifest) if name is not None else None
    if room is None or len(manifest.models) < 2:
        return named or next(model for model in manifest.models if model.path == manifest.default_model), None
    from solofile.runtime import which_model

    def asked(model: Model) -> int:
        every = _merge(*_defaults(manifest, model), given)
        return next((int(one.values[0]) for one in every if one.option.key == "-c"), 0)

    picked = which_model.pick(manifest, asked, room(), named)
    return picked.model, picked


def _named(name: str, manifest: Manifest) -> Model:
    """The model of the bundle of that name or path. Raises UnknownName with the nearest, RefusedOption for a file."""
    models = manifest.models
    for model in models:
        if name in (model.name, model.path, model.path.rpartition("/")[2]):
            return model
    if "/" in name or "\\" in name or name.endswith(".gguf"):
        raise RefusedOption(
            f"A bundle runs the models inside it, not {name}: leave it out, or make a bundle of that file with "
            "`solofile build`."
        )
    raise UnknownName("model", name, [model.name for model in models], where="this bundle")


def _sandbox(keys: set[str]) -> bool:
    if "--video-ffmpeg-dir" in keys and "--no-sandbox" not in keys:
        raise InputError(
            "--video-ffmpeg-dir has llama.cpp start ffmpeg, which the sandbox does not allow: "
            "give --no-sandbox as well, or leave it out."
        )
    return "--no-sandbox" not in keys


def _only_with(spelling: str, keys: set[str], mode: str, *wanted: str) -> bool:
    if spelling in keys and mode not in wanted:
        modes = " or ".join(f"--{name}" for name in wanted)
        raise InputError(f"The option {spelling} goes with {modes}: give both or neither.")
    return spelling in keys


def _gives(given: Sequence[Given], key: str) -> bool:
    """Does the user, and not only the bundle, give this option?"""
    return any(one.option.key == key for one in given)


def _idle_exit(texts: Mapping[str, str], given: Sequence[Given], mode: str) -> float:
    minutes = float(texts.get("--idle-exit", IDLE_EXIT))
    if minutes < 0:
        raise InputError(f"--idle-exit {minutes:g} cannot be: give it minutes, or 0 for never.")
    if _gives(given, "--idle-exit") and mode != PAGE:
        raise InputError(f"The option --idle-exit is for the page and not for --{mode}: leave it out.")
    return minutes


def _port(texts: Mapping[str, str]) -> int:
    port = int(texts.get("--port", FIRST_PORT))
    if not 0 <= port <= 65_535:
        raise InputError(f"There is no port {port}: give --port a number from 0 (any free one) to 65535.")
    return port


def _server(merged: Sequence[Given], environ: Mapping[str, str], mode: str) -> ServerSettings | None:
    if mode not in SERVING:
        return None
    from solofile.runtime import server_options

    return server_options.settings(merged, environ, page=mode == PAGE)


def shortfall(lacks: Sequence[str]) -> str:
    """What is said of a sandbox for which a system lacks something; empty where it lacks nothing."""
    return f"The sandbox is not complete: {'; '.join(lacks)}." if lacks else ""


def given(launch: Launch) -> tuple[Given, ...]:
    """The options of llama.cpp that the user and the bundle's default arguments give."""
    return options.parse(launch.core)


def core_without(launch: Launch, keys: Set[str]) -> tuple[str, ...]:
    """The words of these options, without those called ``keys``."""
    return tuple(word for one in given(launch) if one.option.key not in keys for word in one.words())


def core_arguments(launch: Launch, manifest: Manifest, path: KernelPath, memory: int | None) -> tuple[str, ...]:
    """Our defaults for this mode and model, which stand before the user's options, so that those win.

    Without ``--alias`` the API would name the model by the path inside the bundle. One answer needs no empty run to
    warm up: its own prompt reads the same weights. ``memory`` are the bytes that can be had; where the model fits into
    them for sure, llama.cpp need not load it a first time to find that out, a third of a small model's start.
    """
    options_given = {one.option.key: one.values for one in given(launch)}
    model = next(model for model in manifest.models if model.path == launch.model)
    context = int(options_given["-c"][0]) if "-c" in options_given else 0
    defaults: list[str] = ["-c", str(path.context)] if path.context and not context else []
    if "-a" not in options_given:
        defaults += ["--alias", manifest.name if len(manifest.models) == 1 else model.name]
    if launch.mode == PROMPT and "--warmup" not in options_given:
        defaults += ["--no-warmup"]
    fits = path.context or fits_easily(model, context, memory)
    if launch.mode in SERVING and "--metrics" not in options_given:
        defaults += ["--metrics"]  # /metrics passes them on
    if "-fit" not in options_given and path.gpu_layers != "auto" and fits:
        defaults += ["--fit", "off"]
    return tuple(defaults)


def fits_easily(model: Model, context: int, memory: int | None) -> bool:
    """Do the weights and the longest context take less than half of ``memory``, whatever the model's shape?

    ``context`` in tokens, 0 for the model's own. A token takes 4 bytes a layer and unit of width at most (keys and
    values of 16 bits), and a layer has more than 8 width² weights; so with a width of 256 or more a token takes less
    than one byte for 512 weights, several times less where heads are shared.
    """
    tokens = context or model.context_length
    if memory is None or not tokens:
        return False
    return model.size + tokens * model.parameters // 512 < memory // 2


def has_template(launch: Launch, manifest: Manifest) -> bool:
    """Can the model chat? It brings a template, or the user gave one."""
    given = {one.option.key for one in options.parse(launch.core)}
    model = next(model for model in manifest.models if model.path == launch.model)
    return model.chat_template or bool({"--chat-template", "--chat-template-file"} & given)
