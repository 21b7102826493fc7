// Answers under way: one for each conversation, written into its message as it comes, and kept whatever happens to it.

import { contentOf } from "./files.js";
import { requestFields } from "./parameters.js";
import { GoneError, ServerError } from "./server.js";
import { complete } from "./stream.js";

const SAVE_MS = 1000;
const STALL_MS = 10_000;

export class Answers {
  // `on.update(conversation, message)` for every piece, `on.end(conversation, message)` at the end.
  constructor(server, settings, on) {
    this.server = server;
    this.settings = settings;
    this.on = on;
    this.chats = null;
    this.running = new Map(); // by conversation: {message, controller, progress, stalled, pieces}
  }

  of(message) {
    const run = this.running.get(message.chat);
    return run?.message === message ? run : null;
  }

  stop(chat) {
    this.running.get(chat)?.controller.abort();
  }

  // Have `message` written, or gone on with when it has something already.
  async write(conversation, message) {
    const run = { message, controller: new AbortController(), progress: null, stalled: false, pieces: 0 };
    this.running.set(conversation.id, run);
    this.chats.mine.add(message.id);
    Object.assign(message, { state: "streaming", note: "" });
    this.on.update(conversation, message);
    try {
      const finish = await this.receive(conversation, run);
      message.state = finish === "length" ? "cut" : "done";
    } catch (error) {
      Object.assign(message, outcome(error));
    }
    this.running.delete(conversation.id);
    conversation.meta.updated = Date.now();
    this.on.end(conversation, message);
    await this.chats.save(conversation, [message]);
    this.chats.mine.delete(message.id);
  }

  async receive(conversation, run) {
    const { message, controller } = run;
    const before = message.stats?.tokens ?? 0;
    const watch = this.watch(conversation, run);
    let finish = null;
    let saved = performance.now();
    try {
      for await (const step of complete(this.server, this.request(conversation, message), controller.signal, watch.news)) {
        this.take(run, step, before);
        finish ??= step.finish ?? null;
        this.on.update(conversation, message);
        if (performance.now() - saved < SAVE_MS) continue;
        saved = performance.now();
        this.chats.save(conversation, [message]);
      }
    } finally {
      watch.end();
    }
    return finish;
  }

  take(run, { content, reasoning, progress, timings }, before) {
    const { message } = run;
    run.progress = content || reasoning ? null : (progress ?? run.progress);
    if (content || reasoning) run.pieces++;
    message.content += content;
    message.reasoning += reasoning;
    if (!timings) return;
    const { cache_n: cached = 0, prompt_n: prompt = 0, predicted_n: tokens = 0, predicted_per_second: speed = 0 } = timings;
    message.stats = { tokens: before + tokens, speed: speed ?? 0, prompt: cached + prompt, context: cached + prompt + tokens };
  }

  // Notices when nothing comes for long.
  watch(conversation, run) {
    let timer = 0;
    const set = (stalled) => {
      if (run.stalled === stalled) return;
      run.stalled = stalled;
      this.on.update(conversation, run.message);
    };
    const news = () => {
      clearTimeout(timer);
      set(false);
      timer = setTimeout(set, STALL_MS, true);
    };
    news();
    return { news, end: () => clearTimeout(timer) };
  }

  request(conversation, message) {
    const system = conversation.meta.system ?? this.settings.systemPrompt;
    const above = conversation.upTo(message).slice(0, -1);
    const messages = above.filter(({ role, content }) => role === "user" || content).map(({ role, ...one }) => ({ role, content: role === "user" ? contentOf(one) : one.content }));
    if (system.trim()) messages.unshift({ role: "system", content: system });
    const fields = requestFields(this.settings);
    if (!message.content && !message.reasoning) return { messages, ...fields };
    // To go on with an answer, llama.cpp wants it as the last message, and nothing behind it.
    const begun = { role: "assistant", content: message.content, ...(message.reasoning && { reasoning_content: message.reasoning }) };
    return { messages: [...messages, begun], ...fields, add_generation_prompt: false, continue_final_message: message.content ? "content" : "reasoning_content" };
  }
}

// How an answer ended that did not end well: its state, and what the server said.
function outcome(error) {
  if (error.name === "AbortError") return { state: "stopped", note: "" };
  if (error instanceof GoneError) return { state: "lost", note: "" };
  if (!(error instanceof ServerError)) throw error;
  const { n_prompt_tokens: n = 0, n_ctx: limit = 0 } = error.details;
  if (error.type === "exceed_context_size_error") return { state: "full", note: "", needed: n, limit };
  return { state: "failed", note: error.message };
}
