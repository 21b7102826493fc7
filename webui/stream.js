// A streamed chat completion: server-sent events in, plain steps out.

import { errorOf, GoneError, ServerError } from "./server.js";

// Yields {content, reasoning, progress, timings, finish} until the answer ends; every field may be absent.
// `onNews` is called whenever bytes come, whatever they hold.
export async function* complete(server, body, signal, onNews) {
  const response = await server.post("v1/chat/completions", { ...body, stream: true, return_progress: true, timings_per_token: true }, { signal });
  if (!response.ok) throw await errorOf(response);
  let finished = false;
  for await (const event of events(response.body, onNews)) {
    if (event.error) throw new ServerError(event.error.code ?? 500, event.error);
    const choice = event.choices?.[0] ?? {};
    finished ||= Boolean(choice.finish_reason);
    yield {
      content: choice.delta?.content ?? "",
      reasoning: choice.delta?.reasoning_content ?? "",
      progress: event.prompt_progress,
      timings: event.timings,
      finish: choice.finish_reason,
    };
  }
  if (!finished) throw new GoneError("");
}

// The data of each event, parsed; ends at [DONE] or at the end of the body.
export async function* events(body, onNews = () => {}) {
  for await (const line of lines(body, onNews)) {
    if (!line.startsWith("data:")) continue;
    const data = line.slice(5).trim();
    if (data === "[DONE]") return;
    if (!data) continue;
    try {
      yield JSON.parse(data);
    } catch (error) {
      throw new GoneError(error);
    }
  }
}

async function* lines(body, onNews) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      onNews();
      const parts = (rest + value).split(/\r?\n/);
      rest = parts.pop();
      yield* parts;
    }
    if (rest) yield rest;
  } catch (error) {
    if (error.name === "AbortError" || error instanceof GoneError) throw error;
    throw new GoneError(error);
  } finally {
    reader.cancel().catch(() => {}); // it has ended, or nobody wants it any more
  }
}
