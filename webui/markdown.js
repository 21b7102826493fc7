// Markdown to elements. They are made one by one, so that nothing which a model writes can become markup of the page:
// HTML is shown as the text that it is, pictures and unusual links as words.

import { parse } from "./blocks.js";
import { codeBlock } from "./code.js";
import { el } from "./dom.js";
import { inline } from "./inline.js";
import { formula } from "./math.js";

const MAX_HEADING = 6;
const FIRST_HEADING = 2; // below the page's h1 and the h2 of a message

// Makes the elements of one text, whose references may point to definitions anywhere in it.
export class Renderer {
  constructor() {
    this.links = new Map();
    this.direction = "auto"; // of a block; what is inside another one follows it
  }

  // What `make` makes, as a part of a block that has a direction.
  inside(make) {
    const { direction } = this;
    this.direction = null;
    const made = make();
    this.direction = direction;
    return made;
  }

  parse(text) {
    return parse(text, this.links);
  }

  blocks(tokens) {
    return tokens.map((token) => this.block(token)).filter(Boolean);
  }

  // The element of one block; null where there is nothing to see.
  block(token) {
    return this[token.type]?.(token) ?? null;
  }

  line(text) {
    return inline(text, this.links);
  }

  code({ info, text }) {
    return codeBlock(info, text);
  }

  rule() {
    return el("hr");
  }

  formula({ text }) {
    return el("div", { class: "math" }, formula(text, true));
  }

  paragraph({ text }) {
    return el("p", { dir: this.direction }, ...this.line(text));
  }

  heading({ depth, text }) {
    return el(`h${Math.min(depth + FIRST_HEADING, MAX_HEADING)}`, { dir: this.direction }, ...this.line(text));
  }

  quote({ blocks }) {
    return el("blockquote", { dir: this.direction }, ...this.inside(() => this.blocks(blocks)));
  }

  list({ ordered, start, items, loose }) {
    const attributes = { dir: this.direction, start: ordered && start !== 1 ? start : null };
    return el(ordered ? "ol" : "ul", attributes, ...items.map((item) => this.item(item, loose)));
  }

  item({ blocks, task, checked }, loose) {
    const box = task && el("input", { type: "checkbox", disabled: true, checked, "aria-label": checked ? "☑" : "☐" });
    const part = (token) => (token.type === "paragraph" && !loose ? this.line(token.text) : [this.block(token)]);
    const content = this.inside(() => blocks.flatMap(part));
    return el("li", { class: task ? "task" : null }, box, ...content);
  }

  table({ head, align, rows }) {
    const cell = (name) => (text, index) => el(name, { class: align[index], scope: name === "th" ? "col" : null }, ...this.line(text));
    const body = rows.map((cells) => el("tr", {}, ...cells.map(cell("td"))));
    const made = el("table", { dir: this.direction }, el("thead", {}, el("tr", {}, ...head.map(cell("th")))), el("tbody", {}, ...body));
    return el("div", { class: "table", tabindex: "0" }, made);
  }
}

export function render(text) {
  const renderer = new Renderer();
  return renderer.blocks(renderer.parse(text));
}
