// Keys. "mod" is Ctrl, or Command on a Mac.

import { el } from "./dom.js";
import { dialog } from "./notices.js";
import { t } from "./strings.js";

const MAC = /Mac|iPhone|iPad/.test(navigator.platform);

export const SHORTCUTS = [
  { name: "newChat", keys: "mod+shift+KeyO" },
  { name: "search", keys: "mod+KeyK" },
  { name: "previousChat", keys: "alt+ArrowUp" },
  { name: "nextChat", keys: "alt+ArrowDown" },
  { name: "sidebar", keys: "mod+KeyB" },
  { name: "regenerate", keys: "alt+KeyR" },
  { name: "copyAnswer", keys: "alt+KeyC" },
  { name: "attach", keys: "mod+KeyU" },
  { name: "settings", keys: "mod+Comma" },
  { name: "shortcuts", keys: "mod+Slash" },
  { name: "stop", keys: "Escape" },
];

// Those that the message field and the lists answer themselves.
const FIELD_KEYS = [["send", "Enter"], ["newLine", "shift+Enter"], ["editLast", "ArrowUp"]];

// Calls `actions[name]` for a shortcut; one that returns false leaves the key to the browser.
export function listen(actions) {
  addEventListener("keydown", (event) => {
    if (event.isComposing || document.querySelector("dialog[open], :popover-open")) return;
    const pressed = [
      (MAC ? event.metaKey : event.ctrlKey) && "mod", event.altKey && "alt", event.shiftKey && "shift", event.code,
    ].filter(Boolean).join("+");
    const shortcut = SHORTCUTS.find(({ keys }) => keys === pressed);
    if (shortcut && actions[shortcut.name]?.() !== false) event.preventDefault();
  });
}

export function showShortcuts() {
  const rows = [...FIELD_KEYS, ...SHORTCUTS.map(({ name, keys }) => [name, keys])];
  const list = el("dl", { class: "keys" }, ...rows.flatMap(([name, keys]) => [el("dt", {}, ...caps(keys)), el("dd", {}, t(`key.${name}`))]));
  dialog(t("shortcuts"), [list], { name: "shortcuts" });
}

const SIGNS = { ArrowUp: "↑", ArrowDown: "↓", Comma: ",", Slash: "/" };

function caps(keys) {
  return keys.split("+").map((key) => {
    const named = { mod: MAC ? "⌘" : t("cap.ctrl"), alt: MAC ? "⌥" : "Alt", shift: t("cap.shift"), Enter: t("cap.enter"), Escape: "Esc" };
    return el("kbd", {}, named[key] ?? SIGNS[key] ?? key.replace("Key", ""));
  });
}
