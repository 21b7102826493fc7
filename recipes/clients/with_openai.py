"""The `openai` package: python with_openai.py http://127.0.0.1:8080 [chat stream tools schema embeddings cancel]"""

import json
import os
import sys
import time

from openai import OpenAI
from pydantic import BaseModel, Field

URL, *WANTED = sys.argv[1:]
client = OpenAI(base_url=f"{URL}/v1", api_key=os.environ.get("SOLOFILE_API_KEY", "none"))
MODEL = client.models.list().data[0].id  # any name is taken by a bundle of one model
HELPER = {"role": "system", "content": "You are a helpful assistant."}


def question(text):
    return [HELPER, {"role": "user", "content": text}]


def chat():
    answer = client.chat.completions.create(
        model=MODEL, messages=question("What is the capital of France?"), temperature=0
    )
    print("chat:", answer.choices[0].message.content)


def stream():
    pieces = client.chat.completions.create(
        model=MODEL, messages=question("What is the capital of France?"), temperature=0, stream=True
    )
    words = [piece.choices[0].delta.content for piece in pieces if piece.choices and piece.choices[0].delta.content]
    print("stream:", "|".join(words))


def tools():
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    zone = {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}
    functions = [
        {"type": "function", "function": {"name": "get_time", "description": "The time in a zone", "parameters": zone}},
        {"type": "function", "function": {"name": "get_weather", "description": "The weather", "parameters": city}},
    ]
    # A model of 135M parameters has to be helped to the first word of a call; a larger one needs no second message.
    begun = {"role": "assistant", "content": "<tool_call>"}
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[*question("What is the weather in Paris?"), begun],
        tools=functions,
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        temperature=0,
        max_tokens=100,
    )
    call = answer.choices[0].message.tool_calls[0]
    print("tools:", call.function.name, json.dumps(json.loads(call.function.arguments)))


class City(BaseModel):
    name: str = Field(max_length=30)
    population: int = Field(ge=0, le=99999999)


def schema():
    answer = client.chat.completions.parse(
        model=MODEL, messages=question("Describe Paris as JSON."), response_format=City, temperature=0, max_tokens=100
    )
    print("schema:", answer.choices[0].message.parsed.model_dump_json())
    answer = client.responses.parse(
        model=MODEL, input="Describe Rome as JSON.", text_format=City, temperature=0, max_output_tokens=100
    )
    print("schema:", answer.output_parsed.model_dump_json())


def embeddings():
    found = client.embeddings.create(model=MODEL, input=["a cat", "quantum field theory"])
    print("embeddings:", *(len(item.embedding) for item in found.data))


def cancel():
    pieces = client.chat.completions.create(
        model=MODEL,
        messages=question("Write a very long story about a lighthouse."),
        temperature=0,
        max_tokens=4000,
        stream=True,
    )
    for number, _ in enumerate(pieces):
        if number == 10:
            break
    pieces.close()  # closes the connection: the server stops computing and the slot is free
    begin = time.monotonic()
    client.chat.completions.create(model=MODEL, messages=question("Hello!"), max_tokens=4)
    print(f"cancel: the next answer came after {time.monotonic() - begin:.1f} s")


for name in WANTED or ["chat", "stream", "tools", "schema", "embeddings", "cancel"]:
    globals()[name]()
