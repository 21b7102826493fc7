// Attachments: text goes into the prompt, pictures and sound to models that understand them.

import { el, icon, iconButton } from "./dom.js";
import { errorOf } from "./server.js";
import { bytes, t } from "./strings.js";

const MAX_TEXT = 20_000_000; // bytes
const MAX_SIDE = 2048; // pixels: models scale larger pictures down
const AUDIO = { "audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3" };

// A file that cannot be used; `key` of the languages says why.
export class FileError extends Error {
  constructor(key, values = {}) {
    super(key);
    this.key = key;
    this.values = values;
  }
}

// What the field for files offers, for a model with these abilities.
export const accepted = ({ image, audio }) =>
  ["text/*", ".pdf,.md,.csv,.json,.xml,.yaml,.toml,.log,.py,.js,.ts,.c,.h,.cpp,.rs,.go,.java,.sh,.sql,.tex,.html,.css", image && "image/*", audio && ".wav,.mp3"].filter(Boolean).join(",");

// {kind, name, text, data, tokens, size} of a file; the size in tokens is counted by the server.
export async function readAttachment(file, abilities, server) {
  const { name, size, type } = file;
  const made = { kind: "text", name, text: "", data: "", tokens: 0, size };
  if (type.startsWith("image/")) return { ...made, kind: "image", data: await picture(file, abilities) };
  if (type.startsWith("audio/")) return { ...made, kind: "audio", data: await sound(file, abilities) };
  if (type === "application/pdf" || name.toLowerCase().endsWith(".pdf")) return { ...made, ...(await extracted(file, server)) };
  const text = await textOf(file);
  return { ...made, text, tokens: await server.tokens(text) };
}

async function extracted(file, server) {
  const body = new FormData();
  body.append("file", file, file.name);
  const response = await server.call("solofile/extract", { method: "POST", body });
  if (!response.ok) throw new FileError("fileRefused", { name: file.name, why: (await errorOf(response)).message });
  const { text, tokens } = await response.json();
  return { text, tokens: tokens ?? (await server.tokens(text)) };
}

async function textOf(file) {
  if (file.size > MAX_TEXT) throw new FileError("fileLarge", { name: file.name, size: bytes(MAX_TEXT) });
  const content = new Uint8Array(await file.arrayBuffer());
  const [first, second] = content;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) return new TextDecoder(first === 0xff ? "utf-16le" : "utf-16be").decode(content);
  if (content.includes(0)) throw new FileError("fileBinary", { name: file.name });
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(content);
  } catch {
    return new TextDecoder("windows-1252").decode(content);
  }
}

async function picture(file, abilities) {
  if (!abilities.image) throw new FileError("fileNoImages", { name: file.name });
  const image = await createImageBitmap(file).catch(() => {
    throw new FileError("fileBroken", { name: file.name });
  });
  const scale = Math.min(1, MAX_SIDE / Math.max(image.width, image.height));
  // llama.cpp reads these two; others are drawn anew.
  if (scale === 1 && /^image\/(png|jpeg)$/.test(file.type)) return dataUrl(file);
  const canvas = el("canvas", { width: Math.round(image.width * scale), height: Math.round(image.height * scale) });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/png");
}

function sound(file, abilities) {
  if (!abilities.audio || !(file.type in AUDIO)) throw new FileError(abilities.audio ? "fileAudioKind" : "fileNoAudio", { name: file.name });
  return dataUrl(file);
}

function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new FileError("fileBroken", { name: file.name }));
    reader.readAsDataURL(file);
  });
}

// The content of a user's message as the API takes it: files first, then what was typed.
export function contentOf({ content, files = [] }) {
  const text = [...files.filter(({ kind }) => kind === "text").map(fenced), content].filter(Boolean).join("\n\n");
  const media = files.filter(({ data }) => data).map(mediaPart);
  return media.length ? [...media, { type: "text", text }] : text;
}

function mediaPart({ kind, data }) {
  if (kind === "image") return { type: "image_url", image_url: { url: data } };
  const [, type, base64] = /^data:([^;,]*)[^,]*,(.*)$/s.exec(data);
  return { type: "input_audio", input_audio: { data: base64, format: AUDIO[type] ?? "wav" } };
}

function fenced({ name, text }) {
  const longest = Math.max(2, ...(text.match(/`{3,}/g) ?? []).map((marks) => marks.length));
  const fence = "`".repeat(longest + 1);
  return `${name}:\n${fence}\n${text}\n${fence}`;
}

// The small card of a file; with `onremove`, a button takes it away.
export function fileCard(file, onremove = null) {
  const about = file.reading ? t("fileReading") : [file.tokens && t("tokens", { n: file.tokens }), bytes(file.size)].filter(Boolean).join(" · ");
  const shown = file.kind === "image" && file.data ? el("img", { src: file.data, alt: "" }) : icon(file.kind === "audio" ? "sound" : "file");
  const words = el("span", { class: "words" }, el("span", { class: "name", dir: "auto" }, file.name), el("span", { class: "hint" }, about));
  return el("div", { class: "file" }, shown, words, onremove && iconButton("close", t("fileRemove", { name: file.name }), onremove));
}
