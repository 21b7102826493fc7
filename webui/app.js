// The chat page: talks to the server it came from and to nothing else, and keeps everything in the browser.

import { showAbout } from "./about.js";
import { Answers } from "./answers.js";
import { Chat } from "./chat.js";
import { Chats } from "./chats.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { $, download, el, icon, pause } from "./dom.js";
import { listen, showShortcuts } from "./keyboard.js";
import { showState, waitForModel } from "./loading.js";
import { Log } from "./log.js";
import { drawModels, showModels } from "./models.js";
import { askKey, banner, clearBanner, confirm, menu, toast } from "./notices.js";
import { Presence } from "./presence.js";
import { Prompts } from "./prompts.js";
import { errorOf, Server } from "./server.js";
import { applyTheme, Settings } from "./settings.js";
import { Sidebar } from "./sidebar.js";
import { openStore } from "./store.js";
import { loadLanguage, t } from "./strings.js";
import { FormatError, fromText, toJson, toMarkdown } from "./transfer.js";

class App {
  constructor() {
    this.ready = false;
    this.about = {};
    this.chats = null;
    this.server = new Server(askKey);
    this.settings = new Settings();
    this.prompts = new Prompts();
    this.presence = new Presence(this.server, (phase, state) => this.serverIs(phase, state));
    this.answers = new Answers(this.server, this.settings, {
      update: (conversation, message) => conversation.id === this.chat.id && this.log.update(message),
      end: (conversation, message) => this.ended(conversation, message),
    });
    this.chat = new Chat(this);
    this.log = new Log(this.chat);
    this.sidebar = new Sidebar(this.chatActions());
    this.composer = new Composer(this.server, {
      send: (text, files) => this.chat.send(text, files),
      stop: () => this.answers.stop(this.chat.id),
      editLast: () => this.chat.editLast(),
      changed: (tokens) => this.chat.drawContext(tokens),
    });
  }

  chatActions() {
    return {
      open: (id) => this.open(id),
      pin: (id) => this.change(id, { pinned: !this.chats.list.get(id).pinned }),
      rename: (id, title) => this.change(id, { title }),
      remove: (id) => this.remove(id),
      exported: (id, kind) => this.exportChat(id, kind),
    };
  }

  // --- the load, and the server's comings and goings ---

  async start() {
    this.wire();
    this.chat.show();
    this.presence.begin();
    const [state] = await Promise.all([waitForModel(this.server, this.presence), this.readKept()]);
    if (state) await this.becomeReady();
  }

  // What the bundle is and what the browser keeps of it: chats can be read while the model loads, or does not.
  async readKept() {
    this.about = await this.askAbout();
    const name = `solofile-${this.about.digest ?? this.about.name}`;
    const store = await openStore(name, (error) => this.storeTrouble(error));
    const chats = new Chats(store, name, (id, removed) => this.changedElsewhere(id, removed));
    await Promise.all([chats.load(), this.settings.load(store, this.about), this.prompts.load(store)]);
    this.answers.chats = this.sidebar.chats = this.chats = chats;
    $("quit").hidden = !this.about.can_quit;
    drawModels(this.about);
    this.tellPort();
    const id = location.hash.slice(1);
    if (chats.list.has(id) && !this.chat.queue.length) await this.open(id);
    else this.chat.drawState();
  }

  async becomeReady() {
    const about = await this.askAbout(); // the loaded model has defaults of its own
    if (about.digest !== this.about.digest) return location.reload();
    this.about = about;
    drawModels(this.about);
    this.settings.defaults = about.defaults ?? {};
    this.settings.bundleSystem = about.system_prompt ?? "";
    await this.readProps();
    this.ready = true;
    if (this.chat.conversation.path().length) this.chat.drawContext();
    else this.chat.show();
    this.chat.sendQueue();
  }

  // What the bundle is: asked again where the server has no answer yet.
  async askAbout() {
    for (;;) {
      try {
        const about = await this.server.about();
        clearBanner("about");
        return about;
      } catch (error) {
        banner("about", error.message, { bad: true });
        await pause(2000);
      }
    }
  }

  async readProps() {
    const props = await this.server.json("props").catch(() => ({}));
    const { models = [], model: name } = this.about;
    const model = models.find((one) => one.name === name) ?? models[0] ?? {};
    const { vision: image = false, audio = false } = props.modalities ?? {};
    model.multimodal = { image, audio };
    this.chat.contextSize = props.default_generation_settings?.n_ctx ?? model.context_length ?? 0;
    this.composer.able(model.multimodal);
  }

  // --- the bundle's models, of which one runs ---

  async changeModel(model) {
    if (model === this.about.model && this.ready) return;
    if (this.answers.running.size) return void toast(t("stillAnswering"));
    if (!this.about.can_switch) return void toast(t("modelRestart", { model }));
    const response = await this.server.post("solofile/model", { model });
    if (!response.ok) return void toast((await errorOf(response)).message);
    this.ready = this.presence.here = false; // it goes for a moment, which is no trouble
    this.chat.show(true);
    if (await waitForModel(this.server, this.presence)) await this.becomeReady();
  }

  tellPort() {
    const { wanted, got, reason } = this.about.port ?? {};
    if (wanted && got && wanted !== got) banner("port", t("portMoved", { wanted: String(wanted), got: String(got), reason: reason ?? "" }));
  }

  storeTrouble(error) {
    const key = error?.name === "QuotaExceededError" ? "storeFull" : "storeForbidden";
    banner("store", t(key), { bad: true, label: t("exportAll"), action: () => this.exportAll() });
  }

  async serverIs(phase, state) {
    if (phase === "gone") return banner("gone", t("gone", { name: $("title").textContent }), { bad: true, dismiss: false });
    clearBanner("gone");
    if (!this.ready) return;
    showState(state);
    if (phase === "loading") await waitForModel(this.server, this.presence);
    else if (phase !== "ready") return;
    // Another bundle may have taken this address: then its page is the right one.
    const about = await this.server.about().catch(() => this.about);
    if (about.digest !== this.about.digest) location.reload();
  }

  ended(conversation, message) {
    if (conversation.id === this.chat.id) this.log.end(message);
    this.chat.drawState();
    if (message.state === "lost") this.presence.lost();
  }

  async quit() {
    if (!(await confirm(t("quit"), t("quitSure"), t("quitYes")))) return;
    this.presence.over = true;
    const response = await this.server.call("solofile/quit", { method: "POST" }).catch(() => null);
    if (response && !response.ok) {
      this.presence.over = false;
      return void toast(t("quitFailed"));
    }
    document.body.replaceChildren(el("main", { class: "over" }, el("h1", {}, t("over")), el("p", {}, t("overHint"))));
  }

  // --- the list of chats ---

  newChat() {
    this.chat.open(Conversation.empty());
  }

  async open(id) {
    if (this.chats.list.has(id)) this.chat.open(await this.chats.conversation(id));
  }

  step(by) {
    const ids = [...$("chats").querySelectorAll("[data-chat]")].map((item) => item.dataset.chat);
    const at = ids.indexOf(this.chat.id);
    const next = ids[at < 0 ? 0 : at + by];
    if (next) this.open(next);
  }

  async change(id, changes) {
    const conversation = await this.chats.conversation(id);
    Object.assign(conversation.meta, changes);
    await this.chats.save(conversation);
    this.chat.drawState();
  }

  async remove(id) {
    this.answers.stop(id);
    const restore = await this.chats.remove(id);
    if (id === this.chat.id) this.newChat();
    this.sidebar.draw();
    toast(t("removed"), async () => {
      await restore();
      this.sidebar.draw();
    });
  }

  changedElsewhere(id, removed) {
    if (removed) this.answers.stop(id);
    this.sidebar.draw();
    if (id !== this.chat.id || (this.chat.answering && !removed)) return;
    if (removed) this.newChat();
    else if (!document.querySelector(".editor")) this.chat.show(true);
  }

  // --- files of chats ---

  async exportChat(id, kind) {
    const conversation = await this.chats.conversation(id);
    const name = conversation.meta.title.replace(/[\\/:*?"<>|]+/g, " ").trim().slice(0, 60) || t("untitled");
    if (kind === "json") download(`${name}.json`, toJson([conversation]), "application/json");
    else download(`${name}.md`, toMarkdown(conversation, { user: t("user"), assistant: t("assistant") }), "text/markdown");
  }

  async exportAll() {
    const all = await Promise.all([...this.chats.list.keys()].map((id) => this.chats.conversation(id)));
    const day = new Date().toISOString().slice(0, 10);
    download(`${this.about.name ?? "solofile"} ${day}.json`, toJson(all), "application/json");
  }

  askImport() {
    const field = el("input", { type: "file", accept: ".json,.md", multiple: true, class: "away", "aria-label": t("import") });
    field.addEventListener("change", () => (this.import(field.files), field.remove()));
    field.addEventListener("cancel", () => field.remove());
    document.body.append(field);
    field.click();
  }

  async import(files) {
    let last = null;
    let count = 0;
    for (const file of files) {
      try {
        for (const conversation of fromText(await file.text())) {
          await this.chats.save(conversation, [...conversation.messages.values()]);
          last = conversation;
          count++;
        }
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        toast(t("importNothing", { name: file.name }));
      }
    }
    if (!last) return;
    toast(t("imported", { n: count }));
    this.chat.open(last);
  }

  // --- buttons and keys ---

  wire() {
    for (const button of document.querySelectorAll("[data-icon]")) {
      const { icon: picture, words } = button.dataset;
      button.append(icon(picture), words ? el("span", { "data-t": words }, t(words)) : "");
    }
    const known = (action) => () => this.chats && action();
    const clicks = {
      new: () => this.newChat(),
      settings: known(() => this.showSettings()),
      prompts: known(() => this.showPrompts()),
      "use-prompt": known(() => this.showPrompts()),
      about: known(() => showAbout(this.about, this.server.key)),
      shortcuts: showShortcuts,
      quit: () => this.quit(),
      models: () => showModels(this.about, (model) => this.changeModel(model)),
      "files-menu": known(() => menu($("files-menu"), [
        [t("exportAll"), () => this.exportAll(), icon("down")],
        [t("import"), () => this.askImport(), icon("up")],
      ])),
    };
    for (const [id, action] of Object.entries(clicks)) $(id).addEventListener("click", () => (this.sidebar.chosen(), action()));
    listen({
      newChat: clicks.new,
      search: () => (this.sidebar.toggle(true), $("search").focus()),
      previousChat: () => this.step(-1),
      nextChat: () => this.step(1),
      sidebar: () => this.sidebar.toggle(),
      regenerate: () => this.chat.regenerateLast(),
      copyAnswer: () => this.chat.copyLast(),
      attach: () => $("files").click(),
      settings: clicks.settings,
      shortcuts: showShortcuts,
      stop: () => (this.chat.answering ? this.answers.stop(this.chat.id) : false),
    });
  }

  showSettings() {
    this.settings.show(this.chat.conversation, () => {
      if (this.chats.list.has(this.chat.id)) this.chats.save(this.chat.conversation);
      this.chat.show(true);
    });
  }

  showPrompts() {
    const asSystem = (text) => {
      this.chat.conversation.meta.system = text;
      if (this.chats.list.has(this.chat.id)) this.chats.save(this.chat.conversation);
      toast(t("promptIsSystem"));
    };
    this.prompts.show(this.composer.field.value, (text) => this.composer.insert(text), asSystem);
  }
}

applyTheme();
await loadLanguage();
await new App().start();
