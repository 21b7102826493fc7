// The dialog of settings. A field that is left empty is the bundle's default; what differs from it can be reset.

import { el, iconButton, textButton } from "./dom.js";
import { dialog, toast } from "./notices.js";
import { newId } from "./conversation.js";
import { PARAMETERS, PRESETS, problemOf, schemaProblem, soundValues } from "./parameters.js";
import { chooseLanguage, chosenLanguage, languages, remember, remembered, t } from "./strings.js";

const THEME = "solofile.theme";

export class Settings {
  constructor() {
    this.store = null;
    this.defaults = {};
    this.values = {}; // what the reader chose
    this.schema = "";
    this.presets = []; // the reader's own: {id, name, values}
    this.system = null; // of new chats; null for the bundle's
  }

  async load(store, about) {
    this.store = store;
    this.defaults = about.defaults ?? {};
    this.bundleSystem = about.system_prompt ?? "";
    const { values, schema = "", presets = [], system = null } = (await store.get("settings")) ?? {};
    Object.assign(this, { values: soundValues(values), schema, presets, system });
  }

  get systemPrompt() {
    return this.system ?? this.bundleSystem ?? "";
  }

  save() {
    const { values, schema, presets, system } = this;
    return this.store?.set("settings", { values, schema, presets, system });
  }

  // `conversation` is the one that is shown; `changed` is called when its system prompt or the language changes.
  show(conversation, changed) {
    this.conversation = conversation;
    this.changed = changed;
    this.dialog = dialog(t("settings"), this.content(), { name: "settings", onclose: () => this.save() });
  }

  content() {
    return [
      section("systemPrompts", this.systemField(), this.newSystemField()),
      section("answers", this.presetRow(), ...PARAMETERS.map((one) => this.field(one)), textButton(t("resetAll"), () => this.resetAll(), { "data-reset": "all" })),
      section("form", this.schemaField()),
      section("looks", this.languageField(), themeField()),
    ];
  }

  redraw() {
    const place = this.dialog.querySelector(".content");
    const at = place.scrollTop;
    place.replaceChildren(...this.content());
    place.scrollTop = at;
    this.save();
  }

  systemField() {
    const { meta } = this.conversation;
    const input = area("chat-system", meta.system ?? this.systemPrompt, (text) => {
      meta.system = text;
      this.changed();
    });
    return labelled("chat-system", t("chatSystem"), t("chatSystemHint"), input);
  }

  newSystemField() {
    const input = area("new-system", this.systemPrompt, (text) => (this.system = text));
    const reset = this.system !== null && this.system !== this.bundleSystem && resetButton(t("newSystem"), () => ((this.system = null), this.redraw()));
    return labelled("new-system", t("newSystem"), t("newSystemHint"), input, reset);
  }

  presetRow() {
    const own = this.presets.map((preset) => el("span", { class: "pair" },
      textButton(preset.name, () => this.use(preset.values)),
      iconButton("close", t("presetRemove", { name: preset.name }), () => this.removePreset(preset))));
    const row = [
      textButton(t("presetDefault"), () => this.use({})),
      ...PRESETS.map(({ name, values }) => textButton(t(name), () => this.use(values))),
      ...own,
      textButton(t("presetSave"), () => this.askPreset(), { class: "plain" }),
    ];
    return el("div", { class: "presets", role: "group", "aria-label": t("presets") }, ...row);
  }

  use(values) {
    this.values = { ...values };
    this.redraw();
  }

  askPreset() {
    const input = el("input", { id: "preset-name", required: true, maxlength: 40 });
    const form = el("form", { class: "inline" }, el("label", { for: "preset-name" }, t("presetName")), input, el("button", { type: "submit" }, t("save")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.presets.push({ id: newId(), name: input.value.trim(), values: { ...this.values } });
      this.redraw();
    });
    this.dialog.querySelector(".presets").after(form);
    input.focus();
  }

  removePreset(preset) {
    const before = this.presets;
    this.presets = before.filter((one) => one !== preset);
    this.redraw();
    toast(t("presetRemoved", { name: preset.name }), () => ((this.presets = before), this.save()));
  }

  resetAll() {
    const before = { values: this.values, schema: this.schema, system: this.system };
    Object.assign(this, { values: {}, schema: "", system: null });
    this.redraw();
    toast(t("resetDone"), () => (Object.assign(this, before), this.dialog.open ? this.redraw() : this.save()));
  }

  field(one) {
    const { name, min, max, usual } = one;
    const id = `set-${name}`;
    const problem = el("p", { class: "bad", id: `${id}-problem`, hidden: true });
    const usually = this.defaults[name] ?? usual;
    const input = el("input", { id, type: "number", inputmode: "decimal", min, max, step: "any", value: this.values[name] ?? "", placeholder: usually, "aria-describedby": `${id}-hint ${id}-problem` });
    const reset = resetButton(t(name), () => (delete this.values[name], this.redraw()));
    reset.hidden = this.values[name] === undefined;
    input.addEventListener("input", () => {
      const wrong = input.validity.badInput ? "notANumber" : problemOf(one, input.value);
      problem.hidden = !wrong;
      problem.textContent = wrong ? t(wrong, { min, max }) : "";
      input.setAttribute("aria-invalid", String(Boolean(wrong)));
      if (wrong) return;
      if (input.value === "") delete this.values[name];
      else this.values[name] = Number(input.value);
      reset.hidden = this.values[name] === undefined;
      this.save();
    });
    return labelled(id, t(name), t(`${name}Hint`), input, reset, problem);
  }

  schemaField() {
    const problem = el("p", { class: "bad", id: "schema-problem", hidden: true });
    const input = area("schema", this.schema, (text) => {
      const wrong = schemaProblem(text);
      problem.hidden = !wrong;
      problem.textContent = wrong ? t(wrong) : "";
      input.setAttribute("aria-invalid", String(Boolean(wrong)));
      this.schema = text;
      this.save();
    }, { dir: "ltr", spellcheck: "false", class: "mono" });
    const reset = this.schema && resetButton(t("schema"), () => ((this.schema = ""), this.redraw()));
    return labelled("schema", t("schema"), t("schemaHint"), input, reset, problem);
  }

  languageField() {
    const choices = [["", t("languageAuto")], ...languages()];
    const input = select("language", choices, chosenLanguage(), async (name) => {
      await chooseLanguage(name);
      this.dialog.querySelector("h2").textContent = t("settings");
      this.redraw();
      this.changed();
    });
    return labelled("language", t("language"), "", input);
  }
}

export function applyTheme() {
  const theme = remembered(THEME);
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

function themeField() {
  const choices = [["", t("themeAuto")], ["light", t("themeLight")], ["dark", t("themeDark")]];
  const input = select("theme", choices, remembered(THEME), (name) => {
    remember(THEME, name);
    applyTheme();
  });
  return labelled("theme", t("theme"), "", input);
}

const section = (title, ...fields) => el("section", {}, el("h3", {}, t(title)), ...fields);

function labelled(id, label, hint, input, reset = null, problem = null) {
  const head = el("div", { class: "label" }, el("label", { for: id }, label), reset);
  return el("div", { class: "field" }, head, input, hint && el("p", { class: "hint", id: `${id}-hint` }, hint), problem);
}

function area(id, value, oninput, attributes = {}) {
  return el("textarea", { id, rows: 3, dir: "auto", value, oninput: (event) => oninput(event.target.value), ...attributes });
}

function select(id, choices, chosen, onchange) {
  const options = choices.map(([value, label]) => el("option", { value, selected: value === chosen }, label));
  return el("select", { id, onchange: (event) => onchange(event.target.value) }, ...options);
}

function resetButton(label, action) {
  return iconButton("again", t("reset", { name: label }), action);
}
