// The blocks of a markdown text: CommonMark's, with GitHub's tables and tasks, and formulas. What a block holds in its
// lines is left to inline.js, what it looks like to markdown.js.
//
// Why not a library: those that keep to CommonMark take a quarter of all that this page may weigh, the small ones show
// snake_case in italics or lose code within lists. The tests compare this one with markdown-it.

const FENCE = /^( {0,3})(`{3,}(?=[^`]*$)|~{3,})[ \t]*(.*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*$/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const QUOTE = /^ {0,3}>[ \t]?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(?:( +)(.*)|$)/;
const UNDERLINE = /^ {0,3}(=+|-+)[ \t]*$/;
const DELIMITERS = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const DEFINITION = /^ {0,3}\[((?:\\.|[^\]\\])+)\]:[ \t]*<?([^\s<>]+)>?(?:[ \t]+(?:"[^"]*"|'[^']*'|\([^)]*\)))?[ \t]*$/;
const FORMULA = /^ {0,3}(\$\$|\\\[)/;
const CLOSES = { "$$": /\$\$[ \t]*$/, "\\[": /\\\][ \t]*$/ };
const TASK = /^\[([ xX])\][ \t]+(?=\S)/;
const DEEPEST = 40;

export const labelOf = (text) => text.trim().replace(/\s+/g, " ").toLowerCase();

// The blocks of `text`, each with `begin` and `end`, its lines. `links` takes the definitions of references.
export function parse(text, links = new Map()) {
  return new Parser(text.split(/\r?\n/).map(untabbed), links, 0).all();
}

const untabbed = (line) => (line.includes("\t") ? line.replace(/^( *)\t/, (_, before) => " ".repeat(before.length + 4 - (before.length % 4))).replace(/^ +\t.*/, untabbed) : line);
const blank = (line) => line === undefined || !line.trim();
const indentOf = (line) => line.search(/[^ ]|$/);

class Parser {
  constructor(lines, links, depth) {
    Object.assign(this, { lines, links, depth, at: 0 });
  }

  get line() {
    return this.lines[this.at];
  }

  all() {
    const found = [];
    while (this.at < this.lines.length) {
      const begin = this.at;
      if (blank(this.line)) this.at++;
      else found.push({ ...this.block(), begin, end: this.at });
    }
    return found;
  }

  inside(lines) {
    return new Parser(lines, this.links, this.depth + 1).all();
  }

  block() {
    const { line } = this;
    if (this.depth > DEEPEST) return this.paragraph();
    if (indentOf(line) >= 4) return this.indented();
    const fence = FENCE.exec(line);
    if (fence) return this.fenced(fence);
    const [, marks, title = ""] = HEADING.exec(line) ?? [];
    if (marks) return (this.at++, { type: "heading", depth: marks.length, text: title });
    if (RULE.test(line)) return (this.at++, { type: "rule" });
    if (QUOTE.test(line)) return this.quote();
    if (ITEM.test(line)) return this.list();
    const [, label, href] = DEFINITION.exec(line) ?? [];
    if (label) return this.definition(labelOf(label), href);
    return (FORMULA.test(line) && this.formula()) || (this.tableHere() && this.table()) || this.paragraph();
  }

  definition(label, href) {
    this.at++;
    if (!this.links.has(label)) this.links.set(label, href);
    return { type: "definition" };
  }

  indented() {
    const lines = [];
    while (this.at < this.lines.length && (blank(this.line) || indentOf(this.line) >= 4)) lines.push(this.lines[this.at++].slice(4));
    while (blank(lines.at(-1))) (lines.pop(), this.at--);
    return { type: "code", info: "", text: lines.join("\n"), open: false };
  }

  fenced([, indent, marks, info]) {
    const closing = new RegExp(`^ {0,3}\\${marks[0]}{${marks.length},}[ \\t]*$`);
    const lines = [];
    let open = true;
    for (this.at++; this.at < this.lines.length && open; this.at++) {
      if (closing.test(this.line)) open = false;
      else lines.push(this.line.slice(Math.min(indent.length, indentOf(this.line))));
    }
    if (open && lines.at(-1) === "") lines.pop(); // what follows the last line is none
    return { type: "code", info: info.trim(), text: lines.join("\n"), open };
  }

  formula() {
    const marks = FORMULA.exec(this.line)[1];
    for (let end = this.at; end < this.lines.length && !blank(this.lines[end]); end++) {
      const whole = this.lines.slice(this.at, end + 1).join("\n").trim().slice(2);
      if (!CLOSES[marks].test(whole)) continue;
      this.at = end + 1;
      return { type: "formula", text: whole.replace(CLOSES[marks], "").trim() };
    }
    return null;
  }

  quote() {
    const lines = [];
    for (; !blank(this.line); this.at++) {
      if (QUOTE.test(this.line)) lines.push(this.line.replace(QUOTE, ""));
      else if (this.interrupted() || blank(lines.at(-1))) break;
      else lines.push(this.line);
    }
    return { type: "quote", blocks: this.inside(lines) };
  }

  list() {
    const kind = kindOf(ITEM.exec(this.line)[2]);
    const start = parseInt(ITEM.exec(this.line)[2], 10);
    const items = [];
    let loose = false;
    for (;;) {
      const item = this.item();
      const gap = this.at;
      while (this.at < this.lines.length && blank(this.line)) this.at++;
      items.push(item);
      loose ||= item.blocks.some(({ begin }, index) => index > 0 && begin > item.blocks[index - 1].end);
      const next = this.line === undefined || RULE.test(this.line) ? null : ITEM.exec(this.line);
      if (!next || kindOf(next[2]) !== kind) {
        this.at = gap;
        break;
      }
      loose ||= this.at > gap;
    }
    return { type: "list", ordered: kind.length > 1, start, kind, loose, items };
  }

  item() {
    const [, indent, marker, space = "", rest = ""] = ITEM.exec(this.line);
    const width = indent.length + marker.length + (space.length > 4 || !rest.trim() ? 1 : space.length);
    const [, checked] = TASK.exec(rest) ?? [];
    const lines = [(space.length > 4 ? space.slice(1) : "") + rest.replace(TASK, "")];
    for (this.at++; this.at < this.lines.length; this.at++) {
      const { line } = this;
      if (blank(line)) {
        // An item may begin with one empty line, and go on after others if what follows is indented.
        let after = this.at;
        while (after < this.lines.length && blank(this.lines[after])) after++;
        if (blank(lines[0]) && lines.length === 1) break;
        if (after === this.lines.length || indentOf(this.lines[after]) < width) break;
        lines.push("");
      } else if (indentOf(line) >= width) lines.push(line.slice(width));
      else if (blank(lines.at(-1)) || ITEM.test(line) || this.interrupted()) break;
      else lines.push(line.trimStart());
    }
    return { blocks: this.inside(lines), checked: checked && checked !== " ", task: checked !== undefined, source: lines.join("\n") };
  }

  tableHere() {
    const below = this.lines[this.at + 1];
    return below?.includes("-") && this.line.includes("|") && DELIMITERS.test(below) && cells(this.line).length === cells(below).length;
  }

  table() {
    const head = cells(this.line);
    const align = cells(this.lines[this.at + 1]).map((cell) => ({ "11": "center", "01": "right" })[`${+cell.startsWith(":")}${+cell.endsWith(":")}`] ?? null);
    const rows = [];
    for (this.at += 2; !blank(this.line) && !this.interrupted(); this.at++) rows.push(head.map((_, index) => cells(this.line)[index] ?? ""));
    return { type: "table", head, align, rows };
  }

  // Whether this line begins a block that may follow a paragraph without an empty line.
  interrupted() {
    const { line } = this;
    if (FENCE.test(line) || /^ {0,3}#{1,6}(?:[ \t]|$)/.test(line) || RULE.test(line) || QUOTE.test(line)) return true;
    const [, , marker, , rest] = ITEM.exec(line) ?? [];
    return Boolean(rest?.trim()) && (marker.length === 1 || parseInt(marker, 10) === 1);
  }

  paragraph() {
    const lines = [this.lines[this.at++].trimStart()];
    for (; !blank(this.line); this.at++) {
      const [, under] = UNDERLINE.exec(this.line) ?? [];
      if (under) return (this.at++, { type: "heading", depth: under[0] === "=" ? 1 : 2, text: lines.join("\n").trimEnd() });
      if (this.depth <= DEEPEST && (this.interrupted() || this.tableHere() || (FORMULA.test(this.line) && this.closedFormula()))) break;
      lines.push(this.line.trimStart());
    }
    return { type: "paragraph", text: lines.join("\n").trimEnd() };
  }

  closedFormula() {
    const { at } = this;
    const found = this.formula();
    this.at = at;
    return found;
  }
}

const kindOf = (marker) => (marker.length > 1 ? `1${marker.at(-1)}` : marker);

// The cells of a row; a bar in code or behind a backslash is none of its borders.
function cells(line) {
  const inner = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  const found = inner.match(/(?:\\.|[^|\\]|\\)*(?:\||$)/g) ?? [];
  const parts = found.slice(0, found.at(-1) === "" && !inner.endsWith("|") ? -1 : undefined);
  return parts.map((part) => part.replace(/\|$/, (bar, at) => (part[at - 1] === "\\" ? bar : "")).trim().replaceAll("\\|", "|"));
}
