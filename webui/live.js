// An answer while it is written: what is finished is left alone, and only its last block is made anew.

import { colour, languageOf } from "./code.js";
import { Renderer, render } from "./markdown.js";

const REST = 6; // so many times as long as drawing took, nothing is drawn
const PAINT_MS = 400; // between two colourings of an open block of code, or 50 times what one took

export class LiveMarkdown {
  // `onBlock(element)` is told of every block that is finished.
  constructor(container, onBlock = () => {}) {
    this.container = container;
    this.onBlock = onBlock;
    this.renderer = new Renderer();
    this.offset = 0; // where the last block begins
    this.last = null; // its element
    this.code = null; // {element, language, length} of an open block of code
    this.list = null; // {kind, sources} of an open list
    this.notBefore = 0;
    this.paintAt = 0;
  }

  // Show `text`, which begins with what was shown before. May be left to a later call when the last one was slow.
  update(text) {
    const begin = performance.now();
    if (begin < this.notBefore) return;
    this.show(text);
    const end = performance.now();
    this.notBefore = end + REST * (end - begin);
  }

  show(text, complete = false) {
    const tail = text.slice(this.offset, complete ? undefined : settled(text));
    const tokens = this.renderer.parse(tail);
    if (!tokens.length) return;
    const starts = lineStarts(tail);
    for (const token of tokens.slice(0, -1)) {
      this.draw(token);
      if (this.last) this.onBlock(this.last);
      this.last = this.code = this.list = null;
    }
    this.offset += starts[tokens.at(-1).begin];
    this.draw(tokens.at(-1));
  }

  // Draws the last block, as little of it as possible.
  draw(token) {
    if (token.type === "code" && this.code) return this.growCode(token);
    if (token.type === "list" && this.list?.kind === kindOf(token)) return this.growList(token);
    const made = this.renderer.block(token);
    if (this.last && made) this.last.replaceWith(made);
    else if (made) this.container.append(made);
    else this.last?.remove();
    this.last = made;
    this.code = token.type === "code" && token.open ? { element: made.querySelector("code"), language: languageOf(token.info), info: token.info, length: token.text.length } : null;
    this.list = token.type === "list" ? { kind: kindOf(token), sources: token.items.map(({ source }) => source) } : null;
  }

  // An open block of code only grows: text is added, and coloured now and then, the more rarely the longer that takes.
  growCode({ text, info, open }) {
    const { element, language, length } = this.code;
    if (info !== this.code.info || text.length < length) {
      this.code = null;
      return this.draw({ type: "code", text, info, open });
    }
    if (text.length > length) element.append(text.slice(length));
    this.code.length = text.length;
    const begin = performance.now();
    if (open && begin < this.paintAt) return;
    colour(element, language);
    this.paintAt = begin + Math.max(PAINT_MS, 50 * (performance.now() - begin));
    if (!open) this.code = null;
  }

  // Most of a growing list is as it was: only items that changed are made anew.
  growList({ items, loose }) {
    const { sources } = this.list;
    items.forEach((item, index) => {
      if (sources[index] === item.source) return;
      const made = this.renderer.item(item, loose);
      if (index < sources.length) this.last.children[index].replaceWith(made);
      else this.last.append(made);
      sources[index] = item.source;
    });
    for (; sources.length > items.length; sources.pop()) this.last.lastElementChild.remove();
  }

  // The answer is complete. References to definitions further down are resolved only now.
  finish(text) {
    this.show(text, true);
    if (this.last) this.onBlock(this.last);
    if (this.renderer.links.size) this.container.replaceChildren(...render(text));
  }
}

const kindOf = ({ kind, start, loose, items }) => `${kind} ${start} ${loose} ${items.map(({ task }) => +task).join("")[0]}`;

// How much of a growing text can be drawn: of a last line that has only signs in it, nobody knows yet what it begins.
function settled(text) {
  const begin = text.lastIndexOf("\n") + 1;
  return /^[\s#>*+\-_=~`|:$\\[\]\d.)]*$/.test(text.slice(begin)) ? begin : text.length;
}

// Where each line of `text` begins.
function lineStarts(text) {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}
