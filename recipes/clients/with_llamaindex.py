"""LlamaIndex: python with_llamaindex.py http://127.0.0.1:8080 [chat stream tools schema embeddings cancel]"""

import json
import os
import sys
import time

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel, Field

URL, *WANTED = sys.argv[1:]
KEY = os.environ.get("SOLOFILE_API_KEY", "none")
model = OpenAILike(
    model="any",
    api_base=f"{URL}/v1",
    api_key=KEY,
    context_window=8192,
    is_chat_model=True,
    is_function_calling_model=True,
    should_use_structured_outputs=True,
    temperature=0,
    max_tokens=100,
)


def question(text):
    return [ChatMessage("You are a helpful assistant.", role="system"), ChatMessage(text, role="user")]


def chat():
    print("chat:", model.chat(question("What is the capital of France?")).message.content)


def stream():
    pieces = model.stream_chat(question("What is the capital of France?"))
    print("stream:", "|".join(piece.delta for piece in pieces if piece.delta))


def get_weather(city: str) -> str:
    """The weather of a city"""
    return f"It is sunny in {city}."


def get_time(zone: str) -> str:
    """The time in a zone"""
    return f"It is noon in {zone}."


def tools():
    able = [FunctionTool.from_defaults(function) for function in (get_time, get_weather)]
    # A model of 135M parameters has to be helped to the first word of a call; a larger one needs no third message.
    begun = ChatMessage("<tool_call>", role="assistant")
    answer = model.chat_with_tools(
        able, chat_history=[*question("What is the weather in Paris?"), begun], tool_choice="get_weather"
    )
    call = model.get_tool_calls_from_response(answer)[0]
    print("tools:", call.tool_name, json.dumps(call.tool_kwargs))


class City(BaseModel):
    name: str = Field(max_length=30)
    population: int = Field(ge=0, le=99999999)


def schema():
    found = model.as_structured_llm(City).chat(question("Describe Paris as JSON."))
    print("schema:", found.raw.model_dump_json())


def embeddings():
    embedder = OpenAILikeEmbedding(model_name="any", api_base=f"{URL}/v1", api_key=KEY)
    print("embeddings:", *map(len, embedder.get_text_embedding_batch(["a cat", "quantum field theory"])))


def cancel():
    pieces = model.stream_chat(question("Write a very long story about a lighthouse."), max_tokens=4000)
    for number, _ in enumerate(pieces):
        if number == 10:
            break
    pieces.close()  # closes the connection: the server stops computing and the slot is free
    begin = time.monotonic()
    model.chat(question("Hello!"), max_tokens=4)
    print(f"cancel: the next answer came after {time.monotonic() - begin:.1f} s")


for name in WANTED or ["chat", "stream", "tools", "schema", "embeddings", "cancel"]:
    globals()[name]()
