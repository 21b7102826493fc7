// The list of conversations: found, renamed, pinned, removed. On a narrow screen it is a drawer.

import { $, el, icon, iconButton } from "./dom.js";
import { menu } from "./notices.js";
import { t } from "./strings.js";

const SEARCH_MS = 150;
const narrow = matchMedia("(max-width: 800px)");

export class Sidebar {
  // `on`: open(id), pin(id), rename(id, title), remove(id), exported(id, kind).
  constructor(on) {
    this.on = on;
    this.chats = null;
    this.current = "";
    this.busy = new Set();
    this.found = null; // the ids that match what is searched for
    this.timer = 0;
    $("search").addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.search(), SEARCH_MS);
    });
    $("search").addEventListener("keydown", (event) => event.key === "ArrowDown" && $("chats").querySelector("button")?.focus());
    for (const id of ["open-side", "close-side", "veil"]) $(id).addEventListener("click", () => this.toggle());
    $("side").addEventListener("keydown", (event) => event.key === "Escape" && narrow.matches && (event.stopPropagation(), this.toggle(false)));
    narrow.addEventListener("change", () => this.toggle(!narrow.matches));
    this.toggle(!narrow.matches);
  }

  toggle(open = $("side").hidden) {
    $("side").hidden = !open;
    $("open-side").hidden = open;
    $("veil").hidden = !open || !narrow.matches;
    document.querySelector("main").inert = open && narrow.matches;
    if (!narrow.matches) return;
    if (open) $("close-side").focus();
    else $("open-side").focus();
  }

  // After something was chosen from the drawer.
  chosen() {
    if (narrow.matches && !$("side").hidden) this.toggle(false);
  }

  async search() {
    const query = $("search").value.trim();
    this.found = query && this.chats ? await this.chats.search(query) : null;
    this.draw();
  }

  clearSearch() {
    $("search").value = "";
    this.found = null;
  }

  draw() {
    if (!this.chats) return;
    const shown = this.chats.sorted().filter(({ id }) => !this.found || this.found.has(id));
    const focused = document.activeElement?.closest?.("[data-chat]")?.dataset.chat;
    $("chats").replaceChildren(...groups(shown).flatMap(([label, metas]) => [
      el("h2", { class: "group" }, t(label)),
      el("ul", {}, ...metas.map((meta) => this.item(meta))),
    ]));
    if (!shown.length) $("chats").append(el("p", { class: "hint" }, t(this.found ? "nothingFound" : "noChats")));
    if (focused) $("chats").querySelector(`[data-chat="${focused}"] button`)?.focus();
  }

  item(meta) {
    const title = meta.title || t("untitled");
    const current = meta.id === this.current;
    const open = el("button", { type: "button", class: "chat", "aria-current": current ? "page" : null, onclick: () => (this.on.open(meta.id), this.chosen()) },
      this.busy.has(meta.id) && el("span", { class: "dots", role: "img", "aria-label": t("answering") }), el("span", { dir: "auto" }, title));
    const more = iconButton("more", t("chatMenu", { name: title }), () => menu(more, this.menuOf(meta, title)), { "aria-haspopup": "menu", "aria-expanded": "false" });
    return el("li", { "data-chat": meta.id }, open, more);
  }

  menuOf(meta) {
    return [
      [t(meta.pinned ? "unpin" : "pin"), () => this.on.pin(meta.id), icon("pin")],
      [t("rename"), () => this.rename(meta), icon("edit")],
      [t("exportMarkdown"), () => this.on.exported(meta.id, "md"), icon("down")],
      [t("exportJson"), () => this.on.exported(meta.id, "json"), icon("down")],
      [t("remove"), () => this.on.remove(meta.id), icon("trash")],
    ];
  }

  rename(meta) {
    const item = $("chats").querySelector(`[data-chat="${meta.id}"]`);
    const field = el("input", { value: meta.title, maxlength: 200, "aria-label": t("rename"), dir: "auto" });
    let over = false;
    const end = (keep) => {
      if (over) return;
      over = true;
      const title = field.value.trim();
      if (keep && title && title !== meta.title) this.on.rename(meta.id, title);
      this.draw();
      $("chats").querySelector(`[data-chat="${meta.id}"] button`)?.focus();
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") end(true);
      if (event.key === "Escape") (event.stopPropagation(), end(false));
    });
    field.addEventListener("blur", () => end(true));
    item.replaceChildren(field);
    field.focus();
    field.select();
  }
}

function groups(metas) {
  const day = new Date().setHours(0, 0, 0, 0);
  const made = new Map();
  for (const meta of metas) {
    const age = day - meta.updated;
    const label = meta.pinned ? "pinned" : age <= 0 ? "today" : age < 6 * 86_400_000 ? "thisWeek" : "before";
    made.set(label, [...(made.get(label) ?? []), meta]);
  }
  return [...made];
}
