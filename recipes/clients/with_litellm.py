"""LiteLLM: python with_litellm.py http://127.0.0.1:8080 [chat stream tools schema embeddings cancel]"""

import json
import os
import sys
import time

# Else it fetches a list of prices when it is imported.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
import litellm
from pydantic import BaseModel, Field

litellm.telemetry = False
URL, *WANTED = sys.argv[1:]
SERVER = {"api_base": f"{URL}/v1", "api_key": os.environ.get("SOLOFILE_API_KEY", "none"), "model": "openai/any"}
ALWAYS = {**SERVER, "temperature": 0}


def question(text):
    return [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": text}]


def chat():
    answer = litellm.completion(messages=question("What is the capital of France?"), **ALWAYS)
    print("chat:", answer.choices[0].message.content)


def stream():
    pieces = litellm.completion(messages=question("What is the capital of France?"), stream=True, **ALWAYS)
    print("stream:", "|".join(piece.choices[0].delta.content for piece in pieces if piece.choices[0].delta.content))


def tools():
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    zone = {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}
    functions = [
        {"type": "function", "function": {"name": "get_time", "description": "The time in a zone", "parameters": zone}},
        {"type": "function", "function": {"name": "get_weather", "description": "The weather", "parameters": city}},
    ]
    # A model of 135M parameters has to be helped to the first word of a call; a larger one needs no third message.
    answer = litellm.completion(
        messages=[*question("What is the weather in Paris?"), {"role": "assistant", "content": "<tool_call>"}],
        tools=functions,
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        max_tokens=100,
        **ALWAYS,
    )
    call = answer.choices[0].message.tool_calls[0]
    print("tools:", call.function.name, json.dumps(json.loads(call.function.arguments)))


class City(BaseModel):
    name: str = Field(max_length=30)
    population: int = Field(ge=0, le=99999999)


def schema():
    answer = litellm.completion(
        messages=question("Describe Paris as JSON."), response_format=City, max_tokens=100, **ALWAYS
    )
    print("schema:", City.model_validate_json(answer.choices[0].message.content).model_dump_json())


def embeddings():
    found = litellm.embedding(input=["a cat", "quantum field theory"], encoding_format="float", **SERVER)
    print("embeddings:", *(len(item["embedding"]) for item in found.data))


def cancel():
    pieces = litellm.completion(
        messages=question("Write a very long story about a lighthouse."), max_tokens=4000, stream=True, **ALWAYS
    )
    for number, _ in enumerate(pieces):
        if number == 10:
            break
    pieces.completion_stream.close()  # closes the connection: the server stops computing and the slot is free
    begin = time.monotonic()
    litellm.completion(messages=question("Hello!"), max_tokens=4, **ALWAYS)
    print(f"cancel: the next answer came after {time.monotonic() - begin:.1f} s")


for name in WANTED or ["chat", "stream", "tools", "schema", "embeddings", "cancel"]:
    globals()[name]()
