"""The commands and options that work on a model before it is built into anything."""

from __future__ import annotations

import argparse
from dataclasses import replace

from solofile.builder.build import BuildRequest
from solofile.builder.converting import convert as convert_folder
from solofile.builder.converting import is_convertible
from solofile.builder.errors import BadInput, BadModel
from solofile.builder.gguf_check import ModelFacts, check_model
from solofile.builder.inspect import count
from solofile.builder.metadata_edits import Edit, checked, parse_edit
from solofile.builder.output import check_output
from solofile.builder.progress import Progress, byte_size
from solofile.builder.quantize_names import find_quantization


def convert(arguments: argparse.Namespace) -> int:
    """``solofile convert``."""
    folder = arguments.folder.absolute()
    if not is_convertible(folder):
        what = "a config.json and safetensors, as Hugging Face has them"
        raise BadModel(f"{arguments.folder} is no folder with {what}: name one.")
    output = arguments.output or folder.with_name(f"{folder.name}.gguf").relative_to(folder.parent)
    check_output(output, force=arguments.force)
    convert_folder(folder, output, arguments.outtype, Progress)
    print(f"{output}: {described(check_model(output))}")
    return 0


def described(facts: ModelFacts) -> str:
    """One line on a model."""
    what = f"{facts.architecture}, {count(facts.parameters)} parameters, {facts.quantization}"
    return f"{what}, {byte_size(facts.size)}"


def with_model_work(request: BuildRequest, arguments: argparse.Namespace) -> BuildRequest:
    """``request`` with what the command line says is to be done to the model. Raises BadInput, UnknownName."""
    edits = [*map(parse_edit, arguments.metadata), *(Edit(checked(key), None) for key in arguments.remove_metadata)]
    quantize = find_quantization(arguments.quantize) if arguments.quantize else request.quantize
    request = replace(
        request,
        quantize=quantize,
        imatrix=arguments.imatrix or request.imatrix,
        allow_requantize=arguments.allow_requantize or request.allow_requantize,
        metadata=(*request.metadata, *edits),
    )
    for option, value in (("--imatrix", request.imatrix), ("--allow-requantize", request.allow_requantize)):
        if value and not request.quantize:
            raise BadInput(f"{option} goes with --quantize: say to what the model is to be quantized.")
    return request


def refuse_model_work(arguments: argparse.Namespace) -> None:
    """A bundle's models are taken over as they are. Raises BadInput."""
    given = {
        "--quantize": arguments.quantize,
        "--imatrix": arguments.imatrix,
        "--metadata": arguments.metadata,
        "--remove-metadata": arguments.remove_metadata,
    }
    for option, value in given.items():
        if value:
            raise BadInput(
                f"{option} does not go with --from, which takes the models as they are: name the bundle as the model, "
                f"solofile build {arguments.old} -o NEW.exe {option} …"
            )
