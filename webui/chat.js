// The chat that is shown, and everything that is done in it: send, ask again, edit, go on, branch.

import { $ } from "./dom.js";
import { queuedCard } from "./composer.js";
import { Conversation, titleOf } from "./conversation.js";
import { emptyPage } from "./log.js";
import { banner, clearBanner, copy, toast } from "./notices.js";
import { t } from "./strings.js";

const NEARLY_FULL = 0.8;

export class Chat {
  constructor(app) {
    this.app = app;
    this.conversation = Conversation.empty();
    this.queue = []; // what was sent before the model was there
    this.contextSize = 0;
    this.warned = "";
  }

  get id() {
    return this.conversation.id;
  }

  get answering() {
    return this.app.answers.running.has(this.id);
  }

  open(conversation) {
    this.conversation = conversation;
    this.remember();
    this.show();
    this.app.composer.field.focus();
  }

  // A reload of the tab shows the same chat.
  remember() {
    history.replaceState(null, "", `#${this.id}`);
  }

  // Draws the chat anew; with `stay`, where the reader is in it.
  show(stay = false) {
    const { app, conversation } = this;
    const path = conversation.path();
    app.log.show(path, stay);
    const blank = app.ready && !path.length;
    $("empty").replaceChildren(...(blank ? [emptyPage(app.about.title ?? app.about.name ?? "", app.about.greeting)] : []));
    this.drawQueue();
    this.drawState();
  }

  drawState() {
    const { app, conversation } = this;
    $("chat-title").textContent = conversation.meta.title;
    app.composer.busy(this.answering);
    app.sidebar.current = conversation.id;
    app.sidebar.busy = new Set(app.answers.running.keys());
    app.sidebar.draw();
    this.drawContext();
  }

  // How much of the model's context is used, with what is being written.
  drawContext(draft = this.app.composer.tokens()) {
    const last = this.conversation.path().findLast(({ stats }) => stats?.context);
    const used = (last?.stats.context ?? 0) + draft;
    const share = this.contextSize ? used / this.contextSize : 0;
    $("context").hidden = !this.contextSize || !used;
    $("context-meter").value = Math.min(share, 1);
    $("context-meter").setAttribute("aria-label", t("contextUse"));
    $("context-words").textContent = t("contextWords", { n: used, total: this.contextSize });
    $("draft-words").textContent = draft ? t("draftTokens", { n: draft }) : "";
    this.warn(share);
  }

  warn(share) {
    const stage = share >= 1 ? "contextOver" : share >= NEARLY_FULL ? "contextLow" : "";
    const key = stage && this.id + stage;
    if (this.warned === key) return;
    this.warned = key;
    if (stage) banner("context", t(stage, { n: Math.round(share * 100) }), { bad: share >= 1, label: t("newChat"), action: () => this.app.newChat() });
    else clearBanner("context");
  }

  // --- what messages ask ---

  run(message) {
    return this.app.answers.of(message);
  }

  siblings(message) {
    return this.conversation.siblings(message);
  }

  writtenElsewhere(message) {
    return this.app.chats.writtenElsewhere(message);
  }

  // --- sending ---

  // Whether the message was taken.
  send(text, files) {
    if (!this.app.ready) {
      this.queue.push({ conversation: this.conversation, text, files });
      this.drawQueue();
      return true;
    }
    if (this.answering) {
      toast(t("stillAnswering"));
      return false;
    }
    this.remember();
    this.post(this.conversation, text, files);
    return true;
  }

  post(conversation, text, files) {
    const message = conversation.add(conversation.path().at(-1)?.id ?? "", "user", { content: text, files });
    conversation.meta.title ||= titleOf(text || files[0].name);
    this.app.chats.save(conversation, [message]);
    this.answer(message, conversation);
  }

  drawQueue() {
    const cancel = (one) => () => {
      this.queue = this.queue.filter((other) => other !== one);
      this.app.composer.set([one.text, this.app.composer.field.value].filter(Boolean).join("\n"));
      this.drawQueue();
    };
    const here = this.queue.filter(({ conversation }) => conversation === this.conversation);
    $("queue").replaceChildren(...here.map((one) => queuedCard(one.text, one.files, cancel(one))));
    $("empty").hidden = here.length > 0;
  }

  // What waited for the model is one message now, of each chat.
  sendQueue() {
    const waiting = Map.groupBy(this.queue.splice(0), ({ conversation }) => conversation);
    this.drawQueue();
    for (const [conversation, all] of waiting) this.post(conversation, all.map(({ text }) => text).filter(Boolean).join("\n\n"), all.flatMap(({ files }) => files));
  }

  // Has an answer to the user's `message` written, beside those that there are.
  answer(message, conversation = this.conversation) {
    const made = conversation.add(message.id, "assistant", { state: "streaming" });
    this.write(made, conversation);
  }

  write(message, conversation = this.conversation) {
    const { app } = this;
    conversation.meta.updated = Date.now();
    const written = app.answers.write(conversation, message);
    app.chats.save(conversation, [message]);
    this.show(conversation !== this.conversation);
    return written;
  }

  regenerate(message) {
    if (!this.idle()) return;
    const above = this.conversation.messages.get(message.parent);
    if (above) this.answer(above);
  }

  proceed(message) {
    if (this.idle()) this.write(message);
  }

  idle() {
    if (!this.app.ready) toast($("load-title").textContent);
    else if (this.answering) toast(t("stillAnswering"));
    return this.app.ready && !this.answering;
  }

  // Another text for `message`, as a branch beside it; a user's is answered.
  edit(message, text) {
    if (!this.idle() || (!text.trim() && !message.files.length)) return;
    const { conversation, app } = this;
    const { files } = message;
    const made = conversation.add(message.parent, message.role, { content: text, files });
    app.chats.save(conversation, [made]);
    if (message.role === "user") this.answer(made);
    else this.show(true);
  }

  branch(message) {
    this.conversation.choose(message);
    this.app.chats.save(this.conversation);
    this.show(true);
    this.app.log.views.get(message.id)?.element.querySelector(".branches button:enabled")?.focus();
  }

  // --- keys ---

  editLast() {
    const last = this.conversation.path().findLast(({ role }) => role === "user");
    const view = last && !this.answering && this.app.log.views.get(last.id);
    view?.edit();
    return Boolean(view);
  }

  regenerateLast() {
    const last = this.conversation.path().at(-1);
    if (last?.role === "assistant") this.regenerate(last);
  }

  copyLast() {
    const last = this.conversation.path().findLast(({ role }) => role === "assistant");
    if (last) copy(last.content);
  }
}
