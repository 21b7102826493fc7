// Short words to the reader, and questions: notices, dialogs, menus, what is read out.

import { $, el, iconButton, textButton } from "./dom.js";
import { t } from "./strings.js";

const SHOWN_MS = 8000;

// A notice that goes by itself; `undo` gives it a button that takes back what was done.
export function toast(text, undo = null) {
  const made = el("div", { class: "toast" }, el("span", {}, text));
  const close = () => made.remove();
  if (undo) made.append(textButton(t("undo"), () => (close(), undo()), { class: "plain strong" }));
  made.append(iconButton("close", t("dismiss"), close));
  $("toasts").append(made);
  setTimeout(close, SHOWN_MS);
  return made;
}

// A notice above the conversation that stays until it is taken away, one for each `name`.
export function banner(name, text, { bad = false, action = null, label = "", dismiss = true } = {}) {
  clearBanner(name);
  const made = el("div", { class: bad ? "banner bad" : "banner", "data-banner": name, role: bad ? "alert" : null }, el("span", { dir: "auto" }, text));
  if (action) made.append(textButton(label, action));
  if (dismiss) made.append(iconButton("close", t("dismiss"), () => made.remove()));
  $("banners").append(made);
}

export function clearBanner(name) {
  $("banners").querySelector(`[data-banner="${name}"]`)?.remove();
}

// Has a screen reader say `text`.
export function announce(text) {
  const said = $("announcer");
  if (said.childElementCount > 20) said.firstElementChild.remove();
  said.append(el("p", { dir: "auto" }, text));
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyOldWay(text); // no permission, or a page over plain http from another machine
  }
  toast(t("copied"));
}

function copyOldWay(text) {
  const place = el("textarea", { class: "away", value: text, readonly: true });
  document.body.append(place);
  place.select();
  document.execCommand("copy");
  place.remove();
}

// Opens a dialog with a heading and `content`; `onclose` is called when it is closed, however that happens.
export function dialog(title, content, { name = "", onclose = null, closable = true } = {}) {
  const heading = el("h2", { id: `dialog-${name}` }, title);
  const made = el("dialog", { "aria-labelledby": heading.id, "data-dialog": name });
  const head = el("header", {}, heading, closable && iconButton("close", t("close"), () => made.close()));
  made.append(head, el("div", { class: "content" }, ...content));
  made.addEventListener("close", () => (made.remove(), onclose?.()));
  made.addEventListener("cancel", (event) => closable || event.preventDefault());
  made.addEventListener("click", (event) => closable && event.target === made && made.close());
  document.body.append(made);
  made.showModal();
  return made;
}

// Asks before something that cannot be taken back; true if the reader agrees.
export function confirm(title, text, yes) {
  return new Promise((resolve) => {
    let answer = false;
    const agree = textButton(yes, () => ((answer = true), made.close()), { class: "strong" });
    const buttons = el("div", { class: "buttons" }, textButton(t("cancel"), () => made.close()), agree);
    const made = dialog(title, [el("p", {}, text), buttons], { name: "confirm", onclose: () => resolve(answer) });
  });
}

export function askKey(wrong) {
  return new Promise((resolve) => {
    const input = el("input", { id: "key", type: "password", autocomplete: "off", required: true, dir: "ltr" });
    const tick = el("input", { type: "checkbox", id: "key-remember" });
    const form = el("form", {},
      el("label", { for: "key" }, t(wrong ? "keyWrong" : "keyWanted")), input,
      el("label", { class: "tick" }, tick, t("keyRemember")),
      el("div", { class: "buttons" }, el("button", { type: "submit", class: "strong" }, t("keyUse"))));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      made.close();
      resolve({ key: input.value.trim(), remember: tick.checked });
    });
    const made = dialog(t("key"), [form], { name: "key", closable: false });
    input.focus();
  });
}

// A menu below `button`: [label, action, picture] each.
export function menu(button, items) {
  const choose = (action) => () => (made.hidePopover(), action());
  const made = el("div", { class: "menu", popover: "auto", role: "menu" },
    ...items.map(([label, action, picture]) => el("button", { type: "button", role: "menuitem", onclick: choose(action) }, picture, label)));
  made.addEventListener("keydown", (event) => moveIn(made, event));
  made.addEventListener("toggle", ({ newState }) => {
    button.setAttribute("aria-expanded", String(newState === "open"));
    if (newState !== "closed") return;
    if (made.contains(document.activeElement) || document.activeElement === document.body) button.focus();
    made.remove();
  });
  document.body.append(made);
  made.showPopover();
  place(made, button.getBoundingClientRect());
  made.firstElementChild.focus();
}

function moveIn(list, event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const items = [...list.children];
  items[(items.indexOf(document.activeElement) + step + items.length) % items.length].focus();
}

function place(made, { left, right, bottom, top }) {
  const { offsetWidth: width, offsetHeight: height } = made;
  const fits = bottom + height < innerHeight;
  const side = left + width < innerWidth ? left : right - width;
  made.style.left = `${Math.max(4, Math.min(side, innerWidth - width - 4))}px`;
  made.style.top = `${fits ? bottom + 4 : Math.max(4, top - height - 4)}px`;
}
