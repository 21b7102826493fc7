// What stands in the lines of a block: emphasis, code, links, formulas. Nodes are made one by one; nothing is parsed as
// HTML. The rules for emphasis are CommonMark's.

import { el } from "./dom.js";
import { decode } from "./entities.js";
import { labelOf } from "./blocks.js";
import { formula } from "./math.js";

const SPECIAL = /[\\`*_~[\]!<&$\n]|(?<![\p{L}\p{N}_])https?:\/\//gu;
const ESCAPED = /[!-/:-@[-`{-~]/;
const FORMULA = /\$\$((?:\\[^]|[^$\\])+?)\$\$|\$(?![\s\d.,]*\s)((?:\\[^]|[^$\\\n])+?)(?<!\s)\$(?![\d\p{L}])|\\\(([^]+?)\\\)|\\\[([^]+?)\\\]/uy;
const AUTOLINK = /<((?:https?|mailto):[^\s<>]*|([\w.+-]+@[\w-]+\.[\w.-]+))>/iy;
const TAG = /<(\/?)([a-z]+)\s*\/?>/iy;
const REFERENCE = /&(?:#\d{1,7}|#x[\da-f]{1,6}|\w{2,8});/iy;
const ADDRESS = /https?:\/\/[^\s<>]+/y;
const TARGET = /\(\s*(?:<([^<>\n]*)>|((?:\\.|[^\s()\\]|\((?:\\.|[^\s()\\])*\))*))(?:\s+(?:"(?:\\.|[^"])*"|'(?:\\.|[^'])*'|\((?:\\.|[^)])*\)))?\s*\)/y;
const SAFE_LINK = /^(https?:|mailto:)/i;
const PLAIN_TAGS = new Set(["b", "i", "em", "strong", "sub", "sup", "kbd", "mark", "u", "s", "small"]);
const SPACE = /^[\s\u00a0]?$/u;
const PUNCTUATION = /^[\p{P}\p{S}]$/u;

// The nodes of `text`; `links` holds what references point to.
export function inline(text, links = new Map()) {
  return new Line(text, links).nodes();
}

class Line {
  constructor(text, links) {
    Object.assign(this, { text, links, at: 0, parts: [], brackets: [], ticks: null });
  }

  nodes() {
    const { text } = this;
    while (this.at < text.length) {
      SPECIAL.lastIndex = this.at;
      const found = SPECIAL.exec(text);
      const next = found?.index ?? text.length;
      if (next > this.at) this.parts.push(text.slice(this.at, next));
      this.at = next;
      if (found) this.special(found[0]);
    }
    return this.closed(0);
  }

  special(sign) {
    const step = { "\\": "backslash", "`": "code", "*": "marks", _: "marks", "~": "marks", "[": "open", "!": "picture", "]": "close", "<": "angle", "&": "reference", $: "dollar", "\n": "newline" };
    this[step[sign] ?? "address"]();
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at = pattern.lastIndex;
    return found;
  }

  // The character itself.
  plain(count = 1) {
    this.parts.push(this.text.slice(this.at, this.at + count));
    this.at += count;
  }

  backslash() {
    const next = this.text[this.at + 1] ?? "";
    if ((next === "(" || next === "[") && this.dollar(false)) return;
    if (next === "\n") (this.parts.push(el("br")), (this.at += 2), this.skipSpaces());
    else if (ESCAPED.test(next)) (this.at++, this.plain());
    else this.plain();
  }

  dollar(plain = true) {
    const found = this.match(FORMULA);
    if (found) this.parts.push(formula((found[1] ?? found[2] ?? found[3] ?? found[4]).trim(), false));
    else if (plain) this.plain();
    return found;
  }

  code() {
    const [marks] = this.match(/`+/y);
    const end = this.nextTicks(marks.length);
    if (end === undefined) return void this.parts.push(marks);
    const inner = this.text.slice(this.at, end).replaceAll("\n", " ");
    this.parts.push(el("code", { dir: "auto" }, /^ .*[^ ].* $/.test(inner) ? inner.slice(1, -1) : inner));
    this.at = end + marks.length;
  }

  // Where the next run of so many backticks is. A text full of unmatched ones is read only once.
  nextTicks(length) {
    this.ticks ??= Map.groupBy([...this.text.matchAll(/`+/g)].reverse(), ([run]) => run.length);
    const runs = this.ticks.get(length) ?? [];
    while (runs.length && runs.at(-1).index < this.at) runs.pop();
    return runs.at(-1)?.index;
  }

  newline() {
    const last = this.parts.at(-1);
    if (typeof last === "string") this.parts[this.parts.length - 1] = last.trimEnd();
    this.parts.push(el("br"));
    this.at++;
    this.skipSpaces();
  }

  skipSpaces() {
    this.match(/ */y);
  }

  reference() {
    const found = this.match(REFERENCE);
    if (found) this.parts.push(decode(found[0]));
    else this.plain();
  }

  address() {
    let [href] = this.match(ADDRESS) ?? [];
    if (!href) return this.plain();
    const whole = href.length;
    for (let before = ""; before !== href; ) {
      before = href;
      href = href.replace(/[?!.,:;*_~'"]+$/, "").replace(/&\w+;$/, "");
      if (href.endsWith(")") && href.split(")").length > href.split("(").length) href = href.slice(0, -1);
    }
    this.at -= whole - href.length;
    this.parts.push(link(href, [href]));
  }

  // <address>, a harmless tag, or text.
  angle() {
    const address = this.match(AUTOLINK);
    if (address) return void this.parts.push(link(address[2] ? `mailto:${address[2]}` : address[1], [address[1]]));
    const found = this.match(TAG);
    const name = found?.[2].toLowerCase();
    if (!found) return this.plain();
    if (name === "br") return void this.parts.push(el("br"));
    const begin = found[1] ? this.parts.findLastIndex((part) => part.tag === name) : -1;
    if (!found[1] && PLAIN_TAGS.has(name)) this.parts.push({ tag: name, text: found[0] });
    else if (begin < 0) this.parts.push(found[0]);
    else this.wrap(begin, (nodes) => el(name, {}, ...nodes));
  }

  wrap(begin, make) {
    const nodes = this.closed(begin + 1);
    this.parts.splice(begin, Infinity, make(nodes));
  }

  open() {
    this.brackets.push({ index: this.parts.length, at: this.at + 1, picture: false });
    this.plain();
  }

  picture() {
    if (this.text[this.at + 1] !== "[") return this.plain();
    this.brackets.push({ index: this.parts.length, at: this.at + 2, picture: true });
    this.plain(2);
  }

  close() {
    const bracket = this.brackets.pop();
    const { at } = this;
    if (!bracket) return this.plain();
    this.at++;
    const words = this.text.slice(bracket.at, at);
    const href = this.target(words);
    if (href === null) return ((this.at = at), this.plain());
    this.wrap(bracket.index, (nodes) => link(href, bracket.picture ? [words || href] : nodes));
    // There are no links within links.
    if (!bracket.picture) this.brackets = this.brackets.filter(({ picture }) => picture);
  }

  // Where the brackets before point to: (address), [label], or their own words; null if nowhere.
  target(words) {
    const direct = this.match(TARGET);
    if (direct) return decode((direct[1] ?? direct[2]).replace(/\\([!-/:-@[-`{-~])/g, "$1"));
    const { at } = this;
    const label = this.match(/\[((?:\\.|[^\]\\])*)\]/y)?.[1];
    const href = this.links.get(labelOf(label || words)) ?? null;
    if (href === null) this.at = at;
    return href;
  }

  marks() {
    const sign = this.text[this.at];
    const begin = this.at;
    while (this.text[this.at] === sign) this.at++;
    const count = this.at - begin;
    const before = lastOf(this.text.slice(Math.max(0, begin - 2), begin));
    const after = String.fromCodePoint(this.text.codePointAt(this.at) ?? 32);
    const left = !SPACE.test(after) && (!PUNCTUATION.test(after) || SPACE.test(before) || PUNCTUATION.test(before));
    const right = !SPACE.test(before) && (!PUNCTUATION.test(before) || SPACE.test(after) || PUNCTUATION.test(after));
    const word = sign === "_";
    const opens = left && (!word || !right || PUNCTUATION.test(before));
    const closes = right && (!word || !left || PUNCTUATION.test(after));
    this.parts.push(sign === "~" && count > 2 ? sign.repeat(count) : { sign, count, size: count, opens, closes });
  }

  // The nodes from `begin` on, with emphasis; they are taken out of the parts.
  closed(begin) {
    const parts = this.parts.splice(begin);
    this.brackets = this.brackets.filter(({ index }) => index < begin);
    const bottom = {};
    for (let at = 0; at < parts.length; at++) {
      const closer = parts[at];
      if (!closer.closes) continue;
      const key = closer.sign + (closer.size % 3) + closer.opens;
      let opener = at - 1;
      while (opener >= (bottom[key] ?? 0) && !pairs(parts[opener], closer)) opener--;
      if (opener < (bottom[key] ?? 0)) {
        bottom[key] = at;
        continue;
      }
      const used = closer.sign === "~" ? closer.count : Math.min(2, closer.count, parts[opener].count);
      const name = closer.sign === "~" ? "del" : used === 2 ? "strong" : "em";
      const inner = parts.splice(opener + 1, at - opener - 1, null);
      parts[opener + 1] = el(name, {}, ...inner.map(nodeOf));
      parts[opener].count -= used;
      closer.count -= used;
      const emptied = parts[opener].count === 0;
      if (emptied) parts.splice(opener, 1);
      at = opener + (emptied ? 1 : 2);
      if (closer.count === 0) (parts.splice(at, 1), at--);
      else at--;
    }
    return parts.map(nodeOf);
  }
}

const lastOf = (text) => [...text].at(-1) ?? " ";
const nodeOf = (part) => (part.sign ? part.sign.repeat(part.count) : (part.tag ? part.text : part));

function pairs(opener, closer) {
  if (opener.sign !== closer.sign || !opener.opens) return false;
  if (closer.sign === "~") return opener.count === closer.count;
  return !((opener.closes || closer.opens) && (opener.size + closer.size) % 3 === 0 && (opener.size % 3 || closer.size % 3));
}

// Only addresses of the web and of mail become links, and pictures become links too: nothing is fetched unasked.
function link(href, children) {
  if (!SAFE_LINK.test(href)) return el("span", { title: href }, ...children);
  return el("a", { href, target: "_blank", rel: "noopener noreferrer" }, ...children);
}
