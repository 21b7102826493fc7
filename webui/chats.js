// All conversations of this bundle: the list, what is open, and what other tabs do to them.

import { Conversation } from "./conversation.js";

export class Chats {
  // `onChange(id)` is told when another tab changed a chat, or several (no id).
  constructor(store, name, onChange) {
    this.store = store;
    this.list = new Map(); // the metas, by id
    this.open = new Map(); // the conversations that were looked at, by id
    this.mine = new Set(); // messages that this tab writes just now
    this.removed = new Set(); // an answer under way must not bring them back
    this.elsewhere = new Map(); // messages that another tab writes just now, and when it last did
    this.onChange = onChange;
    this.channel = new BroadcastChannel(name);
    this.channel.onmessage = ({ data }) => this.hear(data);
  }

  async load() {
    for (const meta of await this.store.all("chats")) {
      const known = this.list.get(meta.id);
      // Which branches are shown here stays as it is, whatever another tab shows.
      if (known) Object.assign(known, meta, { chosen: { ...meta.chosen, ...known.chosen } });
      else this.list.set(meta.id, meta);
    }
  }

  // Pinned ones first, then those used last.
  sorted() {
    return [...this.list.values()].sort((a, b) => b.pinned - a.pinned || b.updated - a.updated);
  }

  async conversation(id) {
    if (!this.open.has(id)) this.open.set(id, new Conversation(this.list.get(id), await this.store.all("messages", id)));
    return this.open.get(id);
  }

  // Keep the meta and `messages` of a conversation.
  async save(conversation, messages = []) {
    if (this.removed.has(conversation.id)) return;
    this.list.set(conversation.id, conversation.meta);
    this.open.set(conversation.id, conversation);
    if (messages.length) await this.store.put("messages", messages);
    if (this.removed.has(conversation.id)) return;
    await this.store.put("chats", [conversation.meta]);
    const written = messages.filter((message) => message.state === "streaming").map((message) => message.id);
    this.channel.postMessage({ chat: conversation.id, written });
  }

  // Removes a chat; gives what brings it back.
  async remove(id) {
    const meta = this.list.get(id);
    const messages = await this.store.all("messages", id);
    this.forget(id);
    await this.store.remove("chats", [id]);
    await this.store.remove("messages", messages.map((message) => message.id));
    this.channel.postMessage({ chat: id, removed: true });
    return () => {
      this.removed.delete(id);
      return this.save(new Conversation(meta, messages), messages);
    };
  }

  forget(id) {
    this.removed.add(id);
    this.list.delete(id);
    this.open.delete(id);
  }

  // The ids of chats whose title or text has every word of `query`.
  async search(query) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const texts = new Map([...this.list.values()].map((meta) => [meta.id, [meta.title]]));
    for (const message of await this.store.all("messages")) texts.get(message.chat)?.push(message.content);
    const matches = ([, parts]) => {
      const text = parts.join("\n").toLowerCase();
      return words.every((word) => text.includes(word));
    };
    return new Set([...texts].filter(matches).map(([id]) => id));
  }

  async hear({ chat, removed, written = [] }) {
    for (const id of written) this.elsewhere.set(id, Date.now());
    if (removed) this.forget(chat);
    else {
      this.removed.delete(chat);
      await this.load();
      await this.merge(chat);
    }
    this.onChange(chat, Boolean(removed));
  }

  // Take over what another tab wrote into a conversation that is open here as well.
  async merge(chat) {
    const conversation = this.open.get(chat);
    if (!conversation) return;
    for (const message of await this.store.all("messages", chat)) {
      const known = conversation.messages.get(message.id);
      if (!known) conversation.insert(message);
      else if (!this.mine.has(message.id)) Object.assign(known, message);
    }
  }

  writtenElsewhere(message) {
    return Date.now() - (this.elsewhere.get(message.id) ?? 0) < 5000;
  }
}
