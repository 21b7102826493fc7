// What this is: the model's card, the machine it found, and how to use it from a program.

import { codeBlock } from "./code.js";
import { el } from "./dom.js";
import { dialog } from "./notices.js";
import { bytes, decimal, t } from "./strings.js";

// `about` is the server's; `key` says whether one is in use.
export function showAbout(about, key) {
  const parts = [
    ...(about.models ?? []).map((model) => facts(t("model"), modelFacts(model))),
    facts(t("program"), programFacts(about)),
    apiPart(new URL(".", location.href).href, key, about.model),
  ];
  dialog(about.title ?? about.name ?? "solofile", parts, { name: "about" });
}

function modelFacts(model) {
  const { image, audio } = model.multimodal ?? {};
  return [
    ["name", model.name],
    ["license", model.license || t("licenseUnknown")],
    ["architecture", model.architecture],
    ["parameters", model.parameters && amount(model.parameters)],
    ["quantization", model.quantization],
    ["context", model.context_length && t("tokens", { n: model.context_length })],
    ["size", model.size && bytes(model.size)],
    ["understands", [t("text"), image && t("images"), audio && t("audio")].filter(Boolean).join(", ")],
  ];
}

function programFacts(about) {
  const { llama_cpp: llama, integrity, idle_exit: idle } = about;
  return [
    ["version", about.version],
    ["llamaCpp", llama && [llama.version, llama.commit?.slice(0, 7)].filter(Boolean).join(", ")],
    ["hardware", about.hardware],
    ["kernel", about.kernel],
    ["integrity", integrity && [integrity.state, integrity.detail].filter(Boolean).join(": ")],
    ["idleExit", idle ? t("idleAfter", { n: Math.max(1, Math.round(idle / 60)) }) : null],
  ];
}

function facts(title, rows) {
  const shown = rows.filter(([, value]) => value);
  return el("section", {}, el("h3", {}, title), el("dl", {}, ...shown.flatMap(([name, value]) => [el("dt", {}, t(name)), el("dd", { dir: "auto" }, String(value))])));
}

function amount(count) {
  if (count >= 1e9) return `${decimal(count / 1e9)} B`;
  return count >= 1e6 ? `${decimal(count / 1e6)} M` : String(count);
}

function apiPart(address, key, model) {
  return el("section", {}, el("h3", {}, t("api")), el("p", {}, t("apiHint")),
    codeBlock("bash", curl(address, key)), codeBlock("python", python(address, key, model)), el("p", { class: "hint" }, t(key ? "apiKeyed" : "apiOpen")));
}

const curl = (address, key) => `curl ${address}v1/chat/completions \\
${key ? "  -H \"Authorization: Bearer $API_KEY\" \\\n" : ""}  -H "Content-Type: application/json" \\
  -d '{"messages": [{"role": "user", "content": "Hello"}]}'`;

const python = (address, key, model = "any") => `from openai import OpenAI

client = OpenAI(base_url="${address}v1", api_key=${key ? "API_KEY" : "\"none\""})
answer = client.chat.completions.create(
    model="${model}", messages=[{"role": "user", "content": "Hello"}]
)
print(answer.choices[0].message.content)`;
