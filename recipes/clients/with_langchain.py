"""LangChain: python with_langchain.py http://127.0.0.1:8080 [chat stream tools schema embeddings cancel]"""

import json
import os
import sys
import time

from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field

URL, *WANTED = sys.argv[1:]
SERVER = {"base_url": f"{URL}/v1", "api_key": os.environ.get("SOLOFILE_API_KEY", "none"), "model": "any"}
model = ChatOpenAI(**SERVER, temperature=0, max_tokens=100)


def question(text):
    return [("system", "You are a helpful assistant."), ("human", text)]


def chat():
    print("chat:", model.invoke(question("What is the capital of France?")).content)


def stream():
    pieces = model.stream(question("What is the capital of France?"))
    print("stream:", "|".join(piece.content for piece in pieces if piece.content))


@tool
def get_weather(city: str) -> str:
    """The weather of a city"""
    return f"It is sunny in {city}."


@tool
def get_time(zone: str) -> str:
    """The time in a zone"""
    return f"It is noon in {zone}."


def tools():
    able = model.bind_tools([get_time, get_weather], tool_choice="get_weather")
    # A model of 135M parameters has to be helped to the first word of a call; a larger one needs no third message.
    answer = able.invoke([*question("What is the weather in Paris?"), AIMessage("<tool_call>")])
    call = answer.tool_calls[0]
    print("tools:", call["name"], json.dumps(call["args"]))


class City(BaseModel):
    name: str = Field(max_length=30)
    population: int = Field(ge=0, le=99999999)


def schema():
    found = model.with_structured_output(City, method="json_schema").invoke(question("Describe Paris as JSON."))
    print("schema:", found.model_dump_json())


def embeddings():
    # Without check_embedding_ctx_length=False it would fetch OpenAI's tokenizer, and send the tokens of that.
    embedder = OpenAIEmbeddings(**SERVER, check_embedding_ctx_length=False)
    print("embeddings:", *map(len, embedder.embed_documents(["a cat", "quantum field theory"])))


def cancel():
    pieces = model.stream(question("Write a very long story about a lighthouse."), max_tokens=4000)
    for number, _ in enumerate(pieces):
        if number == 10:
            break
    pieces.close()  # closes the connection: the server stops computing and the slot is free
    begin = time.monotonic()
    model.invoke(question("Hello!"), max_tokens=4)
    print(f"cancel: the next answer came after {time.monotonic() - begin:.1f} s")


for name in WANTED or ["chat", "stream", "tools", "schema", "embeddings", "cancel"]:
    globals()[name]()
