// The chat page: talks to the server it came from and to nothing else, keeps everything in memory.

const $ = (id) => document.getElementById(id);
const chats = []; // {title, system, messages: [{role, content, thought, note}]}
let current = null;
let apiKey = "";
let answering = null; // AbortController of the answer under way
let systemPrompt = "";
let askForKey = null; // the promise of a key, while the form is shown

// --- the server ---------------------------------------------------------------------------------------------

async function call(path, options = {}) {
  for (;;) {
    const headers = { ...options.headers };
    if (apiKey) headers.Authorization = `Bearer ${apiKey}`;
    const response = await fetch(path, { ...options, headers });
    if (response.status !== 401) return response;
    await newKey();
  }
}

function newKey() {
  askForKey ??= new Promise((resolve) => {
    $("login").hidden = false;
    $("key").value = "";
    $("key").focus();
    $("login").onsubmit = (event) => {
      event.preventDefault();
      apiKey = $("key").value.trim();
      $("login").hidden = true;
      askForKey = null;
      resolve();
    };
  });
  return askForKey;
}

async function reasonOf(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The server answered ${response.status}.`;
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function waitForModel() {
  for (;;) {
    let state;
    try {
      state = await (await fetch("solofile/status", { cache: "no-store" })).json();
    } catch {
      state = { phase: "stopped", message: "The server does not answer." };
    }
    showState(state);
    if (state.phase === "ready") return;
    await pause(state.phase === "loading" ? 200 : 2000);
  }
}

function showState({ phase, progress, message, name }) {
  if (name) {
    $("title").textContent = name;
    document.title = name;
  }
  const failed = phase === "failed" || phase === "stopped";
  $("loading").hidden = phase === "ready";
  $("progress").hidden = failed;
  if (progress > 0) $("progress").value = progress;
  else $("progress").removeAttribute("value");
  $("message").textContent = message || (phase === "loading" ? "The model is being loaded." : failed ? "The model is not there." : "");
  $("message").classList.toggle("bad", failed);
}

// Server-sent events of a chat completion: yields the parsed data of each.
async function* events(body) {
  const decoder = new TextDecoder();
  let rest = "";
  for (const reader = body.getReader(); ; ) {
    const { done, value } = await reader.read();
    rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
    const lines = rest.split("\n");
    rest = done ? "" : lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data:")) continue;
      const data = line.slice(5).trim();
      if (data === "[DONE]") return;
      if (data) yield JSON.parse(data);
    }
    if (done) return;
  }
}

// --- a chat -------------------------------------------------------------------------------------------------

async function ask(text) {
  const chat = current;
  const answer = { role: "assistant", content: "", thought: "", note: "" };
  chat.title ||= text.slice(0, 60);
  chat.system = $("prompt").value;
  chat.messages.push({ role: "user", content: text }, answer);
  answering = new AbortController();
  showChats();
  showLog();
  showBusy();
  try {
    await receive(chat, answer, answering.signal);
  } catch (error) {
    answer.note = error.name === "AbortError" ? "Stopped." : String(error.message || error);
  }
  answering = null;
  showBusy();
  if (chat === current) showLog();
}

async function receive(chat, answer, signal) {
  const messages = chat.messages
    .filter((message) => message !== answer && message.content)
    .map(({ role, content }) => ({ role, content }));
  if (chat.system.trim()) messages.unshift({ role: "system", content: chat.system });
  const response = await call("v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ messages, stream: true }),
    signal,
  });
  if (!response.ok) throw new Error(await reasonOf(response));
  for await (const event of events(response.body)) {
    if (event.error) throw new Error(event.error.message);
    const { delta = {}, finish_reason: reason } = event.choices?.[0] ?? {};
    answer.content += delta.content ?? "";
    answer.thought += delta.reasoning_content ?? "";
    if (reason === "length") answer.note = "The answer was cut: no room is left.";
    if (chat === current) showLast(answer);
  }
}

// --- what is seen -------------------------------------------------------------------------------------------

function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

// Text with ``` blocks set apart; everything is text, nothing of an answer becomes markup.
function rendered(text) {
  return text.split(/^```/m).map((part, index) => {
    if (index % 2 === 0) return document.createTextNode(part);
    return element("pre", part.slice(part.indexOf("\n") + 1));
  });
}

function fill(item, message) {
  item.className = message.role;
  item.replaceChildren();
  if (message.thought) {
    const thought = element("details", "");
    thought.open = !message.content;
    thought.append(element("summary", "Thought"), message.thought);
    item.append(thought);
  }
  item.append(...rendered(message.content));
  if (message.note) item.append(element("small", (message.content ? "\n" : "") + message.note, "bad"));
  if (!item.hasChildNodes() || !item.textContent) item.append("…");
}

function atEnd() {
  const log = $("log");
  return log.scrollHeight - log.scrollTop - log.clientHeight < 60;
}

function showLog() {
  $("log").replaceChildren(
    ...current.messages.map((message) => {
      const item = document.createElement("li");
      fill(item, message);
      return item;
    }),
  );
  $("log").scrollTop = $("log").scrollHeight;
}

let frame = 0;
function showLast(message) {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    const item = $("log").lastElementChild;
    if (!item || current.messages.at(-1) !== message) return;
    const follow = atEnd();
    fill(item, message);
    if (follow) $("log").scrollTop = $("log").scrollHeight;
  });
}

function showChats() {
  $("chats").replaceChildren(
    ...chats.map((chat) => {
      const button = element("button", chat.title || "New chat");
      button.type = "button";
      if (chat === current) button.setAttribute("aria-current", "true");
      button.onclick = () => open(chat);
      return button;
    }),
  );
}

function showBusy() {
  $("send").hidden = Boolean(answering);
  $("stop").hidden = !answering;
}

function open(chat) {
  current = chat;
  $("prompt").value = chat.system;
  showChats();
  showLog();
  $("text").focus();
}

function newChat() {
  const empty = chats.find((chat) => !chat.messages.length);
  if (!empty) chats.unshift({ title: "", system: systemPrompt, messages: [] });
  open(empty ?? chats[0]);
}

function send() {
  const text = $("text").value.trim();
  if (!text || answering || $("send").disabled) return;
  $("text").value = "";
  ask(text);
}

$("ask").onsubmit = (event) => {
  event.preventDefault();
  send();
};
$("text").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send();
  }
};
$("stop").onclick = () => answering?.abort();
$("new").onclick = newChat;

await waitForModel();
const about = await call("solofile/about");
if (about.ok) systemPrompt = (await about.json()).system_prompt ?? "";
newChat();
$("text").disabled = $("send").disabled = false;
$("text").focus();
