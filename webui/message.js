// One message as it is seen: what was said, how the answer stands, and what can be done with it.

import { el, icon, iconButton, textButton } from "./dom.js";
import { fileCard } from "./files.js";
import { LiveMarkdown } from "./live.js";
import { render } from "./markdown.js";
import { announce, copy } from "./notices.js";
import { decimal, t } from "./strings.js";

const STATE_MS = 500; // between two words on how fast it goes
const SPOKEN = 1500; // characters of a block that are read out

export class MessageView {
  // `actions` is the chat that the message is in.
  constructor(message, actions) {
    this.message = message;
    this.actions = actions;
    this.live = null;
    this.body = el("div", { class: "body" });
    this.thought = null;
    this.state = el("div", { class: "state" });
    this.foot = el("footer");
    this.element = el("li", { class: `message ${message.role}`, "data-id": message.id },
      el("h2", { class: "away" }, t(message.role)),
      message.files.length > 0 && el("div", { class: "files" }, ...message.files.map((file) => fileCard(file))),
      this.body, this.state, this.foot);
    this.draw();
  }

  // The whole message anew.
  draw() {
    this.live = null;
    this.drawThought();
    if (this.message.role === "user") this.body.replaceChildren(el("p", { class: "typed", dir: "auto" }, this.message.content));
    else if (this.actions.run(this.message)) this.begin();
    else this.body.replaceChildren(...render(this.message.content));
    this.drawState();
    this.drawFoot();
  }

  begin() {
    this.body.replaceChildren();
    this.live = new LiveMarkdown(this.body, (element) => speak(element));
    this.live.show(this.message.content);
  }

  // What came since the last time.
  grow() {
    if (!this.live) this.begin();
    this.live.update(this.message.content);
    this.drawThought();
    const { stalled, pieces } = this.actions.run(this.message) ?? {};
    const now = performance.now();
    if (pieces && this.begun && stalled === this.stalled && now - this.stateAt < STATE_MS) return;
    this.begun = pieces > 0;
    this.stalled = stalled;
    this.stateAt = now;
    this.drawState();
  }

  end() {
    this.live?.finish(this.message.content);
    this.live = null;
    this.drawThought();
    this.drawState();
    this.drawFoot();
  }

  drawThought() {
    const { reasoning, content } = this.message;
    if (!reasoning) return;
    if (!this.thought) {
      this.thought = el("details", { class: "thought" }, el("summary", {}, icon("thought"), el("span")), el("div", { class: "thoughts", dir: "auto" }, ""));
      this.body.before(this.thought);
    }
    const thinking = !content && this.actions.run(this.message) !== null;
    const [summary, place] = this.thought.children;
    const label = t(thinking ? "thinking" : "thought");
    if (summary.lastChild.textContent !== label) summary.lastChild.textContent = label;
    const shown = place.textContent.length;
    if (shown > reasoning.length) place.textContent = reasoning;
    else if (shown < reasoning.length) place.append(reasoning.slice(shown));
  }

  // The line below the text: waiting, progress, or why it ended.
  drawState() {
    const parts = this.stateParts();
    const words = parts.map((part) => part.textContent).join("|");
    if (this.stateWords === words) return;
    this.stateWords = words;
    this.state.replaceChildren(...parts);
  }

  stateParts() {
    const { message } = this;
    if (message.role !== "assistant") return [];
    const run = this.actions.run(message);
    if (run) return this.runParts(run);
    if (message.state === "streaming" && this.actions.writtenElsewhere(message)) return [el("p", { class: "hint" }, t("writtenElsewhere"))];
    const key = { streaming: "interrupted", stopped: "stopped", lost: "lost", cut: "cut", failed: "failed", full: "full" }[message.state];
    if (!key) return [];
    const words = t(key, { why: message.note, n: message.needed ?? 0, limit: message.limit ?? 0 });
    const proceed = (message.content || message.reasoning) && message.state !== "full" && textButton(t("proceed"), () => this.actions.proceed(message));
    return [el("p", { class: "ended", dir: "auto" }, words), el("div", { class: "buttons" }, ...[proceed, textButton(t("retry"), () => this.actions.regenerate(message))].filter(Boolean))];
  }

  runParts({ progress, stalled, pieces }) {
    if (stalled) return [el("p", { class: "ended" }, t("stalled"))];
    if (!pieces) {
      const share = progress?.total ? t("readingPrompt", { n: Math.round((100 * progress.processed) / progress.total) }) : t("waiting");
      return [el("p", { class: "waiting" }, el("span", { class: "dots", "aria-hidden": "true" }), el("span", {}, share))];
    }
    return pieces > 1 && this.message.stats ? [el("p", { class: "hint" }, this.statsWords())] : [];
  }

  drawFoot() {
    const { message, actions } = this;
    if (actions.run(message)) return this.foot.replaceChildren();
    const answer = message.role === "assistant";
    const editLabel = t(answer ? "editAnswer" : "edit");
    const parts = [
      this.branches(),
      iconButton("copy", t("copyMessage"), () => copy(message.content)),
      iconButton("edit", editLabel, () => this.edit()),
      answer && iconButton("again", t("regenerate"), () => actions.regenerate(message)),
      answer && message.state === "done" && message.content && iconButton("proceed", t("proceed"), () => actions.proceed(message)),
      message.stats && el("span", { class: "stats" }, this.statsWords()),
    ];
    this.foot.replaceChildren(...parts.filter(Boolean));
  }

  statsWords() {
    const { tokens, speed } = this.message.stats;
    return t("stats", { n: tokens, speed: decimal(speed) });
  }

  branches() {
    const siblings = this.actions.siblings(this.message);
    if (siblings.length < 2) return null;
    const at = siblings.indexOf(this.message);
    const go = (step) => () => this.actions.branch(siblings[at + step]);
    return el("span", { class: "branches", role: "group", "aria-label": t("branches") },
      iconButton("before", t("branchBefore"), go(-1), { disabled: at === 0 }),
      el("span", {}, t("branchOf", { at: at + 1, n: siblings.length })),
      iconButton("after", t("branchAfter"), go(1), { disabled: at === siblings.length - 1 }));
  }

  // Turns the text into a field; what is written there becomes a branch beside it.
  edit() {
    const { message } = this;
    const answer = message.role === "assistant";
    const field = el("textarea", { value: message.content, dir: "auto", "aria-label": t(answer ? "editAnswer" : "edit") });
    const save = () => this.actions.edit(message, field.value);
    const buttons = el("div", { class: "buttons" },
      textButton(t("cancel"), () => (this.draw(), this.foot.querySelector("button")?.focus())),
      textButton(t(answer ? "saveBranch" : "sendBranch"), save, { class: "strong" }));
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") (event.stopPropagation(), this.draw());
      else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save();
    });
    this.body.replaceChildren(el("div", { class: "editor" }, field, buttons));
    this.foot.replaceChildren();
    field.style.height = `${Math.min(field.scrollHeight + 4, innerHeight / 2)}px`;
    field.focus();
  }
}

function speak(element) {
  const text = element.matches(".code") ? t("codeBlock", { language: element.dataset.language }) : element.textContent;
  announce(text.slice(0, SPOKEN));
}
