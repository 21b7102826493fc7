// While the model loads: what it is, how far it is, and on what it will run. And what to do where it cannot be loaded.

import { $, el, pause } from "./dom.js";
import { bytes, seconds, t } from "./strings.js";

const ASK_MS = 300;
const ASK_RARELY_MS = 5000; // once it failed

// Shows the load until the model is there and gives the last status; null if the reader ended the program.
export async function waitForModel(server, presence) {
  while (!presence.over) {
    const state = await server.status().catch(() => null);
    if (presence.over) break;
    if (!state) await presence.lost();
    else {
      showState(state);
      if (state.phase === "ready") return state;
    }
    await pause(!state || state.phase === "loading" ? ASK_MS : ASK_RARELY_MS);
  }
  return null;
}

export function showState(state) {
  const { phase, name } = state;
  if (name) {
    $("title").textContent = name;
    document.title = name;
  }
  $("loading").hidden = phase === "ready";
  if (phase !== "ready") show(state, phase === "loading");
}

function show({ name, message, progress = 0, size, hardware, choice, reading, phase }, loading) {
  $("load-title").textContent = t(loading ? "loading" : phase === "failed" ? "loadFailed" : "stopping", { name: name || t("theModel") });
  $("load-title").classList.toggle("bad", phase === "failed");
  $("progress").hidden = !loading;
  if (progress > 0) $("progress").value = progress;
  else $("progress").removeAttribute("value");
  const share = progress > 0 ? t("percent", { n: Math.floor(progress * 100) }) : "";
  $("load-share").textContent = loading ? [share, size && bytes(size), reading && readingWords(reading)].filter(Boolean).join(" · ") : "";
  $("load-message").textContent = message || (loading ? t("loadHint") : "");
  const facts = [["hardware", hardware], ["chosen", choice]].filter(([, value]) => value);
  $("load-facts").replaceChildren(...facts.flatMap(([label, value]) => [el("dt", {}, t(label)), el("dd", { dir: "auto" }, value)]));
  $("load-remedy").textContent = loading ? "" : t(phase === "failed" ? "loadRemedy" : "stoppedRemedy");
}

function readingWords({ done, total, speed, remaining }) {
  return t("readingMedium", { done: bytes(done), total: bytes(total), speed: bytes(speed ?? 0), time: remaining ? seconds(remaining) : "…" });
}
