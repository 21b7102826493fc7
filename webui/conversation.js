// A conversation: a tree of messages. Editing or asking again makes a branch beside the old one; `chosen` says which
// branch of each message is shown. The messages above the first have the empty id.

export const newId = () => [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

export class Conversation {
  constructor(meta, messages = []) {
    this.meta = meta;
    this.messages = new Map();
    this.children = new Map();
    for (const message of messages.sort((a, b) => a.created - b.created)) this.insert(message);
  }

  static empty(system = null) {
    const now = Date.now();
    return new Conversation({ id: newId(), title: "", pinned: false, created: now, updated: now, system, chosen: {} });
  }

  get id() {
    return this.meta.id;
  }

  insert(message) {
    this.messages.set(message.id, message);
    const siblings = this.children.get(message.parent);
    if (siblings) siblings.push(message);
    else this.children.set(message.parent, [message]);
  }

  // A new message below `parent`, and the branch that is shown from now on.
  add(parent, role, fields = {}) {
    const last = this.siblings({ parent }).at(-1);
    const created = Math.max(Date.now(), (last?.created ?? 0) + 1);
    const message = { id: newId(), chat: this.id, parent, role, content: "", reasoning: "", files: [], state: "done", note: "", stats: null, created, ...fields };
    this.insert(message);
    this.choose(message);
    return message;
  }

  choose(message) {
    this.meta.chosen[message.parent] = message.id;
  }

  siblings(message) {
    return this.children.get(message.parent) ?? [];
  }

  // The messages that are shown, first to last.
  path() {
    const shown = [];
    for (let parent = ""; ; ) {
      const below = this.children.get(parent) ?? [];
      const message = below.find((child) => child.id === this.meta.chosen[parent]) ?? below.at(-1);
      if (!message) return shown;
      shown.push(message);
      parent = message.id;
    }
  }

  // The messages above and including `message`, first to last.
  upTo(message) {
    const above = [];
    for (let one = message; one; one = this.messages.get(one.parent)) above.unshift(one);
    return above;
  }
}

// The title of a conversation that begins with `text`.
export function titleOf(text) {
  const line = text.split("\n").find((part) => part.trim()) ?? "";
  return line.trim().replace(/\s+/g, " ").slice(0, 80);
}
