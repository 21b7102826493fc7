// What the page says, in the reader's language: every word of it is in languages/.

import { attempt } from "./dom.js";

const LANGUAGES = { en: "English", de: "Deutsch" };
const KEY = "solofile.language";

let words = {};
let plural = new Intl.PluralRules("en");
let numbers = new Intl.NumberFormat("en");
export let language = "en";

export const languages = () => Object.entries(LANGUAGES);

// The language that the reader chose, "" for the browser's own.
export function chosenLanguage() {
  return remembered(KEY) in LANGUAGES ? remembered(KEY) : "";
}

export async function loadLanguage() {
  const wanted = [chosenLanguage(), ...navigator.languages].map((name) => name.slice(0, 2));
  language = wanted.find((name) => name in LANGUAGES) ?? "en";
  words = (await import(`./languages/${language}.js`)).default;
  plural = new Intl.PluralRules(language);
  numbers = new Intl.NumberFormat(language);
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-label]")) {
    const label = t(node.dataset.label);
    node.setAttribute("aria-label", label);
    if (node.matches("button")) node.title = label;
  }
  for (const node of document.querySelectorAll("[data-hint]")) node.placeholder = t(node.dataset.hint);
}

export function chooseLanguage(name) {
  remember(KEY, name);
  return loadLanguage();
}

// The words of `key`, with `{name}` replaced; a pair of plural forms is chosen by `n`.
export function t(key, values = {}) {
  let text = words[key] ?? key;
  if (typeof text === "object") text = text[plural.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? numbers.format(values[name]) : values[name]));
}

export function bytes(count) {
  const units = ["B", "KB", "MB", "GB"];
  const step = Math.min(Math.floor(Math.log10(Math.max(count, 1)) / 3), units.length - 1);
  const digits = step > 1 ? 1 : 0;
  return `${new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(count / 1000 ** step)} ${units[step]}`;
}

export function decimal(value) {
  return new Intl.NumberFormat(language, { maximumFractionDigits: value < 10 ? 1 : 0 }).format(value);
}

export function seconds(count) {
  return count < 90 ? t("seconds", { n: Math.max(1, Math.round(count)) }) : t("minutes", { n: Math.round(count / 60) });
}

export function when(time) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(time);
}

// Small choices of this browser (language, colours). One that forbids storage forgets them: nothing else is lost.
export const remembered = (key) => attempt(() => localStorage.getItem(key));
export const remember = (key, value) => attempt(() => (value ? localStorage.setItem(key, value) : localStorage.removeItem(key)));
