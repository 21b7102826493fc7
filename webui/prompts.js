// Saved prompts: texts that are used again, in a message or as a system prompt.

import { el, iconButton, textButton } from "./dom.js";
import { newId } from "./conversation.js";
import { dialog, toast } from "./notices.js";
import { t } from "./strings.js";

export class Prompts {
  constructor() {
    this.store = null;
    this.list = []; // {id, name, text}
  }

  async load(store) {
    this.store = store;
    this.list = (await store.get("prompts")) ?? [];
  }

  save() {
    return this.store?.set("prompts", this.list);
  }

  // `insert(text)` puts a prompt into the message, `asSystem(text)` makes it the system prompt; `draft` is offered for a new one.
  show(draft, insert, asSystem) {
    this.actions = { insert, asSystem };
    this.dialog = dialog(t("prompts"), this.content(), { name: "prompts" });
    if (!this.list.length) this.edit({ id: newId(), name: "", text: draft });
    else if (draft.trim()) this.edit({ id: newId(), name: "", text: draft }, false);
  }

  content() {
    const items = this.list.map((prompt) => this.item(prompt));
    return [
      el("p", { class: "hint" }, t("promptsHint")),
      el("ul", { class: "prompts" }, ...items),
      textButton(t("promptNew"), () => this.edit({ id: newId(), name: "", text: "" }), { "data-new": "" }),
    ];
  }

  redraw() {
    this.dialog.querySelector(".content").replaceChildren(...this.content());
  }

  item(prompt) {
    const use = (action) => () => (this.dialog.close(), action(prompt.text));
    return el("li", {},
      el("div", {}, el("strong", { dir: "auto" }, prompt.name), el("p", { dir: "auto", class: "hint" }, prompt.text.slice(0, 160))),
      el("div", { class: "buttons" },
        textButton(t("promptInsert"), use(this.actions.insert), { class: "strong" }),
        textButton(t("promptSystem"), use(this.actions.asSystem)),
        iconButton("edit", t("promptEdit", { name: prompt.name }), () => this.edit(prompt)),
        iconButton("trash", t("promptRemove", { name: prompt.name }), () => this.remove(prompt))));
  }

  edit(prompt, focus = true) {
    this.dialog.querySelector("form")?.remove();
    const name = el("input", { id: "prompt-name", required: true, maxlength: 60, dir: "auto", value: prompt.name });
    const text = el("textarea", { id: "prompt-text", required: true, rows: 4, dir: "auto", value: prompt.text });
    const form = el("form", {},
      el("label", { for: "prompt-name" }, t("promptName")), name,
      el("label", { for: "prompt-text" }, t("promptText")), text,
      el("div", { class: "buttons" }, el("button", { type: "submit", class: "strong" }, t("save"))));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.keep({ id: prompt.id, name: name.value.trim(), text: text.value });
    });
    this.dialog.querySelector(".content").append(form);
    if (focus) name.focus();
  }

  keep(prompt) {
    const at = this.list.findIndex((one) => one.id === prompt.id);
    if (at < 0) this.list.push(prompt);
    else this.list[at] = prompt;
    this.save();
    this.redraw();
  }

  remove(prompt) {
    const before = [...this.list];
    this.list = this.list.filter((one) => one !== prompt);
    this.save();
    this.redraw();
    toast(t("promptRemoved", { name: prompt.name }), () => {
      this.list = before;
      this.save();
      if (this.dialog.open) this.redraw();
    });
  }
}
