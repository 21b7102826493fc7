#!/bin/sh
# curl: sh with_curl.sh http://127.0.0.1:8080 [chat stream tools schema embeddings cancel]
set -eu
url=$1
shift

ask() { # PATH JSON [OPTION]...: the answer on standard output
    path=$1 body=$2
    shift 2
    curl -sS --fail-with-body -H "Authorization: Bearer ${SOLOFILE_API_KEY:-none}" -H "Content-Type: application/json" \
        "$@" -d "$body" "$url$path"
}

helper='{"role": "system", "content": "You are a helpful assistant."}'
capital='{"role": "user", "content": "What is the capital of France?"}'

chat() {
    ask /v1/chat/completions "{\"messages\": [$helper, $capital], \"temperature\": 0}"
}

stream() { # -N: each piece is shown when it comes
    ask /v1/chat/completions "{\"messages\": [$helper, $capital], \"temperature\": 0, \"stream\": true}" -N
}

tools() {
    # A model of 135M parameters has to be helped to the first word of a call; a larger one needs no third message.
    ask /v1/chat/completions "{
        \"messages\": [$helper, {\"role\": \"user\", \"content\": \"What is the weather in Paris?\"},
                       {\"role\": \"assistant\", \"content\": \"<tool_call>\"}],"'
        "tools": [
            {"type": "function", "function": {"name": "get_time", "description": "The time in a zone", "parameters":
                {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}}},
            {"type": "function", "function": {"name": "get_weather", "description": "The weather", "parameters":
                {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "temperature": 0, "max_tokens": 100}'
}

schema() {
    ask /v1/chat/completions "{
        \"messages\": [$helper, {\"role\": \"user\", \"content\": \"Describe Paris as JSON.\"}],"'
        "response_format": {"type": "json_schema", "json_schema": {"schema": {
            "type": "object", "required": ["name", "population"],
            "properties": {"name": {"type": "string", "maxLength": 30},
                           "population": {"type": "integer", "minimum": 0, "maximum": 99999999}}}}},
        "temperature": 0, "max_tokens": 100}'
}

embeddings() {
    ask /v1/embeddings '{"input": ["a cat", "quantum field theory"]}'
}

cancel() { # curl that ends closes the connection: the server stops computing and the slot is free
    story='{"role": "user", "content": "Write a very long story about a lighthouse."}'
    ask /v1/chat/completions "{\"messages\": [$helper, $story], \"temperature\": 0, \"max_tokens\": 4000, \"stream\": true}" \
        -N 2>&1 | head -n 20 >/dev/null
    begin=$(date +%s)
    ask /v1/chat/completions "{\"messages\": [$helper], \"max_tokens\": 4}" >/dev/null
    echo "the next answer came after $(($(date +%s) - begin)) s"
}

[ $# -gt 0 ] || set -- chat stream tools schema embeddings cancel
for name in "$@"; do
    printf '%s: ' "$name"
    "$name"
    echo
done
