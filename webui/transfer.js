// Conversations as files, and back: JSON holds everything, Markdown what was shown.

import { Conversation, newId, titleOf } from "./conversation.js";

const FORMAT = "solofile-chats";
const MARK = /^<!-- solofile:(title|system|user|assistant) ?(.*) -->$/;
const ROLES = new Set(["user", "assistant"]);

export class FormatError extends Error {}

export function toJson(conversations) {
  const chats = conversations.map(({ meta, messages }) => ({ ...meta, messages: [...messages.values()] }));
  return JSON.stringify({ format: FORMAT, version: 1, chats }, null, 1);
}

// The shown branch. Comments, which a reader of markdown does not show, say where a message begins.
export function toMarkdown(conversation, words) {
  const { meta } = conversation;
  const parts = [`<!-- solofile:title ${meta.title.replace(/--+>?/g, "–")} -->`, `# ${meta.title}`];
  if (meta.system) parts.push("<!-- solofile:system -->", escaped(meta.system));
  for (const { role, content, files } of conversation.path()) {
    const names = files.map(({ name }) => `*${name}*\n\n`).join("");
    parts.push(`<!-- solofile:${role} -->`, `**${words[role]}**`, names + escaped(content));
  }
  return `${parts.join("\n\n")}\n`;
}

const escaped = (text) => text.replace(/^(\\*)<!-- solofile:/gm, "\\$1<!-- solofile:");
const unescaped = (text) => text.replace(/^\\(\\*<!-- solofile:)/gm, "$1");

// The conversations in the text of a file; `FormatError` where there are none. They get new ids.
export function fromText(text) {
  const found = /^\s*\{/.test(text) ? fromJson(text) : [fromMarkdown(text)];
  if (!found.length) throw new FormatError();
  return found;
}

function fromJson(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new FormatError();
  }
  if (value.format !== FORMAT || !Array.isArray(value.chats)) throw new FormatError();
  return value.chats.filter((chat) => typeof chat === "object" && chat).map(conversationOf);
}

const string = (value) => (typeof value === "string" ? value : "");
const time = (value) => (Number.isFinite(value) && value > 0 && value < 8e15 ? value : Date.now());

function conversationOf(chat) {
  const list = Array.isArray(chat.messages) ? chat.messages.filter((one) => ROLES.has(one?.role)) : [];
  const ids = new Map(list.map((one) => [one.id, newId()]));
  const made = Conversation.empty(typeof chat.system === "string" ? chat.system : null);
  Object.assign(made.meta, { title: string(chat.title).slice(0, 200), pinned: chat.pinned === true, created: time(chat.created), updated: time(chat.updated) });
  for (const one of list.sort((a, b) => time(a.created) - time(b.created))) made.insert(messageOf(one, made.id, ids));
  for (const [parent, child] of Object.entries(chat.chosen ?? {})) if (ids.has(child)) made.meta.chosen[ids.get(parent) ?? ""] = ids.get(child);
  return made;
}

function messageOf(one, chat, ids) {
  const files = (Array.isArray(one.files) ? one.files : []).filter((file) => ["text", "image", "audio"].includes(file?.kind));
  return {
    id: ids.get(one.id), chat, parent: ids.get(one.parent) ?? "", role: one.role, content: string(one.content), reasoning: string(one.reasoning),
    files: files.map(fileOf), state: one.state === "done" ? "done" : "stopped", note: "", stats: statsOf(one.stats), created: time(one.created),
  };
}

const fileOf = ({ kind, name, text, data, tokens, size }) => ({
  kind, name: string(name), text: string(text), data: /^data:(image|audio)\//.test(data) ? data : "", tokens: Number(tokens) || 0, size: Number(size) || 0,
});

function statsOf(stats) {
  if (typeof stats !== "object" || stats === null) return null;
  return Object.fromEntries(["tokens", "speed", "prompt", "context"].map((name) => [name, Number(stats[name]) || 0]));
}

function fromMarkdown(text) {
  const made = Conversation.empty();
  let parent = "";
  let current = null;
  const close = () => {
    if (!current) return;
    const content = unescaped(current.lines.join("\n").trim());
    if (current.role === "system") made.meta.system = content;
    else parent = made.add(parent, current.role, { content: content.replace(/^\*\*[^*\n]+\*\*\n\n/, "") }).id;
  };
  for (const line of text.split(/\r?\n/)) {
    const [, role, title] = MARK.exec(line) ?? [];
    if (role === "title") made.meta.title = title;
    else if (role) (close(), (current = { role, lines: [] }));
    else current?.lines.push(line);
  }
  close();
  const first = made.path()[0];
  if (!first) throw new FormatError();
  made.meta.title ||= titleOf(first.content);
  return made;
}
