// Blocks of code: coloured, with a button that copies them.

import { el, textButton } from "./dom.js";
import { copy } from "./notices.js";
import { t } from "./strings.js";
import { tokenizeWith } from "./vendor/speed-highlight/tokenize.js";

const LANGUAGES = {
  bash: "bash", c: "c", css: "css", diff: "diff", go: "go", java: "java", js: "js", py: "py", rs: "rs",
  sql: "sql", xml: "xml", yaml: "yaml",
  // what people call them, and near relations
  "c++": "c", cpp: "c", cc: "c", h: "c", hpp: "c", cs: "java", csharp: "java", kotlin: "java", scala: "java", swift: "java",
  dockerfile: "bash", docker: "bash", makefile: "bash", make: "bash", sh: "bash", shell: "bash", zsh: "bash", console: "bash",
  golang: "go", html: "xml", svg: "xml", javascript: "js", jsx: "js", ts: "js", tsx: "js", typescript: "js",
  json: "js", jsonc: "js", patch: "diff", python: "py", python3: "py", rust: "rs", ini: "yaml", toml: "yaml", yml: "yaml",
};
const MAX_COLOURED = 100_000; // characters

// SQL's rules in the library weigh as much as ten other languages: these are the ones that matter.
const SQL = [
  { match: /--.*|\/\*[^]*?(\*\/|$)/g, type: "cmnt" },
  { match: /'(?:''|[^'])*'?/g, type: "str" },
  { expand: "num" },
  { match: /\b(add|all|alter|and|as|asc|between|by|case|create|cross|delete|desc|distinct|drop|else|end|exists|foreign|from|full|group|having|if|in|index|inner|insert|into|is|join|key|left|like|limit|not|null|offset|on|or|order|outer|over|partition|primary|references|right|select|set|table|then|union|unique|update|using|values|view|when|where|with)\b/gi, type: "kwd" },
  { match: /\w+(?=\s*\()/g, type: "func" },
];

const loaded = { sql: SQL };

// Loads the rules that colour `language`. What they say of languages within it (notes in comments) is left out, which
// the library takes for plain text of its kind.
async function loadColours(language) {
  loaded[language] ??= (await import(`./vendor/speed-highlight/languages/${language}.js`)).default;
}

export function languageOf(info) {
  return LANGUAGES[info.trim().split(/[\s{,:]/)[0].toLowerCase()] ?? "";
}

// The element of a block of code; `info` begins with its language. Colours come a moment later, with their rules.
export function codeBlock(info, text) {
  const language = languageOf(info);
  const code = el("code", { dir: "ltr" }, text);
  const name = el("span", { class: "language" }, info.split(/\s/)[0]);
  const button = textButton(t("copy"), () => copy(code.textContent), { class: "plain", "data-copy": "" });
  colour(code, language);
  return el("figure", { class: "code", "data-language": language }, el("figcaption", {}, name, button), el("pre", { tabindex: "0" }, code));
}

// Colours the text of `code`, now if its rules are loaded.
export function colour(code, language) {
  if (!language || code.textContent.length > MAX_COLOURED) return;
  if (loaded[language]) paint(code, language);
  else loadColours(language).then(() => paint(code, language), () => {}); // with the server gone it stays plain
}

function paint(code, language) {
  const pieces = [];
  tokenizeWith(code.textContent, loaded[language], (text, type) => {
    if (text) pieces.push(type ? el("span", { class: `c-${type}` }, text) : text);
  }, { languages: loaded });
  code.replaceChildren(...pieces);
}
