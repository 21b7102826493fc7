// The conversation as it is seen. A long one is drawn from its end; what is above comes when it is scrolled to.

import { $, el, textButton } from "./dom.js";
import { MessageView } from "./message.js";
import { announce } from "./notices.js";
import { t } from "./strings.js";

const CHARACTERS = 40_000; // drawn at once
const NEAR_END = 80; // pixels

export class Log {
  constructor(actions) {
    this.actions = actions;
    this.scroller = $("scroller");
    this.list = $("log");
    this.views = new Map();
    this.hidden = []; // earlier messages that are not drawn yet
    this.frame = 0;
    this.growing = null;
    this.following = true;
    this.earlier = textButton(t("earlier"), () => this.drawEarlier(), { class: "plain", id: "earlier" });
    this.observer = new IntersectionObserver((all) => all.at(-1).isIntersecting && this.drawEarlier(), { root: this.scroller, rootMargin: "600px" });
    // What is drawn late, or grows, must not carry the end away.
    new ResizeObserver(() => this.following && this.toEnd()).observe(this.list);
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.endButton = $("to-end");
    this.endButton.addEventListener("click", () => this.toEnd());
  }

  // Draws `messages` and goes to their end, or stays where the reader is.
  show(messages, stay = false) {
    this.following = !stay || this.following;
    const at = this.scroller.scrollTop;
    const first = batch(messages);
    this.hidden = messages.slice(0, first);
    this.views = new Map(messages.slice(first).map((message) => [message.id, new MessageView(message, this.actions)]));
    this.list.replaceChildren(...[...this.views.values()].map((view) => view.element));
    this.showEarlier();
    if (stay) this.scroller.scrollTop = at;
    if (this.following) this.toEnd();
  }

  showEarlier() {
    if (this.hidden.length) this.list.before(this.earlier);
    else this.earlier.remove();
    this.earlier.textContent = t("earlier");
    // Watched anew, it is reported even where it is still in sight.
    this.observer.disconnect();
    this.observer.observe(this.earlier);
  }

  drawEarlier() {
    if (!this.hidden.length) return;
    const height = this.scroller.scrollHeight;
    const first = batch(this.hidden);
    const views = this.hidden.slice(first).map((message) => new MessageView(message, this.actions));
    this.hidden = this.hidden.slice(0, first);
    for (const view of views) this.views.set(view.message.id, view);
    this.list.prepend(...views.map((view) => view.element));
    this.showEarlier();
    this.scroller.scrollTop += this.scroller.scrollHeight - height;
  }

  append(message) {
    const view = new MessageView(message, this.actions);
    this.views.set(message.id, view);
    this.list.append(view.element);
    this.following = true;
    this.toEnd();
  }

  // A piece of `message` came: it is drawn in the next frame.
  update(message) {
    this.growing = this.views.get(message.id) ?? null;
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.growing?.grow();
      if (this.following) this.scroller.scrollTop = this.scroller.scrollHeight;
    });
  }

  end(message) {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.views.get(message.id)?.end();
    if (this.following) this.toEnd();
    announce(message.state === "done" ? t("answerDone") : (this.views.get(message.id)?.state.textContent ?? ""));
  }

  toEnd() {
    this.following = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.endButton.hidden = true;
  }

  scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    this.following = scrollHeight - scrollTop - clientHeight < NEAR_END;
    this.endButton.hidden = this.following;
  }
}

// Where the last messages begin that are drawn at once.
function batch(messages) {
  let first = messages.length;
  for (let room = CHARACTERS; first > 0 && room > 0; first--) room -= messages[first - 1].content.length + 200;
  return first;
}

// What is shown where nothing was said yet.
export function emptyPage(title, greeting) {
  return el("div", { class: "empty" }, el("p", { class: "hello", dir: "auto" }, greeting || t("greeting")), el("p", { class: "hint", dir: "auto" }, title));
}
