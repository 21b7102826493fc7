// Blocks of code: coloured, with a button that copies them.

import { el, textButton } from "./dom.js";
import { copy } from "./notices.js";
import { t } from "./strings.js";
import { tokenizeWith } from "./vendor/speed-highlight/tokenize.js";

const LANGUAGES = {
  bash: "bash", c: "c", css: "css", diff: "diff", go: "go", ini: "ini", java: "java", js: "js", json: "json", lua: "lua",
  make: "make", py: "py", rs: "rs", sql: "sql", toml: "toml", xml: "xml", yaml: "yaml",
  // what people call them, and near relations
  "c++": "c", cpp: "c", cc: "c", h: "c", hpp: "c", "c#": "java", cs: "java", csharp: "java", kotlin: "java", scala: "java", swift: "java",
  dockerfile: "bash", docker: "bash", golang: "go", html: "xml", javascript: "js", jsx: "js", mjs: "js", node: "js", ts: "js",
  makefile: "make", patch: "diff", python: "py", python3: "py", rust: "rs", sh: "bash", shell: "bash", zsh: "bash",
  console: "bash", svg: "xml", typescript: "js", tsx: "js", yml: "yaml", jsonc: "json",
};
const NEEDS = { js: ["jsdoc", "regex"], make: ["bash"] };
const MAX_COLOURED = 100_000; // characters

const loaded = {};

// Loads what colours `language`; false where nothing does.
export async function loadColours(language) {
  const names = [language, ...(NEEDS[language] ?? []), "todo"];
  await Promise.all(names.map(async (name) => (loaded[name] ??= (await import(`./vendor/speed-highlight/languages/${name}.js`)).default)));
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
  if (loaded[language] && loaded.todo) paint(code, language);
  else loadColours(language).then(() => paint(code, language));
}

function paint(code, language) {
  const pieces = [];
  tokenizeWith(code.textContent, loaded[language], (text, type) => {
    if (text) pieces.push(type ? el("span", { class: `c-${type}` }, text) : text);
  }, { languages: loaded });
  code.replaceChildren(...pieces);
}
