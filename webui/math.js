// Formulas: the part of TeX that models write, as MathML, which browsers set by themselves. What is not understood is
// shown as the source that it is.

import { el } from "./dom.js";
import { ACCENTS, ALPHABETS, FUNCTIONS, LIMITS, SPACES, SYMBOLS } from "./math-symbols.js";

const SPACE = "http://www.w3.org/1998/Math/MathML";
const MAX_LENGTH = 5000;

class UnknownError extends Error {}

function make(name, attributes, ...children) {
  const made = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const row = (nodes) => (nodes.length === 1 ? nodes[0] : make("mrow", {}, ...nodes));

// The element of a formula.
export function formula(source, display) {
  try {
    if (source.length > MAX_LENGTH) throw new UnknownError("long");
    const body = make("mrow", {}, ...new Parser(source).whole());
    return make("math", display ? { display: "block" } : {}, body);
  } catch (error) {
    if (!(error instanceof UnknownError || error instanceof RangeError)) throw error;
    return el("code", { class: "tex", dir: "ltr" }, source);
  }
}

class Parser {
  constructor(source) {
    this.tokens = source.match(/\\[a-zA-Z]+\*?|\\[^]|\d+(?:[.,]\d+)*|\s+|[^]/gu) ?? [];
    this.at = 0;
  }

  whole() {
    const nodes = this.until(() => false);
    if (this.peek() !== undefined) throw new UnknownError(this.peek());
    return nodes;
  }

  // The next token that is not space; undefined at the end.
  peek() {
    while (this.at < this.tokens.length && !this.tokens[this.at].trim()) this.at++;
    return this.tokens[this.at];
  }

  next() {
    if (this.peek() === undefined) throw new UnknownError("end");
    return this.tokens[this.at++];
  }

  until(stops) {
    const nodes = [];
    while (this.peek() !== undefined && !stops(this.peek())) {
      if (this.peek() === "}" || this.peek() === "\\right" || this.peek() === "\\end") break;
      nodes.push(this.scripted());
    }
    return nodes;
  }

  // An atom with what stands above and below it.
  scripted() {
    const limits = LIMITS.has(this.peek().slice(1));
    let base = this.atom();
    let below = null;
    let above = null;
    for (; ; ) {
      if (this.peek() === "_" && !below) below = (this.next(), this.argument());
      else if (this.peek() === "^" && !above) above = (this.next(), this.argument());
      else if (this.peek() === "'") above = (this.next(), above ? row([above, make("mo", {}, "′")]) : make("mo", {}, "′"));
      else break;
    }
    const names = limits ? ["munder", "mover", "munderover"] : ["msub", "msup", "msubsup"];
    if (below && above) base = make(names[2], {}, base, below, above);
    else if (below) base = make(names[0], {}, base, below);
    else if (above) base = make(names[1], {}, base, above);
    return base;
  }

  argument() {
    if (this.peek() === "{") return this.group();
    if (!/^\d./.test(this.peek())) return this.atom();
    // Without braces it is one digit: \frac12 is a half.
    const [digit, ...rest] = this.peek();
    this.tokens[this.at] = rest.join("");
    return make("mn", {}, digit);
  }

  group() {
    this.next();
    const nodes = this.until(() => false);
    if (this.next() !== "}") throw new UnknownError("}");
    return row(nodes);
  }

  // The characters between braces, as they are.
  plain() {
    if (this.next() !== "{") throw new UnknownError("{");
    const begin = this.at;
    while (this.tokens[this.at] !== "}") if (++this.at > this.tokens.length) throw new UnknownError("end");
    return this.tokens.slice(begin, this.at++).join("");
  }

  atom() {
    const token = this.next();
    if (token === "{") return (this.at--, this.group());
    if (/^\d/.test(token)) return make("mn", {}, token);
    if (/^\p{L}/u.test(token)) return make("mi", {}, token);
    if (token === "-") return make("mo", {}, "−");
    if (token === "*") return make("mo", {}, "∗");
    if (token === "~") return make("mtext", {}, "\u00a0");
    if ("&^_#%$".includes(token)) throw new UnknownError(token);
    if (!token.startsWith("\\")) return make("mo", "()[]|/".includes(token) ? { stretchy: "false" } : {}, token);
    return this.command(token.slice(1));
  }

  command(name) {
    if (name in SYMBOLS) return make(/^\p{L}/u.test(SYMBOLS[name]) ? "mi" : "mo", LIMITS.has(name) ? { largeop: "true" } : {}, SYMBOLS[name]);
    if (FUNCTIONS.has(name)) return make("mi", { mathvariant: "normal" }, name);
    if (name in SPACES) return make("mspace", { width: SPACES[name] });
    if (name in ACCENTS) return make(name.startsWith("under") ? "munder" : "mover", { accent: "true" }, this.argument(), make("mo", {}, ACCENTS[name]));
    if (name in ALPHABETS) return this.alphabet(ALPHABETS[name]);
    if (name in COMMANDS) return COMMANDS[name](this);
    if (/^[{}%$#&_|]$/.test(name)) return make("mo", {}, name === "|" ? "‖" : name);
    throw new UnknownError(name);
  }

  alphabet([upper, lower, digit, exceptions = {}]) {
    const letters = [...(this.peek() === "{" ? this.plain() : this.next())].map((letter) => {
      const code = letter.codePointAt(0);
      if (exceptions[letter]) return exceptions[letter];
      if (code >= 65 && code <= 90 && upper) return String.fromCodePoint(upper + code - 65);
      if (code >= 97 && code <= 122 && lower) return String.fromCodePoint(lower + code - 97);
      return code >= 48 && code <= 57 && digit ? String.fromCodePoint(digit + code - 48) : letter;
    });
    return make("mi", { mathvariant: "normal" }, letters.join(""));
  }

  fence() {
    const token = this.next();
    if (token === ".") return "";
    const name = token.replace(/^\\/, "");
    return token.startsWith("\\") ? (SYMBOLS[name] ?? (name === "|" ? "‖" : name)) : token;
  }

  environment() {
    const name = this.plain().replace("*", "");
    const [open, close, align] = ENVIRONMENTS[name] ?? [];
    if (open === undefined) throw new UnknownError(name);
    if (name === "array") this.plain();
    const rows = [[]];
    for (;;) {
      rows.at(-1).push(make("mtd", {}, ...this.until((token) => token === "&" || token === "\\\\")));
      const token = this.next();
      if (token === "\\\\") rows.push([]);
      else if (token === "\\end") break;
      else if (token !== "&") throw new UnknownError(token);
    }
    this.plain();
    const table = make("mtable", { class: align ?? "" }, ...rows.map((cells) => make("mtr", {}, ...cells)));
    return row([open && make("mo", {}, open), table, close && make("mo", {}, close)].filter(Boolean));
  }
}

const ENVIRONMENTS = {
  matrix: ["", ""], pmatrix: ["(", ")"], bmatrix: ["[", "]"], Bmatrix: ["{", "}"], vmatrix: ["|", "|"], Vmatrix: ["‖", "‖"], array: ["", ""],
  cases: ["{", "", "left"], aligned: ["", "", "pairs"], align: ["", "", "pairs"], gathered: ["", ""], gather: ["", ""], split: ["", "", "pairs"],
  equation: ["", ""],
};

const fraction = (attributes) => (parser) => make("mfrac", attributes, parser.argument(), parser.argument());
const text = (parser) => make("mtext", {}, parser.plain().replace(/^ | $/g, "\u00a0"));

const COMMANDS = {
  frac: fraction({}),
  dfrac: fraction({ displaystyle: "true" }),
  tfrac: fraction({ displaystyle: "false" }),
  cfrac: fraction({ displaystyle: "true" }),
  binom: (parser) => row([make("mo", {}, "("), fraction({ linethickness: "0" })(parser), make("mo", {}, ")")]),
  sqrt(parser) {
    if (parser.peek() !== "[") return make("msqrt", {}, parser.argument());
    parser.next();
    const degree = row(parser.until((token) => token === "]"));
    parser.next();
    return make("mroot", {}, parser.argument(), degree);
  },
  text, textbf: text, textit: text, textrm: text, texttt: text, mbox: text, tag: text,
  operatorname: (parser) => make("mi", { mathvariant: "normal" }, parser.plain()),
  left(parser) {
    const open = parser.fence();
    const nodes = parser.until(() => false);
    if (parser.next() !== "\\right") throw new UnknownError("right");
    const close = parser.fence();
    return make("mrow", {}, make("mo", { fence: "true", stretchy: "true" }, open), ...nodes, make("mo", { fence: "true", stretchy: "true" }, close));
  },
  middle: (parser) => make("mo", { stretchy: "true" }, parser.fence()),
  begin: (parser) => parser.environment(),
  boxed: (parser) => make("mrow", { class: "boxed" }, parser.argument()),
  overset: (parser) => over("mover", parser),
  stackrel: (parser) => over("mover", parser),
  underset: (parser) => over("munder", parser),
  not: (parser) => make("mo", {}, `${parser.atom().textContent}\u0338`),
  pmod: (parser) => row([make("mo", {}, "("), make("mi", {}, "mod"), make("mspace", { width: ".3em" }), parser.argument(), make("mo", {}, ")")]),
  displaystyle: () => make("mspace", {}),
  limits: () => make("mspace", {}),
  nonumber: () => make("mspace", {}),
};
for (const size of ["big", "Big", "bigg", "Bigg"]) for (const side of ["", "l", "r", "m"]) COMMANDS[size + side] = (parser) => make("mo", { stretchy: "false" }, parser.fence());

function over(name, parser) {
  const mark = parser.argument();
  return make(name, {}, parser.argument(), mark);
}
