// The field where a message is written, with what is attached to it. It works while the model still loads.

import { $, attempt, el } from "./dom.js";
import { accepted, FileError, fileCard, readAttachment } from "./files.js";
import { toast } from "./notices.js";
import { t } from "./strings.js";

const DRAFT = "solofile.draft";
const CHARACTERS_PER_TOKEN = 3.6; // of English; only a guess until the model has read it

export class Composer {
  // `on`: send(text, files), stop(), editLast(), changed(tokens).
  constructor(server, on) {
    this.server = server;
    this.on = on;
    this.files = [];
    this.abilities = new Promise((known) => (this.known = known)); // of the model, once it is there
    this.field = $("text");
    this.field.value ||= attempt(() => sessionStorage.getItem(DRAFT));
    this.listen();
    this.fit();
    this.field.focus();
  }

  listen() {
    $("ask").addEventListener("submit", (event) => (event.preventDefault(), this.send()));
    $("stop").addEventListener("click", () => this.on.stop());
    $("attach").addEventListener("click", () => $("files").click());
    $("files").addEventListener("change", () => (this.add($("files").files), ($("files").value = "")));
    this.field.addEventListener("input", () => (this.fit(), storeDraft(this.field.value), this.changed()));
    this.field.addEventListener("keydown", (event) => this.pressed(event));
    this.field.addEventListener("paste", (event) => {
      if (!event.clipboardData.files.length) return;
      event.preventDefault();
      this.add(event.clipboardData.files);
    });
    const main = document.querySelector("main");
    const carries = (event) => event.dataTransfer?.types.includes("Files");
    main.addEventListener("dragover", (event) => carries(event) && (event.preventDefault(), main.classList.add("dropping")));
    main.addEventListener("dragleave", (event) => main.contains(event.relatedTarget) || main.classList.remove("dropping"));
    main.addEventListener("drop", (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      main.classList.remove("dropping");
      this.add(event.dataTransfer.files);
    });
  }

  pressed(event) {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) (event.preventDefault(), this.send());
    if (event.key === "ArrowUp" && !this.field.value && !event.altKey && this.on.editLast()) event.preventDefault();
  }

  able(abilities) {
    this.known((this.abilities = abilities));
    $("files").accept = accepted(abilities);
  }

  // The field grows with its text.
  fit() {
    this.field.style.height = "auto";
    this.field.style.height = `${Math.min(this.field.scrollHeight + 2, innerHeight * 0.4)}px`;
  }

  set(text) {
    this.field.value = text;
    storeDraft(text);
    this.fit();
    this.changed();
    this.field.focus();
  }

  insert(text) {
    const { value, selectionStart: begin, selectionEnd: end } = this.field;
    this.set(value.slice(0, begin) + text + value.slice(end));
  }

  // Roughly what is here, in tokens.
  tokens() {
    return Math.ceil(this.field.value.length / CHARACTERS_PER_TOKEN) + this.files.reduce((sum, file) => sum + file.tokens, 0);
  }

  changed() {
    this.on.changed(this.tokens());
  }

  add(list) {
    for (const file of list) this.attach(file);
  }

  async attach(file) {
    const card = { name: file.name, size: file.size, tokens: 0, kind: "text", reading: true };
    this.files.push(card);
    this.drawFiles();
    try {
      Object.assign(card, await readAttachment(file, await this.abilities, this.server), { reading: false });
    } catch (error) {
      this.files = this.files.filter((one) => one !== card);
      toast(error instanceof FileError ? t(error.key, error.values) : t("fileRefused", { name: file.name, why: error.message }));
    }
    this.drawFiles();
    this.changed();
  }

  drawFiles() {
    $("attached").hidden = !this.files.length;
    $("attached").replaceChildren(...this.files.map((file) => fileCard(file, () => this.detach(file))));
  }

  detach(file) {
    this.files = this.files.filter((one) => one !== file);
    this.drawFiles();
    this.changed();
    this.field.focus();
  }

  send() {
    const text = this.field.value.trim();
    if (!text && !this.files.length) return;
    if (this.files.some((file) => file.reading)) return void toast(t("fileWait"));
    const files = this.files.map(({ reading, ...file }) => file);
    if (!this.on.send(text, files)) return;
    this.files = [];
    this.drawFiles();
    this.set("");
  }

  busy(answering) {
    $("send").hidden = answering;
    $("stop").hidden = !answering;
  }
}

export const queuedCard = (text, files, cancel) =>
  el("div", { class: "queued" }, el("p", { class: "typed", dir: "auto" }, text || files.map(({ name }) => name).join(", ")), el("p", { class: "hint" }, t("queued")), el("button", { type: "button", onclick: cancel }, t("queuedCancel")));

// A draft outlives a reload of its tab.
const storeDraft = (text) => attempt(() => sessionStorage.setItem(DRAFT, text));
