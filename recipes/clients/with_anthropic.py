"""The `anthropic` package: python with_anthropic.py http://127.0.0.1:8080 [chat stream tools schema cancel]

Anthropic's API has no embeddings.
"""

import json
import os
import sys
import time

from anthropic import Anthropic

URL, *WANTED = sys.argv[1:]
client = Anthropic(base_url=URL, api_key=os.environ.get("SOLOFILE_API_KEY", "none"))
ALWAYS = {"model": "any", "system": "You are a helpful assistant.", "extra_body": {"temperature": 0}}


def question(text):
    return [{"role": "user", "content": text}]


def chat():
    answer = client.messages.create(messages=question("What is the capital of France?"), max_tokens=40, **ALWAYS)
    print("chat:", answer.content[0].text)


def stream():
    with client.messages.stream(messages=question("What is the capital of France?"), max_tokens=40, **ALWAYS) as pieces:
        print("stream:", "|".join(pieces.text_stream))


def called(text, *functions):
    """The input of the last of ``functions``, which has to be called."""
    # A model of 135M parameters has to be helped to the first word of a call; a larger one needs no second message.
    begun = {"role": "assistant", "content": "<tool_call>"}
    answer = client.messages.create(
        messages=[*question(text), begun],
        tools=functions,
        tool_choice={"type": "tool", "name": functions[-1]["name"]},
        max_tokens=100,
        **ALWAYS,
    )
    return next(block for block in answer.content if block.type == "tool_use")


def tools():
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    zone = {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}
    call = called(
        "What is the weather in Paris?",
        {"name": "get_time", "description": "The time in a zone", "input_schema": zone},
        {"name": "get_weather", "description": "The weather", "input_schema": city},
    )
    print("tools:", call.name, json.dumps(call.input))


def schema():
    # What a tool is given follows its schema. (output_config is refused: llama.cpp's messages have no such format.)
    fields = {
        "name": {"type": "string", "maxLength": 30},
        "population": {"type": "integer", "minimum": 0, "maximum": 99999999},
    }
    city = {"type": "object", "properties": fields, "required": ["name", "population"]}
    call = called("Describe Paris.", {"name": "city", "description": "Facts of a city", "input_schema": city})
    print("schema:", json.dumps(call.input))


def cancel():
    with client.messages.stream(
        messages=question("Write a very long story about a lighthouse."), max_tokens=4000, **ALWAYS
    ) as pieces:
        for number, _ in enumerate(pieces.text_stream):
            if number == 10:
                break
    # The end of the block closes the connection: the server stops computing and the slot is free.
    begin = time.monotonic()
    client.messages.create(messages=question("Hello!"), max_tokens=4, **ALWAYS)
    print(f"cancel: the next answer came after {time.monotonic() - begin:.1f} s")


for name in WANTED or ["chat", "stream", "tools", "schema", "cancel"]:
    globals()[name]()
