// The character references of HTML that people write in markdown; others stay as they are.

const NAMES = {
  amp: "&", lt: "<", gt: ">", quot: "\"", apos: "'", nbsp: "\u00a0", ndash: "–", mdash: "—", hellip: "…", copy: "©",
  deg: "°", plusmn: "±", times: "×", divide: "÷", middot: "·", bull: "•", larr: "←", rarr: "→",
  rArr: "⇒", le: "≤", ge: "≥", ne: "≠", asymp: "≈", infin: "∞", euro: "€", pound: "£",
  laquo: "«", raquo: "»", lsquo: "‘", rsquo: "’", ldquo: "“", rdquo: "”",
};

export function decode(text) {
  if (!text.includes("&")) return text;
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w{2,8}));/gi, (whole, decimal, hex, name) => {
    if (name) return NAMES[name] ?? whole;
    const point = decimal ? Number(decimal) : parseInt(hex, 16);
    return point > 0 && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff) ? String.fromCodePoint(point) : "\ufffd";
  });
}
