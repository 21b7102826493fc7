"""The `llm` package: python with_llm.py http://127.0.0.1:8080 [chat stream tools schema embeddings cancel]

For its command line, name the server in extra-openai-models.yaml (`dirname "$(llm logs path)"` says where):

    - model_id: solofile
      model_name: any
      api_base: http://127.0.0.1:8080/v1
      supports_schema: true
      supports_tools: true
"""

import json
import os
import sys
import time

from llm import Tool
from llm.default_plugins.openai_models import Chat, OpenAIEmbeddingModel
from pydantic import BaseModel, Field

URL, *WANTED = sys.argv[1:]
KEY = os.environ.get("SOLOFILE_API_KEY", "none")
HELPER = "You are a helpful assistant."


class Server(Chat):
    """A bundle."""

    def __init__(self):
        super().__init__("solofile", model_name="any", api_base=f"{URL}/v1", supports_schema=True, supports_tools=True)
        self.key = KEY

    def get_client(self, *given, **more):
        self.client = super().get_client(*given, **more)  # to be closed, see cancel()
        return self.client


class Caller(Server):
    """A model of 135M parameters has to be made to call, and helped to the first word; a larger one needs neither."""

    def build_kwargs(self, prompt, stream):
        return {**super().build_kwargs(prompt, stream), "tool_choice": "required"}

    def build_messages(self, *given, **more):
        return [*super().build_messages(*given, **more), {"role": "assistant", "content": "<tool_call>"}]


model = Server()


def chat():
    print("chat:", model.prompt("What is the capital of France?", system=HELPER, temperature=0, stream=False).text())


def stream():
    pieces = model.prompt("What is the capital of France?", system=HELPER, temperature=0)
    print("stream:", "|".join(piece for piece in pieces if piece))


def get_weather(city: str) -> str:
    """The weather of a city"""
    return f"It is sunny in {city}."


def tools():
    answer = Caller().prompt(
        "What is the weather in Paris?",
        system=HELPER,
        tools=[Tool.function(get_weather)],
        temperature=0,
        max_tokens=100,
        stream=False,
    )
    call = answer.tool_calls()[0]
    print("tools:", call.name, json.dumps(call.arguments))


class City(BaseModel):
    name: str = Field(max_length=30)
    population: int = Field(ge=0, le=99999999)


def schema():
    answer = model.prompt("Describe Paris as JSON.", system=HELPER, schema=City, temperature=0, max_tokens=100)
    print("schema:", City.model_validate_json(answer.text()).model_dump_json())


def embeddings():
    os.environ["OPENAI_BASE_URL"] = f"{URL}/v1"
    embedder = OpenAIEmbeddingModel("solofile", "any")
    embedder.key = KEY
    print("embeddings:", *map(len, embedder.embed_multi(["a cat", "quantum field theory"])))


def cancel():
    answer = model.prompt("Write a very long story about a lighthouse.", system=HELPER, temperature=0, max_tokens=4000)
    for number, _ in enumerate(answer):
        if number == 10:
            break
    model.client.close()  # llm has no word for it. Closes the connection: the server stops and the slot is free
    begin = time.monotonic()
    model.prompt("Hello!", max_tokens=4, stream=False).text()
    print(f"cancel: the next answer came after {time.monotonic() - begin:.1f} s")


for name in WANTED or ["chat", "stream", "tools", "schema", "embeddings", "cancel"]:
    globals()[name]()
